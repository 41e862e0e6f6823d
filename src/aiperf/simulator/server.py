"""The server on loopback: connections in, requests out one at a time, answers on to the sockets; in the foreground, or as a job."""

import asyncio
import contextlib
import errno
import gc
import resource
import signal
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import httptools
import uvloop

from aiperf.clock import SECOND, now_ns
from aiperf.config.simulator import Simulator
from aiperf.errors import ConfigError, MeasureError
from aiperf.seams import Channel
from aiperf.simulator.answers import Request
from aiperf.simulator.bodies import Refusal, refused
from aiperf.simulator.draws import request_number
from aiperf.simulator.service import Service
from aiperf.timerfd import Timer

_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("qq")
_RESET = struct.pack("ii", 1, 0)
_BUFFER = memoryview(bytearray(256 * 1024))
_NO_HTTP = (httptools.HttpParserError, httptools.HttpParserUpgrade)
_LOOPBACK = "127.0.0.1"
_BACKLOG = 65535
_FLUSH_S = 0.5
_LOOK_S = 0.05
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


class _Incoming:
    """Gathers requests from the parser's callbacks."""

    __slots__ = ("_body", "_number", "_parser", "_stamp_ns", "_url", "whole")

    def __init__(self) -> None:
        self.whole: deque[Request] = deque()
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()

    def read(self, sock: socket.socket) -> int:
        """How many bytes have come, 0 at the end. Raises OSError, and HttpParserError or HttpParserUpgrade for what is no request."""
        size, ancillary, _, _ = sock.recvmsg_into([_BUFFER], 64)
        seconds, nanos = _TIMESPEC.unpack_from(ancillary[0][2]) if ancillary else (0, now_ns())
        self._stamp_ns = seconds * SECOND + nanos
        if size:  # a parser that has failed would say so again, and the end would not be heard
            self._parser.feed_data(_BUFFER[:size])
        return int(size)

    def unseen(self) -> list[Request]:
        """Every request that nobody has seen yet, the last perhaps not whole."""
        return [*self.whole, *([self._request()] if self._url else [])]

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
        self.whole.append(self._request())
        self._url = b""

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
        except _NO_HTTP as exc:
            self._closing = True
            if self.busy is None:  # else after the answer that is under way, and without a word
                self.send(refused(Refusal(400, f"this is no HTTP request: {exc}")))
                self.done(keep_alive=False)
            return
        except OSError:
            size = 0
        (self._next if size else self.close)()

    def _next(self) -> None:
        waiting = self._incoming.whole
        while waiting and self.busy is None and not self._closing:
            if self._timer is not None:
                self._timer.cancel()
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
        """All is written. Who leaves shuts both ways: the kernel then takes nothing in, and what it took in before is told of and reset."""
        if not self._leaving and self._closing and self.busy is None:
            self.close()
        if not self._leaving or self._fd < 0:
            return
        with contextlib.suppress(OSError, *_NO_HTTP):
            self._sock.shutdown(socket.SHUT_RDWR)
            self._incoming.read(self._sock)
        crossed = self._incoming.unseen()
        for request in crossed:
            self._service.crossed(request)
        (self.reset if crossed else self.close)()


class SimulatorHost:
    """Listens from its making until `close`. Raises MeasureError if the port cannot be had, ConfigError if the log cannot be written."""

    def __init__(self, options: Simulator, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listener = _listen(options.port)
        self.port: int = self._listener.getsockname()[1]
        self._timer = Timer()
        try:
            self._service = Service(options, self._timer.set)
        except ConfigError:  # only once the port is ours: the log may be that of the server which has it
            self._timer.close()
            self._listener.close()
            raise
        self._connections: set[Connection] = set()
        loop.add_reader(self._timer.fd, self._service.pump)
        self._hear()
        self._flusher = loop.call_later(_FLUSH_S, self._flush)

    def close(self) -> None:
        """Close every connection; what is under way is logged as it stands."""
        self._flusher.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        self._deaf = False  # no connection that is closed from now on makes it hear again
        for connection in tuple(self._connections):
            connection.close()
        self._loop.remove_reader(self._timer.fd)
        self._timer.close()
        self._service.close()

    def _flush(self) -> None:
        self._service.flush()
        self._flusher = self._loop.call_later(_FLUSH_S, self._flush)

    def _hear(self) -> None:
        self._deaf = False
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _FULL:
                    raise
                self._deaf = True  # until a connection is closed: what waits would wake the loop for nothing
                self._loop.remove_reader(self._listener.fileno())
                return
            self._connections.add(Connection(sock, self._loop, self._service, closed=self._closed))

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if self._deaf:
            self._hear()


def _listen(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what is accepted, as is the next
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)  # from the start: the kernel turns stamping on some milliseconds late
        sock.bind((_LOOPBACK, port))
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        why = "is in use; choose another, or 0 for a free one" if exc.errno == errno.EADDRINUSE else f"cannot be used: {exc.strerror}"
        raise MeasureError(f"the simulator's port {_LOOPBACK}:{port} {why}") from exc
    sock.setblocking(False)
    return sock


def serve(options: Simulator, *, ready: Callable[[int], None]) -> None:
    """Serve on 127.0.0.1 until SIGINT or SIGTERM; `ready` is told the port once it listens. For the main thread.

    Raises MeasureError if the port cannot be had, ConfigError if the log cannot be written or connections are to be refused.
    """
    if options.faults.refused:
        raise ConfigError(
            f"faults.refused={options.faults.refused:g}: a server that listens refuses no connection, its client has to be given "
            "addresses where none does; endpoint=simulator endpoint.simulator.faults.refused=… does that in a run"
        )
    with _running(options) as (loop, host):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, loop.stop)
        loop.call_soon(ready, host.port)  # from within: a signal that comes right after it is heard
        loop.run_forever()


def serve_job(channel: Channel, options: Simulator) -> None:
    """The same as a job: tells `{"port": n}` and serves until the channel is closed or the message `stop` comes. SIGINT is ignored."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _running(options) as (loop, host):

        def look() -> None:
            if "stop" in channel.told() or channel.closed:
                loop.stop()
            elif channel.fileno() < 0:
                loop.call_later(_LOOK_S, look)

        channel.tell({"port": host.port})
        if channel.fileno() >= 0:
            loop.add_reader(channel.fileno(), look)
        loop.call_soon(look)
        loop.run_forever()


@contextlib.contextmanager
def _running(options: Simulator) -> Iterator[tuple[asyncio.AbstractEventLoop, "SimulatorHost"]]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # a descriptor a connection: as many as the system lets us have
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.closing(uvloop.new_event_loop()) as loop, contextlib.closing(SimulatorHost(options, loop)) as host:
        gc.collect()
        gc.freeze()  # what is there by now stays; collections then look at connections and requests alone
        yield loop, host
