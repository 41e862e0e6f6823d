"""One client's connection: bytes in with their kernel stamps, requests out one at a time, answers on to the socket."""

import asyncio
import contextlib
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httptools

from aiperf.clock import SECOND, now_ns
from aiperf.simulator.draws import request_number
from aiperf.simulator.plan import Refusal
from aiperf.simulator.script import refused

HAS_STAMPS = sys.platform == "linux"
SO_TIMESTAMPNS = 35

_CORK = getattr(socket, "TCP_CORK", None)
_TIMESPEC = struct.Struct("qq")
_RESET = struct.pack("ii", 1, 0)
_BUFFER = bytearray(256 * 1024)
_VIEW = memoryview(_BUFFER)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has come whole. `arrived_ns` (CLOCK_REALTIME) is its last segment's stamp by the kernel, or the time it was read."""

    method: bytes
    path: bytes
    number: int | None
    body: bytes
    arrived_ns: int
    keep_alive: bool
    version: str


class _Incoming:
    """Gathers requests from the parser's callbacks; `stamp_ns` is the stamp of the read that is being parsed."""

    __slots__ = ("_begun", "_body", "_number", "_parser", "_url", "stamp_ns", "whole")

    def __init__(self) -> None:
        self.whole: deque[Request] = deque()
        self.stamp_ns = 0
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()
        self._begun = False

    def feed(self, data: memoryview) -> None:
        self._parser.feed_data(data)

    def drop(self) -> list[Request]:
        """Every request that nobody has seen yet, the last perhaps not whole; they are forgotten."""
        dropped = [*self.whole, *([self._request()] if self._begun and self._url else [])]
        self.whole.clear()
        return dropped

    def on_message_begin(self) -> None:
        self._begun, self._url = True, b""
        self._number: int | None = None
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-request-id":
            self._number = request_number(value)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._begun = False
        self.whole.append(self._request())

    def _request(self) -> Request:
        parser, path, body = self._parser, self._url.partition(b"?")[0], b"".join(self._body)
        keep_alive, version = parser.should_keep_alive(), parser.get_http_version()
        return Request(parser.get_method(), path, self._number, body, self.stamp_ns, keep_alive, version)


class Host(Protocol):
    """Who answers."""

    loop: asyncio.AbstractEventLoop

    def serve(self, connection: "Connection", request: Request) -> None:
        """Answer now, or take the connection (`busy`) until `Connection.done`."""

    def crossed(self, request: Request) -> None:
        """A request, perhaps not whole, has come while its connection was being closed; it is lost."""

    def gone(self, connection: "Connection") -> None:
        """The connection is closed, whoever closed it, and whatever was under way on it is lost."""


class Connection:
    """Reads and parses, keeps what the socket does not take, and closes. Of pipelined requests one is answered at a time."""

    __slots__ = ("_closing", "_fd", "_host", "_incoming", "_leaving", "_out", "_sock", "_spring", "_timer", "busy")

    def __init__(self, sock: socket.socket, host: Host) -> None:
        self._sock, self._host, self._fd = sock, host, sock.fileno()
        self.busy: Any = None
        self._closing = self._leaving = False
        self._out = bytearray()
        self._spring: Callable[[], bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._incoming = _Incoming()
        sock.setblocking(False)
        host.loop.add_reader(self._fd, self._readable)

    def send(self, data: bytes) -> None:
        """Write what the socket takes; the rest waits until it is writable. Does nothing once the connection is closed."""
        if self._fd < 0:
            return
        if self._out:
            self._out += data
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._out += data[sent:]
            self._host.loop.add_writer(self._fd, self._writable)

    def pour(self, spring: Callable[[], bytes]) -> None:
        """Send what `spring` gives, over and over, as fast as it is taken, until the connection is closed."""
        if self._fd >= 0:
            self._spring = spring
            self._host.loop.add_writer(self._fd, self._writable)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` in some time, unless the connection is closed or turns to another request before."""
        if self._fd >= 0:
            self._timer = self._host.loop.call_later(seconds, act)

    def done(self, *, keep_alive: bool) -> None:
        """The answer has been handed over: turn to the next request, or close once everything is written."""
        self.busy = None
        self._closing = self._closing or not keep_alive
        if self._closing and not self._out:
            self.close()
        self._next()

    def cork(self) -> None:
        """Hold back what is sent from now on, until `leave`: then its end comes in one segment with the connection's (Linux)."""
        if _CORK is not None and self._fd >= 0:
            self._sock.setsockopt(socket.IPPROTO_TCP, _CORK, 1)

    def leave(self) -> None:
        """Close, once everything is written, what the client takes for kept."""
        self.busy = None
        self._closing = self._leaving = True
        if not self._out:
            self._part()

    def leave_if_idle(self) -> None:
        """The same, unless something waits to be read: then the connection is in use."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.leave()
        except OSError:
            self.close()

    def reset(self) -> None:
        """Close so that the client gets a RST."""
        if self._fd >= 0:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """Close now; what has not been written is lost. A second call does nothing."""
        if self._fd < 0:
            return
        self._host.loop.remove_reader(self._fd)
        self._host.loop.remove_writer(self._fd)
        self._fd = -1
        if self._timer is not None:
            self._timer.cancel()
        self._sock.close()
        self._incoming.whole.clear()
        self._host.gone(self)

    def _readable(self) -> None:
        try:
            size, ancillary, _, _ = self._sock.recvmsg_into([_BUFFER], 64)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self.close()
            return
        self._incoming.stamp_ns = _stamp_ns(ancillary)
        try:
            self._incoming.feed(_VIEW[:size])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._closing = True
            if self.busy is None:  # else after the answer that is under way, and without a word
                self.send(refused(Refusal(400, f"this is no HTTP request: {exc}")))
                self.done(keep_alive=False)
            return
        self._next()

    def _next(self) -> None:
        waiting = self._incoming.whole
        while waiting and self.busy is None and not self._closing:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._host.serve(self, waiting.popleft())

    def _writable(self) -> None:
        if not self._out and self._spring is not None:
            self._out += self._spring()
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._out[:sent]
        if self._out or self._spring is not None:
            return
        self._host.loop.remove_writer(self._fd)
        if self._leaving:
            self._part()
        elif self._closing and self.busy is None:
            self.close()

    def _part(self) -> None:
        """Shut both ways: from then on the kernel takes nothing in, and what it took in before is told of and reset."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError, httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._sock.shutdown(socket.SHUT_RDWR)
            size, ancillary, _, _ = self._sock.recvmsg_into([_BUFFER], 64)
            self._incoming.stamp_ns = _stamp_ns(ancillary)
            self._incoming.feed(_VIEW[:size])
        crossed = self._incoming.drop()
        for request in crossed:
            self._host.crossed(request)
        if crossed:
            self.reset()
        else:
            self.close()


def _stamp_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanos = _TIMESPEC.unpack_from(data)
            return int(seconds) * SECOND + int(nanos)
    return now_ns()
