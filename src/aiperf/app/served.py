"""The servers of a run: those that the experiment names, or a simulator that lives as long as the run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiperf import clock
from aiperf.app.host import Cores
from aiperf.config.endpoint import Endpoint as Options
from aiperf.errors import ConfigError, MeasureError
from aiperf.plugin.plugins import get_class
from aiperf.seams import Cluster, Fetch, Job
from aiperf.transports.origin import full

_NAME = "simulator"
_PATIENCE_S = 20.0
_METRICS_S = 2.0


@contextmanager
def served(options: Options, cores: Cores) -> Iterator[tuple[str, ...]]:
    """The addresses of the servers; a simulator is started on a free loopback port, and ended afterwards."""
    if options.simulator is None:
        yield options.url
        return
    log = options.simulator.log
    if log is not None and not Path(log).expanduser().parent.is_dir():
        raise ConfigError(f"endpoint.simulator.log: the folder of {log} does not exist")
    cluster: Cluster = get_class("cluster", "local")()
    try:
        cluster.start(Job(_NAME, "aiperf.simulator.server:serve_job", options.simulator, cores=cores.others))
        yield (f"http://127.0.0.1:{_port(cluster)}",)
    finally:
        cluster.close()


def metrics_texts(urls: tuple[str, ...], fetch: Fetch) -> dict[int, bytes]:
    """The text at `/metrics` of each server that has one, by its place."""
    texts = {}
    for place, url in enumerate(urls):
        try:
            status, _, body = fetch(full(url.removesuffix("/v1"), "/metrics"), timeout_s=_METRICS_S)
        except MeasureError:
            continue
        if status == 200 and body:
            texts[place] = body
    return texts


def _port(cluster: Cluster) -> int:
    until = clock.monotonic_ns() + round(_PATIENCE_S * clock.SECOND)
    while clock.monotonic_ns() < until:
        for event in cluster.wait(0.1):
            if event.ended:
                raise MeasureError(f"the simulator could not be started: {event.error or 'it ended at once'}")
            return int(event.message["port"])
    raise MeasureError(f"the simulator did not start within {_PATIENCE_S:g} s")
