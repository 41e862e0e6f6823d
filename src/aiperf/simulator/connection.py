"""One client's connection: bytes in with their kernel stamps, requests out one at a time, answers on to the socket."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

from aiperf.clock import SECOND, now_ns
from aiperf.simulator.draws import request_number
from aiperf.simulator.exchange import Request
from aiperf.simulator.plan import Refusal
from aiperf.simulator.script import refused
from aiperf.simulator.service import Service

SO_TIMESTAMPNS = 35

_TIMESPEC = struct.Struct("qq")
_RESET = struct.pack("ii", 1, 0)
_BUFFER = bytearray(256 * 1024)
_VIEW = memoryview(_BUFFER)


class _Incoming:
    """Gathers requests from the parser's callbacks."""

    __slots__ = ("_begun", "_body", "_number", "_parser", "_stamp_ns", "_url", "whole")

    def __init__(self) -> None:
        self.whole: deque[Request] = deque()
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()
        self._begun = False

    def read(self, sock: socket.socket) -> int:
        """How many bytes have come, 0 at the end. Raises OSError, and HttpParserError or HttpParserUpgrade for what is no request."""
        size, ancillary, _, _ = sock.recvmsg_into([_BUFFER], 64)
        self._stamp_ns = _stamp_ns(ancillary[0][2]) if ancillary else now_ns()
        if size:  # a parser that has failed would say so again, and the end would not be heard
            self._parser.feed_data(_VIEW[:size])
        return int(size)

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
        return Request(parser.get_method(), path, self._number, body, self._stamp_ns, keep_alive, version)


class Connection:
    """Reads and parses, keeps what the socket does not take, and closes. Of pipelined requests one is answered at a time."""

    __slots__ = ("_closed", "_closing", "_fd", "_incoming", "_leaving", "_loop", "_out", "_service", "_sock", "_spring", "_timer", "busy")

    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, service: Service, *, closed: Callable[["Connection"], None]
    ) -> None:
        self._sock, self._fd = sock, sock.fileno()
        self._loop, self._service, self._closed = loop, service, closed
        self.busy: Any = None
        self._closing = self._leaving = False
        self._out = bytearray()
        self._spring: Callable[[], bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._incoming = _Incoming()
        sock.setblocking(False)
        loop.add_reader(self._fd, self._readable)

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
            self._loop.add_writer(self._fd, self._writable)

    def pour(self, spring: Callable[[], bytes]) -> None:
        """Send what `spring` gives, over and over, as fast as it is taken, until the connection is closed."""
        if self._fd >= 0:
            self._spring = spring
            self._loop.add_writer(self._fd, self._writable)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` in some time, unless the connection is closed or turns to another request before."""
        if self._fd >= 0:
            self._timer = self._loop.call_later(seconds, act)

    def done(self, *, keep_alive: bool, unannounced: bool = False) -> None:
        """Turn to the next request, or close once everything is written."""
        self.busy = None
        self._leaving = self._leaving or unannounced
        self._closing = self._closing or unannounced or not keep_alive
        if not self._out:
            self._end()
        self._next()

    def cork(self) -> None:
        """Its end then comes in one segment with the connection's."""
        if self._fd >= 0:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)

    def leave_if_idle(self) -> None:
        """It is in use if something waits to be read."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.done(keep_alive=False, unannounced=True)
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
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._fd = -1
        if self._timer is not None:
            self._timer.cancel()
        self._sock.close()
        self._incoming.whole.clear()
        self._service.gone(self)
        self._closed(self)

    def _readable(self) -> None:
        try:
            size = self._incoming.read(self._sock)
        except BlockingIOError:
            return
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._closing = True
            if self.busy is None:  # else after the answer that is under way, and without a word
                self.send(refused(Refusal(400, f"this is no HTTP request: {exc}")))
                self.done(keep_alive=False)
            return
        except OSError:
            size = 0
        if size:
            self._next()
        else:
            self.close()

    def _next(self) -> None:
        waiting = self._incoming.whole
        while waiting and self.busy is None and not self._closing:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._service.serve(self, waiting.popleft())

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
        self._loop.remove_writer(self._fd)
        self._end()

    def _end(self) -> None:
        """All is written."""
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
            self._incoming.read(self._sock)
        crossed = self._incoming.drop()
        for request in crossed:
            self._service.crossed(request)
        if crossed:
            self.reset()
        else:
            self.close()


def _stamp_ns(timespec: bytes) -> int:
    seconds, nanos = _TIMESPEC.unpack_from(timespec)
    return int(seconds) * SECOND + int(nanos)
