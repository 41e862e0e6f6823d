"""Promises with their numbers: what `goodput.slos` says, in each metric's own unit."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiperf.config.base import TIMES, in_unit
from aiperf.config.experiment import Goodput
from aiperf.config.keys import Path, leaves
from aiperf.config.roots import unknown
from aiperf.errors import ConfigError
from aiperf.finite import is_finite_value
from aiperf.plugin import plugins
from aiperf.plugin.types import TypeNotFoundError

EACH = "each"
"""The statistic of a promise that holds for each request."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A promise: `stat` of `metric` (`each`: of every request) is `op` (`<=`, or `>=` where more is better) `threshold` in `unit`."""

    metric: str
    stat: str
    op: str
    threshold: float
    unit: str


def limits(goodput: Goodput) -> tuple[Limit, ...]:
    """The promises of an experiment, in its order. Raises ConfigError with every one that cannot be judged."""
    found, problems = read(goodput.slos)
    if problems:
        raise ConfigError([f"goodput.slos.{'.'.join(path)}: {text}" for path, text in problems])
    return tuple(found)


def read(slos: Mapping[str, Any]) -> tuple[list[Limit], list[tuple[Path, str]]]:
    """The promises that can be judged, and what is wrong with the others, by path below `slos`."""
    found: list[Limit] = []
    problems: list[tuple[Path, str]] = []
    for name, said in slos.items():
        if problem := _unfit(name, said):
            problems.append(((name,), problem))
            continue
        for path, value in leaves(said, (name,)):
            try:
                found.append(_limit(name, ".".join(path[1:]) or EACH, value))
            except ValueError as exc:
                problems.append((path, str(exc)))
    return found, problems


def _unfit(name: str, said: Any) -> str | None:
    """Why nothing can be promised; None if something can."""
    try:
        of_run = plugins.metric(name).category != "record_processor"
    except TypeNotFoundError:
        return unknown("metric", name, [entry.name for entry in plugins.of_requests()])
    if of_run:
        return f"{name} is one number for the whole run; a promise is about a metric of requests, as time_to_first_token is"
    return "holds no limit; expected one, as in {p99: 2s}" if said == {} else None


def _limit(name: str, stat: str, value: Any) -> Limit:
    from aiperf.results import STATS  # noqa: PLC0415 - 5 ms of every start, for experiments with promises alone

    said = plugins.metric(name).metadata
    unit = str(said.get("unit", ""))
    if stat != EACH and stat not in STATS:
        raise ValueError(unknown("statistic", stat, (EACH, *STATS)))
    number = in_unit(value, unit)
    with suppress(ValueError):
        number = float(number) if isinstance(number, str) else number
    if not is_finite_value(number) or number < 0:
        also = ", or with a unit as in 250ms or 2s" if unit in TIMES else ""
        raise ValueError(f"expected a number of at least 0 in {unit}{also}, not {value!r}")
    return Limit(name, stat, ">=" if said.get("better") == "higher" else "<=", float(number), unit)
