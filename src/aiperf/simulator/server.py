"""The server on loopback: connections in, the service's answers out; in the foreground, or as a job in a process of its own."""

import asyncio
import contextlib
import errno
import gc
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import uvloop

from aiperf.config.simulator import Simulator
from aiperf.errors import ConfigError, MeasureError
from aiperf.seams import Channel
from aiperf.simulator.connection import SO_TIMESTAMPNS, Connection
from aiperf.simulator.service import Service
from aiperf.timerfd import Timer

STOP = "stop"
"""The message that ends `serve_job`."""

_LOOPBACK = "127.0.0.1"
_BACKLOG = 65535
_FLUSH_S = 0.5
_LOOK_S = 0.05
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


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
        channel.tell({"port": host.port})
        _watch(channel, loop)
        loop.run_forever()


def _watch(channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
    def look() -> None:
        if STOP in channel.told() or channel.closed:
            loop.stop()
        elif channel.fileno() < 0:
            loop.call_later(_LOOK_S, look)

    if channel.fileno() >= 0:
        loop.add_reader(channel.fileno(), look)
    loop.call_soon(look)


@contextlib.contextmanager
def _running(options: Simulator) -> Iterator[tuple[asyncio.AbstractEventLoop, "SimulatorHost"]]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # a descriptor a connection: as many as the system lets us have
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.closing(uvloop.new_event_loop()) as loop, contextlib.closing(SimulatorHost(options, loop)) as host:
        gc.collect()
        gc.freeze()  # what is there by now stays; collections then look at connections and requests alone
        yield loop, host


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
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)  # from the start: the kernel turns stamping on some milliseconds late
        sock.bind((_LOOPBACK, port))
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        why = "is in use; choose another, or 0 for a free one" if exc.errno == errno.EADDRINUSE else f"cannot be used: {exc.strerror}"
        raise MeasureError(f"the simulator's port {_LOOPBACK}:{port} {why}") from exc
    sock.setblocking(False)
    return sock
