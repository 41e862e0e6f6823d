"""What of an experiment comes from other packages: without them nothing of its results can be computed again."""

from collections.abc import Iterator
from operator import attrgetter

from aiperf.config.checks import NAMES
from aiperf.config.experiment import Experiment
from aiperf.plugin import metrics, plugins
from aiperf.plugin.types import PluginEntry


def packages(experiment: Experiment) -> dict[str, dict[str, str]]:
    """By key (of exporters and metrics: category and name), which plugin of which package and version it is."""
    return {key: _told(entry) for key, entry in _parts(experiment) if not entry.is_builtin}


def _told(entry: PluginEntry) -> dict[str, str]:
    version = plugins.get_package_metadata(entry.package).version
    return {"category": entry.category, "name": entry.name, "package": entry.package, "version": version}


def _parts(experiment: Experiment) -> Iterator[tuple[str, PluginEntry]]:
    named = ((".".join(path), category) for path, category in NAMES.items())
    yield from ((key, plugins.get_entry(category, name)) for key, category in named if (name := attrgetter(key)(experiment)) is not None)
    exporters = [plugins.get_entry("data_exporter", name) for name in experiment.output.formats]
    yield from ((f"{entry.category}.{entry.name}", entry) for entry in (*exporters, *metrics.of_requests(), *metrics.of_runs()))
