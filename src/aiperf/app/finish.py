"""The last stages: what the load left behind becomes numbers, a verdict, files and an exit code. Imported when the load is over."""

import sys
from collections.abc import Mapping
from functools import partial
from logging import getLogger
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aiperf import clock
from aiperf.app.conduct import Outcome
from aiperf.app.plan import Plan
from aiperf.app.probe import Found
from aiperf.app.session import Ended, Run, keep_plan
from aiperf.config.secrets import hidden
from aiperf.config.terminal import terminal
from aiperf.metrics.plugged import tried
from aiperf.metrics.summary import summarise
from aiperf.plugin import plugins
from aiperf.report import table as report
from aiperf.results import RunFacts, Summary, Window
from aiperf.store import summary as summaries
from aiperf.store.aggregate import commit
from aiperf.store.parquet import read_records
from aiperf.store.rows import Sweep, Trial, flat
from aiperf.workload import WARMUP_FROM

_log = getLogger(__name__)
VALID, NOTHING, INVALID, GATE, STOPPED = 0, 1, 3, 4, 130


def keep_results(run: Run, state: str, summary: Summary | None = None, error: str | None = None) -> None:
    """Put the run into its sweep.duckdb, as a sweep of one. Raises MeasureError where the disk refuses."""
    said, whole = (hidden(run.experiment.model_dump(mode="json", exclude_defaults=only_said)) for only_said in (True, False))
    params = {**flat(said), **flat(whole)}  # what was said comes first, since `points` has no room for all
    ended = clock.now_ns()
    why = (error or "stopped by the user") if state == "stopped" else None
    sweep = Sweep(run.campaign.folder.name, run.experiment.name, run.text, run.began_ns, ended, state, why)
    trial = Trial(1, "trials/0001", params, run.began_ns, ended, state, summary, error=error)
    commit(run.campaign.folder, sweep, [trial])


def reported(run: Run, found: Found, outcome: Outcome) -> Ended:
    """Judge what the load left behind, write it down, show it."""
    with run.journal.stage("process"):
        records = read_records(run.campaign.records)
    with run.journal.stage("judge"):
        extra_notes = [*run.plan.counting.notes(found.template_tokens), *_notes(found, outcome, run.experiment.timing.stop.precision)]
        known, samples = _facts(records, run, found, outcome), _first(outcome, "samples")
        summary = summarise(records, known, run.experiment, samples=samples, extra_notes=extra_notes)
    with run.journal.stage("report"):
        if not run.plan.open_loop:
            keep_plan(run, _reached(records))
        written(run, summary)
        run.journal.facts |= {"verdict": summary.verdict.word, "stamps": _stamps(records)}
        if (level := run.experiment.output.level) != "raw":
            run.campaign.drop_spool()
        if level == "summary":
            run.campaign.drop_records()
        keep_results(run, "stopped" if outcome.stopped else "complete", summary)
    _told(summary)
    colour, columns = terminal(sys.stdout)
    run.screen.line(report.final(summary, title=run.experiment.name, folder=str(run.campaign.folder), colour=colour, columns=columns))
    return Ended(_code(summary, outcome), run.campaign.folder, summary)


def _facts(records: pa.Table, run: Run, found: Found, outcome: Outcome) -> RunFacts:
    """What judging needs beside the records."""
    plan, generators = run.plan, outcome.generators
    window = _window(records, plan, [said["window"] for said in generators.values() if said.get("window")])
    extra, due = plan.extra_tokens(found.template_tokens), plan.schedule.run.due_ns
    return RunFacts(
        window=window,
        open_loop=plan.open_loop,
        planned=None if due is None else int((due <= window.end_ns - window.start_ns).sum()),  # where the user stopped, not all
        concurrency=plan.schedule.run.concurrency,
        mean_gap_ns=0 if due is None or len(due) == 0 else int((plan.schedule.run.duration_ns or int(due[-1])) / len(due)),
        template_tokens=extra,
        input_promised=extra is not None,
        output_promised=run.experiment.dataset.output_tokens.exact and found.output_exact is not False,
        streaming=run.experiment.endpoint.streaming,
        clock_step_ns=max((int(said.get("clock_step_ns", 0)) for said in outcome.processors.values()), default=0),
        busiest_second=max((float(said.get("busiest_second", 0)) for said in generators.values()), default=0.0),
        dead_generators=tuple(f"{name} {why}" for name, why in outcome.dead.items()),
        lost_frames=_total(generators, "lost_frames") + len(_damaged(outcome)),
        client_counted=_total(outcome.processors, "client_counted"),
        spool_waits=_total(generators, "spool_waits"),
        stopped_by_user=outcome.stopped,
    )


