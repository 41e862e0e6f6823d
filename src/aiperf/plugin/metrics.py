"""What the registry knows of metrics: `record_processor` has those with a value a request, `results_processor` those of a run."""

from collections.abc import Iterator

from aiperf.plugin import plugins
from aiperf.plugin.types import PluginEntry, TypeNotFoundError

REQUESTS, RUNS = "record_processor", "results_processor"


def of_requests() -> Iterator[PluginEntry]:
    """Metrics with a value, or a list of values, a request: each is a column of the records."""
    return plugins.iter_entries(REQUESTS)


def of_runs() -> Iterator[PluginEntry]:
    """Metrics with one value a run."""
    return plugins.iter_entries(RUNS)


def metric(name: str) -> PluginEntry:
    """A metric of either kind. Raises TypeNotFoundError."""
    try:
        return plugins.get_entry(REQUESTS, name)
    except TypeNotFoundError:
        return plugins.get_entry(RUNS, name)
