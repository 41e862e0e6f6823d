"""The last stages: what the load left behind becomes numbers, a verdict, files and an exit code. Imported when the load is over."""

import sys
from collections.abc import Mapping
from functools import partial
from logging import getLogger

import pyarrow as pa

from aiperf import clock
from aiperf.app import judge
from aiperf.app.conduct import Outcome
from aiperf.app.probe import Found
from aiperf.app.session import Run, keep_plan
from aiperf.config.secrets import hidden
from aiperf.config.terminal import terminal
from aiperf.metrics.plugged import tried
from aiperf.plugin import plugins
from aiperf.report import table as report
from aiperf.results import Summary
from aiperf.store import summary as summaries
from aiperf.store.aggregate import commit
from aiperf.store.parquet import read_records
from aiperf.store.rows import Sweep, Trial, flat

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


def reported(run: Run, found: Found, outcome: Outcome) -> int:
    """Judge what the load left behind, write it down, show it; the exit code."""
    records = _records(run)
    with run.journal.stage("judge"):
        summary = judge.judged(records, experiment=run.experiment, plan=run.plan, found=found, outcome=outcome)
    with run.journal.stage("report"):
        if not run.plan.open_loop:
            keep_plan(run, judge.reached(records))
        written(run, summary)
        run.journal.facts |= {"verdict": summary.verdict.word, "stamps": _stamps(records)}
        _clean(run)
        keep_results(run, "stopped" if outcome.stopped else "complete", summary)
    _told(summary)
    colour, columns = terminal(sys.stdout)
    folder = str(run.campaign.folder)
    run.screen.line(report.final(summary, title=run.experiment.name, folder=folder, colour=colour, columns=columns))
    return _code(summary, outcome)


def _records(run: Run) -> pa.Table:
    with run.journal.stage("process"):
        return read_records(run.campaign.records)


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


def _clean(run: Run) -> None:
    """Keep what `output.level` asks for."""
    level = run.experiment.output.level
    if level != "raw":
        run.campaign.drop_spool()
    if level == "summary":
        run.campaign.drop_records()


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
