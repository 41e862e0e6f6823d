"""Everything that one trial found, from its records and the facts of its run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aiperf.config.experiment import Experiment
from aiperf.config.slos import EACH, limits
from aiperf.metrics.asides import summarised
from aiperf.metrics.columns import Failed, has_metrics, ours, single, with_metrics
from aiperf.metrics.rates import good_request_fraction, promises, rate_bounds
from aiperf.metrics.rows import ended_ns, good, numbers, reasons, stamps, tally
from aiperf.metrics.timeline import mean_in_flight, peak_in_flight, timeline
from aiperf.metrics.validity import verdict
from aiperf.metrics.view import Case, RunView, whole
from aiperf.plugin.plugins import of_requests, of_runs
from aiperf.plugin.types import PluginEntry
from aiperf.records import NOT_FAILURES
from aiperf.results import MetricValue, RunFacts, Slo, Summary, Window

_PROMISED = ("window", "planned", "mean_gap_ns", "input_promised", "output_promised")


def summarise(
    records: pa.Table, facts: RunFacts, experiment: Experiment, *, samples: Mapping[str, str], extra_notes: Sequence[str] = ()
) -> Summary:
    """The numbers, the ledger and the verdict of a run; `records` are of every phase, `samples` a body an error class."""
    failed: dict[str, str] = {}
    records = records if has_metrics(records) else with_metrics(records, failed)
    promised = limits(experiment.goodput)
    case = Case(records, facts, experiment.verdict, promised, experiment.timing.type)
    view = case.view
    over_all = whole(view)
    slos = tuple(promises(view, min_fraction=experiment.goodput.min_fraction))
    values = list(_values(view, case, failed))
    whole_values = [] if over_all is None else list(_values(over_all, case, failed))
    plugged = (*of_requests(), *of_runs())
    beside, more = summarised(good(view.judged))
    tags = [entry.name for entry in _meant(of_requests(), case)]
    if view.window != facts.window:
        whole_values += map(case.told(case.run).__getitem__, tags)
    every = (*map(case.distributions.__getitem__, tags), *values, *beside)
    found = {one.metric: one for one in reversed(every)}  # of two of one name the first
    return Summary(
        window=_window(view),
        metrics=tuple(reversed(found.values())),
        whole=tuple(whole_values),
        counts=_counts(case),
        errors=case.failures,
        samples=dict(samples),
        slos=slos,
        verdict=verdict(case, (*extra_notes, *failed.values(), *more)),
        timeline=timeline(case.run),
        gate_met=_gate_met(view, slos, min_fraction=experiment.goodput.min_fraction),
        facts=_facts(case) | {"plugged": [*(entry.name for entry in plugged if not entry.is_builtin), *(one.metric for one in beside)]},
    )


def _meant(entries: Iterable[PluginEntry], case: Case) -> list[PluginEntry]:
    """Those that mean something here: answers are streamed, promises were made."""
    there = {"streaming": case.facts.streaming, "slos": bool(case.promised)}
    return [entry for entry in entries if all(there.get(need, False) for need in entry.metadata.get("needs", ()))]


def _values(view: RunView, case: Case, failed: Failed) -> Iterator[MetricValue]:
    good, bad = len(case.good), sum(case.failures.values())
    populations = {
        "good requests": good,
        "failed requests": bad,
        "good and failed requests": good + bad,
        "all planned requests": len(case.run),
        "good answers that ended in the window": len(view.ended),
        "good answers with tokens in the window": int(np.count_nonzero(view.shares_within)),
    }
    for entry in _meant(of_runs(), case):
        found = single(entry, view, failed)
        bounds = rate_bounds(view, entry.name, found) if entry.is_builtin and found is not None else None
        intervals, effective = ({"avg": bounds[:2]}, {"avg": bounds[2]}) if bounds else ({}, {})
        n = populations.get(entry.metadata.get("population", ""), 1)
        yield MetricValue(entry.name, entry.metadata.get("unit", ""), {"avg": found}, n, (), intervals, effective)


def _window(view: RunView) -> Window:
    """The window, with the good answers that ended on either side of it."""
    ended = stamps(ended_ns(view.good))
    before, after = (int(np.count_nonzero(side)) for side in (ended <= view.window.start_ns, ended > view.window.end_ns))
    return replace(view.window, before=before, after=after)


def _counts(case: Case) -> dict[str, int]:
    """The ledger of the run: planned = good + failed + unsent + abandoned + cancelled."""
    limit = case.limits.max_lateness_ms
    return {
        "planned": len(case.run),
        "sent": len(stamps(case.run["sent_ns"])),
        "good": len(case.good),
        "failed": sum(case.failures.values()),
        **{name: case.classes.get(name, 0) for name in NOT_FAILURES},
        **{f"unsent ({why})": n for why, n in reasons(case.run, "unsent").items()},
        "waited": int(np.count_nonzero(numbers(ours(case.run, "queue_time")) > limit)),
        "late": int(np.count_nonzero(numbers(ours(case.run, "schedule_lateness")) > limit)),
        "warmup": len(case.records) - len(case.run),
    }


def _gate_met(view: RunView, slos: Sequence[Slo], *, min_fraction: float | None) -> bool:
    """Without `min_fraction` nothing is gated; with it the share of requests must reach it, and the run's own limits be kept."""
    if min_fraction is None:
        return True
    share = good_request_fraction(view)
    return share is not None and share >= min_fraction and all(slo.met for slo in slos if slo.stat != EACH)


def _facts(case: Case) -> dict[str, Any]:
    """What else was seen: lengths against what was asked for, the level in flight, stamps, the generators."""
    widths = case.first_token_widths_ms
    return {name: value for name, value in asdict(case.facts).items() if name not in _PROMISED} | {
        "planned_in_window": case.facts.planned,
        "mean_in_flight": mean_in_flight(case.records, case.facts.window),
        "peak_in_flight": peak_in_flight(case.records),
        "input_length_error": case.length_error("input_tokens"),
        "output_length_error": case.length_error("output_tokens"),
        "first_token_intervals": float(np.count_nonzero(widths > 0)) / len(widths) if len(widths) else 0.0,
        "stamps": tally(case.run["stamp"]),
        "reused_connections": int(pc.sum(case.run["reused"]).as_py() or 0),
        "coalesced_events": int(pc.sum(case.run["coalesced"]).as_py() or 0),
        "dead_generators": list(case.facts.dead_generators),
        "began": case.began,
    }
