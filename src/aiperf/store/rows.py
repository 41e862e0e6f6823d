"""What is written into a campaign's tables: a sweep, its trials and what was derived from them, as rows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from aiperf import clock
from aiperf.finite import is_finite_value, scrub_non_finite
from aiperf.results import Summary
from aiperf.store.tables import TABLES

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A campaign as its table tells it; a single run is a sweep of one, with planner `none`.

    `sweep_id` is the campaign folder's name, `config` the text of the experiment (or of the sweep) without secrets,
    times are CLOCK_REALTIME nanoseconds. Its state, as a trial's, is planned, running, complete, failed, pruned or stopped.
    """

    sweep_id: str
    name: str
    config: str
    started_ns: int
    ended_ns: int | None = None
    state: str = "complete"
    stop_reason: str | None = None
    planner: str = "none"
    objective: str | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: `dir` is its folder below the campaign, `params` what it was set to (dotted names, no secrets).

    `feasible` unset is whether every promise of the summary was kept (null where nothing was promised);
    `objective` is the value that a search judges by.
    """

    number: int
    dir: str
    params: Mapping[str, Any]
    started_ns: int
    ended_ns: int | None = None
    state: str = "complete"
    summary: Summary | None = None
    repeat: int = 0
    feasible: bool | None = None
    objective: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Derived:
    """What was found over all trials of a sweep: a knee, a member of a front, a coefficient of a fit."""

    name: str
    value: float | None
    detail: str = ""


def rows(sweep: Sweep, trials: Sequence[Trial], derived: Iterable[Derived]) -> Mapping[str, pa.Table]:
    """What is to be in each table, what is no number as null."""
    found: dict[str, list[Row]] = {table: [] for table in TABLES}
    found["sweeps"].append((
        sweep.sweep_id, sweep.name, sweep.planner, sweep.objective, sweep.state, sweep.stop_reason, _utc(sweep.started_ns),
        _utc(sweep.ended_ns), sweep.config,
    ))  # fmt: skip
    found["derived"] += [(sweep.sweep_id, one.name, scrub_non_finite(one.value), one.detail) for one in derived]
    for trial in trials:
        named = trial_id(sweep.sweep_id, trial.dir)
        found["trials"].append(_trial(named, sweep.sweep_id, trial))
        found["params"] += [(named, name, *_param(value)) for name, value in trial.params.items()]
        if trial.summary is not None:
            _judged(found, named, trial.summary)
    return {table: pa.Table.from_pylist([dict(zip(schema.names, row)) for row in found[table]], schema) for table, schema in TABLES.items()}


def trial_id(sweep_id: str, folder: str) -> str:
    """The same wherever the campaign lies: its own name and the name of the trial's folder, `20260102T030405Z-abc123/0001`."""
    return f"{sweep_id}/{PurePosixPath(folder).name}"


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested values by dotted name; what is empty and what is unset is left out."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{name}.")
        elif value is not None and value != []:
            found[f"{above}{name}"] = value
    return found


def _trial(named: str, sweep_id: str, trial: Trial) -> Row:
    kept, summary = trial.feasible, trial.summary
    if kept is None and summary is not None and summary.slos:
        kept = summary.gate_met and all(slo.met for slo in summary.slos)
    return (
        named, sweep_id, trial.number, trial.repeat, trial.state, summary and summary.verdict.word, kept,
        scrub_non_finite(trial.objective), _utc(trial.started_ns), _utc(trial.ended_ns), trial.dir, trial.error,
    )  # fmt: skip


def _judged(found: dict[str, list[Row]], named: str, summary: Summary) -> None:
    judged = {metric.metric for metric in summary.metrics}  # of the whole run only what the window has not
    for metric in (*summary.metrics, *(metric for metric in summary.whole if metric.metric not in judged)):
        found["metrics"] += [
            (named, metric.metric, stat, scrub_non_finite(value), metric.unit, metric.n, *bounds, stat not in metric.unsupported)
            for stat, value in metric.stats.items()
            for bounds in [metric.intervals.get(stat, (None, None))]
        ]
    found["reasons"] += [(named, reason.reason, reason.detail) for reason in summary.verdict.reasons]
    found["slos"] += [
        (named, slo.metric, slo.stat, slo.op, slo.threshold, scrub_non_finite(slo.value), slo.met) for slo in summary.slos
    ]  # fmt: skip


def _param(value: Any) -> tuple[str | None, float | None]:
    """A value as text, and as a number where it is one."""
    if value is None or isinstance(value, str):
        return value, None
    number = float(value) if is_finite_value(value) else None
    return json.dumps(scrub_non_finite(value), ensure_ascii=False, default=str), number


def _utc(ns: int | None) -> int | None:
    return None if ns is None else ns // clock.MICROSECOND
