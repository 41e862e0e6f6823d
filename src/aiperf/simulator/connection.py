"""One client's connection: bytes in with their kernel stamps, requests out one at a time, answers on to the socket."""

import asyncio
import socket
import struct
import sys
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import httptools

from aiperf.clock import SECOND, now_ns
from aiperf.simulator.chat import Refusal
from aiperf.simulator.draws import request_number
from aiperf.simulator.script import refused

HAS_STAMPS = sys.platform == "linux"
SO_TIMESTAMPNS = 35

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

    __slots__ = ("_body", "_number", "_parser", "_url", "stamp_ns", "whole")

    def __init__(self) -> None:
        self.whole: deque[Request] = deque()
        self.stamp_ns = 0
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()

    def feed(self, data: memoryview) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = b""
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
        parser, path, body = self._parser, self._url.partition(b"?")[0], b"".join(self._body)
        keep_alive, version = parser.should_keep_alive(), parser.get_http_version()
        self.whole.append(Request(parser.get_method(), path, self._number, body, self.stamp_ns, keep_alive, version))


class Host(Protocol):
    """Who answers."""

    loop: asyncio.AbstractEventLoop

    def serve(self, connection: "Connection", request: Request) -> None:
        """Answer now, or take the connection (`busy`) until `Connection.done`."""

    def gone(self, connection: "Connection") -> None:
        """The connection is closed, whoever closed it, and whatever was under way on it is lost."""


class Connection:
    """Reads and parses, keeps what the socket does not take, and closes. Of pipelined requests one is answered at a time."""

    __slots__ = ("_closing", "_fd", "_host", "_incoming", "_out", "_sock", "busy")

    def __init__(self, sock: socket.socket, host: Host) -> None:
        self._sock, self._host, self._fd = sock, host, sock.fileno()
        self.busy: Any = None
        self._closing = False
        self._out = bytearray()
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

    def done(self, *, keep_alive: bool) -> None:
        """The answer has been handed over: turn to the next request, or close once everything is written."""
        self.busy = None
        self._closing = self._closing or not keep_alive
        if self._closing and not self._out:
            self.close()
        self._next()

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
            self._refuse(Refusal(400, f"this is no HTTP request: {exc}"))
            return
        self._next()

    def _refuse(self, refusal: Refusal) -> None:
        """Say so and close, after the answer that is under way, if there is one."""
        self._closing = True
        if self.busy is None:
            self.send(refused(refusal))
            self.done(keep_alive=False)

    def _next(self) -> None:
        waiting = self._incoming.whole
        while waiting and self.busy is None and not self._closing:
            self._host.serve(self, waiting.popleft())

    def _writable(self) -> None:
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._out[:sent]
        if self._out:
            return
        self._host.loop.remove_writer(self._fd)
        if self._closing and self.busy is None:
            self.close()


def _stamp_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanos = _TIMESPEC.unpack_from(data)
            return int(seconds) * SECOND + int(nanos)
    return now_ns()
