"""The servers of a run: those that the experiment names, or a simulator that lives as long as the run."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING

from aiperf import clock
from aiperf.app.host import Cores
from aiperf.config.endpoint import Endpoint as Options
from aiperf.config.simulator import Simulator
from aiperf.errors import ConfigError, MeasureError
from aiperf.load.loop import VirtualLoop
from aiperf.plugin.plugins import make
from aiperf.seams import Cluster, Event, Fetch, Job
from aiperf.simulator.draws import refused_places
from aiperf.transports.fetch import HttpFetch

if TYPE_CHECKING:
    from aiperf.simulator.memory import MemoryServer
from aiperf.transports.origin import full

_log = getLogger(__name__)
_NAME, _LOOPBACK, _PATIENCE_S = "simulator", "127.0.0.1", 20.0
EPOCH_NS = 946_684_800 * clock.SECOND
"""Where a virtual clock begins: 2000-01-01, which nobody takes for a time that was measured."""

METRICS_S = 2.0
"""How long servers are asked for their metrics, all of them together."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Addresses, taken in turn by request number; `memory` is the server itself where it lives in this process, on a virtual clock."""

    urls: tuple[str, ...]
    memory: "MemoryServer | None" = None

    def fetch(self, headers: Mapping[str, str], ca_path: str | None) -> Fetch:
        """What asks them for a page."""
        return HttpFetch(headers, ca_path) if self.memory is None else self.memory


@contextmanager
def served(options: Options, cores: Cores, say: Callable[[str], None] = _log.error) -> Iterator[Servers]:
    """The servers of a run; a simulator is started on a free loopback port, or in this process, and ended afterwards.

    One that has ended before is told of (`say`). Where it is to refuse connections, its address is there several times,
    and between them such as nobody listens at.
    """
    if options.simulator is None:
        yield Servers(options.url)
        return
    log = options.simulator.log
    if log is not None and not Path(log).expanduser().parent.is_dir():
        raise ConfigError(f"endpoint.simulator.log: the folder of {log} does not exist")
    if options.simulator.clock == "virtual":
        from aiperf.simulator.memory import MemoryServer  # noqa: PLC0415 - launch time: a server elsewhere needs none of it

        memory = MemoryServer(options.simulator, VirtualLoop(EPOCH_NS))
        try:
            yield Servers(memory.urls, memory)
        finally:
            try:
                memory.close()
            except MeasureError as exc:  # a log that is not whole costs no report
                say(str(exc))
        return
    cluster = make("cluster", "local")
    try:
        cluster.start(Job(_NAME, "aiperf.simulator.server:serve_job", options.simulator, cores=cores.others))
        with _addresses(_port(cluster), options.simulator) as urls:
            yield Servers(urls)
    finally:
        cluster.wait(0, lambda event: say(f"the simulator {event.error or 'ended'} during the run") if event.ended else None)
        cluster.close()


@contextmanager
def _addresses(port: int, options: Simulator) -> Iterator[tuple[str, ...]]:
    """The port is bound where connections are to be refused, so that nobody else can come to listen there."""
    every, places = refused_places(options.faults, options.seed)
    with ExitStack() as held:
        ports = [port] * every
        for place in places:
            sock = held.enter_context(socket.socket())
            sock.bind((_LOOPBACK, 0))
            ports[place] = sock.getsockname()[1]
        yield tuple(f"http://{_LOOPBACK}:{one}" for one in ports)


def metrics_texts(urls: tuple[str, ...], fetch: Fetch, *, within_s: float = METRICS_S) -> dict[int, bytes]:
    """The text at `/metrics` of each server that has one, by its first place; each is asked once, while there is time."""
    texts = {}
    until = clock.monotonic_ns() + round(within_s * clock.SECOND)
    for url in dict.fromkeys(urls):
        place, left_ns = urls.index(url), until - clock.monotonic_ns()
        if left_ns <= 0:
            break
        try:
            status, _, body = fetch(full(url.removesuffix("/v1"), "/metrics"), timeout_s=left_ns / clock.SECOND)
        except MeasureError:
            continue
        if status == 200 and body:
            texts[place] = body
    return texts


def _port(cluster: Cluster) -> int:
    until = clock.monotonic_ns() + round(_PATIENCE_S * clock.SECOND)
    heard: list[Event] = []
    while clock.monotonic_ns() < until and not heard:
        cluster.wait(0.1, heard.append)
    for event in heard[:1]:
        if event.ended:
            raise MeasureError(f"the simulator could not be started: {event.error or 'it ended at once'}")
        return int(event.message["port"])
    raise MeasureError(f"the simulator did not start within {_PATIENCE_S:g} s")
