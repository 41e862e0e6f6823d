"""Starts the simulator, in the foreground or as a job in a process of its own, and ends it."""

import asyncio
import contextlib
import gc
import resource
import signal
import threading
from collections.abc import Callable, Iterator

from aiperf.config.simulator import Simulator
from aiperf.errors import ConfigError
from aiperf.seams import Channel
from aiperf.simulator.host import SimulatorHost

try:
    import uvloop
except ImportError:  # it is not made for every platform
    _new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.SelectorEventLoop
else:
    _new_loop = uvloop.new_event_loop

STOP = "stop"
"""The message that ends `serve_job`."""

_LOOK_S = 0.05


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
def _running(options: Simulator) -> Iterator[tuple[asyncio.AbstractEventLoop, SimulatorHost]]:
    _allow_descriptors()
    with contextlib.closing(_new_loop()) as loop, contextlib.closing(SimulatorHost(options, loop)) as host:
        gc.collect()
        gc.freeze()  # what is there by now stays; collections then look at connections and requests alone
        yield loop, host


def _allow_descriptors() -> None:
    """One a connection: as many as the system lets us have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