def _reached(records: pa.Table) -> dict[str, int]:
    """How many places of each phase have a record."""
    warmup = int(pc.sum(pc.greater_equal(records["request"], WARMUP_FROM)).as_py() or 0)
    return {"warmup": warmup, "profiling": records.num_rows - warmup}


def _window(records: pa.Table, plan: Plan, said: list[tuple[int, int]]) -> Window:
    """As the generators say; after a death, from what they left behind."""
    if said:
        return Window(min(start for start, _ in said), max(end for _, end in said))
    run = records.filter(pc.less(records["request"], WARMUP_FROM))
    start = pc.min(pc.coalesce(run["due_ns"], run["started_ns"])).as_py() or clock.now_ns()
    end = pc.max(run["end_ns"]).as_py() or start
    return Window(start, start + plan.schedule.run.duration_ns if plan.schedule.run.duration_ns is not None else end)


def _notes(found: Found, outcome: Outcome, precision: float | None) -> list[str]:
    notes = [f"the server refuses {found.refused}"] if found.refused is not None else []
    if found.output_exact is False:
        notes.append("the server does not keep to min_tokens: lengths of answers are reported, not judged")
    notes += [*sorted(_damaged(outcome)), *_first(outcome, "failures").values()]
    if cut := _total(outcome.processors, "asides_cut"):
        notes.append(f"{cut:,} answers said more than 64 KB besides: the column plugin holds the numbers of it alone")
    if thought := _total(outcome.processors, "think_tags"):
        notes.append(f"{thought:,} answers hold <think> in their content: their time to first output token is that of the reasoning")
    if reopened := _total(outcome.generators, "reopened"):
        notes.append(f"{reopened} pooled connections had been closed by the server before a request reached it, and were opened anew")
    ended = {said["ended_by"] for said in outcome.generators.values() if said.get("ended_by")}
    if precision is not None and not ended and not outcome.stopped:
        notes.append(f"timing.stop.precision={precision:g} was not reached before the plan ended: give it more requests, or more time")
    return notes + [f"ended by a stop rule ({why}): nothing was sent from then on" for why in sorted(ended)]


def _damaged(outcome: Outcome) -> set[str]:
    """What could not be read of the spools; every processor that reads them says the same."""
    return {str(message) for said in outcome.processors.values() for message in said.get("damaged", ())}


def _first(outcome: Outcome, key: str) -> dict[str, str]:
    """What the processors said of each name, the first of them."""
    return {name: text for said in reversed([*outcome.processors.values()]) for name, text in said.get(key, {}).items()}


def _total(said: Mapping[str, Mapping[str, Any]], key: str) -> int:
    return sum(int(one.get(key, 0)) for one in said.values())


def _told(summary: Summary) -> None:
    """The ledger and the verdict, for the log."""
    _log.info("%s: %s; errors %s", summary.verdict.word, dict(summary.counts), dict(summary.errors))
    for reason in summary.verdict.reasons:
        _log.warning("%s: %s", reason.reason, reason.detail)
    for note in summary.verdict.notes:
        _log.info("note: %s", note)


def written(run: Run, summary: Summary) -> None:
    """summary.json, and what `output.formats` asks for; an exporter from outside that fails is told of, and takes nothing with it."""
    summaries.write(summary, run.campaign.trial, name=run.experiment.name)
    for name in run.experiment.output.formats:
        tried(plugins.get_entry("data_exporter", name), partial(_export, run, summary, name), partial(_complain, run))


def _export(run: Run, summary: Summary, kind: str) -> None:
    plugins.get_class("data_exporter", kind)(summary, run.campaign.trial, name=run.experiment.name, records=run.campaign.records)


def _complain(run: Run, why: str) -> None:
    _log.error("%s", why)
    run.screen.line(f"note      {why}")


def _stamps(records: pa.Table) -> Mapping[str, int]:
    counts = records["stamp"].combine_chunks().cast(pa.string()).value_counts().to_pylist()
    return {str(entry["values"]): entry["counts"] for entry in counts if entry["values"] is not None}


def _code(summary: Summary, outcome: Outcome) -> int:
    if outcome.stopped:
        return STOPPED
    if summary.counts.get("good", 0) == 0:
        return NOTHING
    if not summary.verdict.valid:
        return INVALID
    return VALID if summary.gate_met else GATE
