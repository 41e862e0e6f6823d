"""What the registry knows of metrics: `record_processor` has those with a value a request, `results_processor` those of a run."""

from functools import partial

from aiperf.plugin import plugins
from aiperf.plugin.types import PluginEntry, TypeNotFoundError

REQUESTS, RUNS = "record_processor", "results_processor"


of_requests = partial(plugins.iter_entries, REQUESTS)
"""Metrics with a value, or a list of values, a request: each is a column of the records."""
of_runs = partial(plugins.iter_entries, RUNS)
"""Metrics with one value a run."""


def metric(name: str) -> PluginEntry:
    """A metric of either kind. Raises TypeNotFoundError."""
    try:
        return plugins.get_entry(REQUESTS, name)
    except TypeNotFoundError:
        return plugins.get_entry(RUNS, name)
