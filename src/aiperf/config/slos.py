"""Promises with their numbers: what `goodput.slos` says, in each metric's own unit."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiperf.config.experiment import Goodput
from aiperf.config.keys import Path
from aiperf.config.nearest import unknown
from aiperf.config.units import TIMES, in_unit
from aiperf.errors import ConfigError
from aiperf.finite import is_finite_value
from aiperf.plugin import metrics
from aiperf.plugin.types import PluginEntry, TypeNotFoundError

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
        for path, outcome in _limits(str(name), said):
            if isinstance(outcome, Limit):
                found.append(outcome)
            else:
                problems.append((path, outcome))
    return found, problems


def _limits(name: str, said: Any) -> Iterator[tuple[Path, Limit | str]]:
    try:
        entry = metrics.metric(name)
    except TypeNotFoundError:
        yield (name,), unknown("metric", name, [entry.name for entry in metrics.of_requests()])
        return
    if entry.category != metrics.REQUESTS:
        yield (name,), f"{name} is one number for the whole run; a promise is about a metric of requests, as time_to_first_token is"
    elif not isinstance(said, Mapping):
        yield (name,), _limit(entry, EACH, said)
    elif not said:
        yield (name,), "holds no limit; expected one, as in {p99: 2s}"
    else:
        for stat, value in said.items():
            yield (name, str(stat)), _limit(entry, str(stat), value)


def _limit(entry: PluginEntry, stat: str, value: Any) -> Limit | str:
    from aiperf.results import STATS  # noqa: PLC0415 - 5 ms of every start, for experiments with promises alone

    unit = str(entry.metadata.get("unit", ""))
    if stat != EACH and stat not in STATS:
        return unknown("statistic", stat, (EACH, *STATS))
    number = _number(value, unit)
    if number is None or number < 0:
        also = ", or with a unit as in 250ms or 2s" if unit in TIMES else ""
        return f"expected a number of at least 0 in {unit}{also}, not {value!r}"
    return Limit(entry.name, stat, ">=" if entry.metadata.get("better") == "higher" else "<=", number, unit)


def _number(value: Any, unit: str) -> float | None:
    """A quantity in a unit; None if it is none."""
    quantity = in_unit(value, unit)
    with suppress(ValueError):
        quantity = float(quantity) if isinstance(quantity, str) else quantity
    return float(quantity) if is_finite_value(quantity) else None
