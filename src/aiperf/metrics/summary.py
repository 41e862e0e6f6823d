"""Everything that one trial found, from its records and the facts of its run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aiperf.config.experiment import Experiment
from aiperf.config.slos import EACH, Limit, limits
from aiperf.metrics.asides import summarised
from aiperf.metrics.case import Case
from aiperf.metrics.columns import has_metrics, ours, with_metrics
from aiperf.metrics.flight import mean_in_flight, peak_in_flight
from aiperf.metrics.goodput import good_request_fraction, promises
from aiperf.metrics.latency import queue_time, schedule_lateness
from aiperf.metrics.plugged import Failed, single
from aiperf.metrics.rates import rate_bounds
from aiperf.metrics.rows import by_class, ended_ns, good, is_failed, numbers, stamps, tally, unsent_by_reason
from aiperf.metrics.statistics import value
from aiperf.metrics.timeline import timeline
from aiperf.metrics.validity import verdict
from aiperf.metrics.view import RunView, whole
from aiperf.plugin.metrics import of_requests, of_runs
from aiperf.plugin.types import PluginEntry
from aiperf.records import NOT_FAILURES
from aiperf.results import MetricValue, RunFacts, Slo, Summary, Window


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
    slos = promises(view, min_fraction=experiment.goodput.min_fraction)
    values = list(_values(view, case, failed))
    whole_values = [] if over_all is None else list(_values(over_all, case, failed))
    plugged = (*of_requests(), *of_runs())
    beside, more = summarised(good(view.judged))
    if view.window != facts.window:
        whole_values += _distributions(case.whole)
    found = {one.metric: one for one in reversed((*_distributions(case), *values, *beside))}  # of two of one name the first
    return Summary(
        window=_window(view),
        metrics=tuple(reversed(found.values())),
        whole=tuple(whole_values),
        counts=_counts(case),
        errors=by_class(case.run.filter(is_failed(case.run))),
        samples=dict(samples),
        slos=slos,
        verdict=verdict(case, (*extra_notes, *failed.values(), *more)),
        timeline=timeline(case.run),
        gate_met=_gate_met(view, slos, min_fraction=experiment.goodput.min_fraction),
        facts=_facts(case) | {"plugged": [*(entry.name for entry in plugged if not entry.is_builtin), *(one.metric for one in beside)]},
    )


def _applies(entry: PluginEntry, facts: RunFacts, promised: Sequence[Limit]) -> bool:
    """Whether a metric means something here: answers are streamed, promises were made."""
    there = {"streaming": facts.streaming, "slos": bool(promised)}
    return all(there.get(need, False) for need in entry.metadata.get("needs", ()))


def _distributions(case: Case) -> Iterator[MetricValue]:
    for entry in of_requests():
        if _applies(entry, case.facts, case.promised):
            yield case.distributions[entry.name]


def _values(view: RunView, case: Case, failed: Failed) -> Iterator[MetricValue]:
    populations = _populations(case, view)
    for entry in of_runs():
        if _applies(entry, case.facts, case.promised):
            n = populations.get(entry.metadata.get("population", ""), 1)
            found = value(entry.name, entry.metadata.get("unit", ""), single(entry, view, failed), n=n)
            yield _bounded(found, view) if entry.is_builtin else found


def _bounded(found: MetricValue, view: RunView) -> MetricValue:
    """With its interval, where it is a throughput that has one."""
    mean = found.stats["avg"]
    bounds = None if mean is None else rate_bounds(view, found.metric, mean)
    return found if bounds is None else replace(found, intervals={"avg": bounds[:2]}, effective={"avg": bounds[2]})


def _populations(case: Case, view: RunView) -> dict[str, int]:
    """How many requests stand behind a metric of one value, by the population that it is declared with."""
    succeeded, failed = len(case.good), int(pc.sum(is_failed(case.run)).as_py() or 0)
    return {
        "good requests": succeeded,
        "failed requests": failed,
        "good and failed requests": succeeded + failed,
        "all planned requests": len(case.run),
        "good answers that ended in the window": len(view.ended),
        "good answers with tokens in the window": int(np.count_nonzero(view.shares_within)),
    }


def _window(view: RunView) -> Window:
    """The window, with the good answers that ended on either side of it."""
    ended = stamps(ended_ns(view.good))
    before, after = (int(np.count_nonzero(side)) for side in (ended <= view.window.start_ns, ended > view.window.end_ns))
    return replace(view.window, before=before, after=after)


def _counts(case: Case) -> dict[str, int]:
    """The ledger of the run: planned = good + failed + unsent + abandoned + cancelled."""
    classes = by_class(case.run)
    apart = {name: classes.get(name, 0) for name in NOT_FAILURES}
    limit = case.limits.max_lateness_ms
    return {
        "planned": len(case.run),
        "sent": len(stamps(case.run["sent_ns"])),
        "good": len(case.good),
        "failed": sum(classes.values()) - sum(apart.values()),
        **apart,
        **{f"unsent ({reason})": n for reason, n in unsent_by_reason(case.run).items()},
        "waited": int(np.count_nonzero(numbers(ours(case.run, queue_time)) > limit)),
        "late": int(np.count_nonzero(numbers(ours(case.run, schedule_lateness)) > limit)),
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
    facts, widths = case.facts, case.first_token_widths_ms
    return {
        "open_loop": facts.open_loop,
        "streaming": facts.streaming,
        "concurrency": facts.concurrency,
        "planned_in_window": facts.planned,
        "mean_in_flight": mean_in_flight(case.records, facts.window),
        "peak_in_flight": peak_in_flight(case.records),
        "input_length_error": case.input_length_error,
        "output_length_error": case.output_length_error,
        "template_tokens": facts.template_tokens,
        "client_counted": facts.client_counted,
        "first_token_intervals": float(np.count_nonzero(widths > 0)) / len(widths) if len(widths) else 0.0,
        "stamps": tally(case.run["stamp"]),
        "reused_connections": int(pc.sum(case.run["reused"]).as_py() or 0),
        "coalesced_events": int(pc.sum(case.run["coalesced"]).as_py() or 0),
        "clock_step_ns": facts.clock_step_ns,
        "busiest_second": facts.busiest_second,
        "dead_generators": list(facts.dead_generators),
        "lost_frames": facts.lost_frames,
        "spool_waits": facts.spool_waits,
        "stopped_by_user": facts.stopped_by_user,
        "began": case.began,
    }
