"""What a receipt says about where and with what a run was made."""

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from aiperf import __version__, clock
from aiperf.config.checks import NAMES
from aiperf.config.experiment import Experiment
from aiperf.plugin import plugins
from aiperf.plugin.types import PluginEntry

_PACKAGES = ("hydra-core", "omegaconf", "pydantic", "numpy", "pyarrow", "httptools", "msgspec", "uvloop")


def facts() -> dict[str, Any]:
    """Versions, machine and clocks, for the receipt."""
    from importlib import metadata  # noqa: PLC0415 - a tenth of the way to the first request, and needed after the last

    return {
        "aiperf_version": __version__,
        "python": sys.version.split()[0],
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "host": platform.node(), "machine": platform.machine(), "cpu": _cpu(), "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "clock_offset_ns": clock.offset_ns(),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores our own workers share out: one for each load generator, the others for the rest (None: no difference made)."""

    count: int
    generators: tuple[frozenset[int] | None, ...] = (None,)
    others: frozenset[int] | None = None


def cores(*, pin: bool, generators: int = 1) -> Cores:
    """The cores that this process may use; the last are the generators', if each is to have one to itself and there are more."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(os.cpu_count() or 1, (None,) * generators)
    allowed = sorted(os.sched_getaffinity(0))
    if not pin or len(allowed) <= generators:
        return Cores(len(allowed), (None,) * generators)
    return Cores(len(allowed), tuple(frozenset((core,)) for core in allowed[-generators:]), frozenset(allowed[:-generators]))


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def packages(experiment: Experiment) -> dict[str, dict[str, str]]:
    """By key (of exporters and metrics: category and name), which plugin of which package and version it is."""
    brought = ((key, entry, plugins.get_package_metadata(entry.package)) for key, entry in _parts(experiment) if not entry.is_builtin)
    return {
        key: {"category": entry.category, "name": entry.name, "package": entry.package, "version": package.version}
        for key, entry, package in brought
    }


def _parts(experiment: Experiment) -> Iterator[tuple[str, PluginEntry]]:
    named = ((".".join(path), category) for path, category in NAMES.items())
    yield from ((key, plugins.get_entry(category, name)) for key, category in named if (name := attrgetter(key)(experiment)) is not None)
    exporters = [plugins.get_entry("data_exporter", name) for name in experiment.output.formats]
    yield from ((f"{entry.category}.{entry.name}", entry) for entry in (*exporters, *plugins.of_requests(), *plugins.of_runs()))
