"""The last stages: what the load left behind becomes numbers, a verdict, files and an exit code. Imported when the load is over."""

import sys
from collections.abc import Mapping
from functools import partial
from logging import getLogger

import pyarrow as pa

from aiperf import clock
from aiperf.app import brief as briefs
from aiperf.app.brief import Brief
from aiperf.app.conduct import RUN, Outcome
from aiperf.app.judge import judged
from aiperf.app.session import Ended, Kept, Run, keep_plan
from aiperf.config.secrets import hidden
from aiperf.config.terminal import terminal
from aiperf.metrics.columns import tried
from aiperf.plugin import plugins
from aiperf.report import table as report
from aiperf.results import Summary
from aiperf.store import summary as summaries
from aiperf.store.aggregate import commit
from aiperf.store.parquet import Records
from aiperf.store.rows import Sweep, Trial, flat

_log = getLogger(__name__)
VALID, NOTHING, INVALID, GATE, STOPPED = 0, 1, 3, 4, 130


def keep_results(kept: Kept, outcome: Outcome, summary: Summary | None = None) -> None:
    """Put the run into its sweep.duckdb, as a sweep of one. Raises MeasureError where the disk refuses."""
    said, whole = (hidden(kept.experiment.model_dump(mode="json", exclude_defaults=only_said)) for only_said in (True, False))
    params = {**flat(said), **flat(whole)}  # what was said comes first, since `points` has no room for all
    ended: int = kept.journal.facts.setdefault("ended_ns", clock.now_ns())
    error, state = outcome.dead.get(RUN), outcome.state
    why = (error or "stopped by the user") if outcome.stopped else None
    sweep = Sweep(kept.sweep_id, kept.experiment.name, kept.text, kept.began_ns, ended, state, why)
    trial = Trial(1, "trials/0001", params, kept.began_ns, ended, state, summary, error=error)
    commit(kept.campaign.folder, sweep, [trial])


def reported(run: Run, brief: Brief, outcome: Outcome) -> Ended:
    """Judge what the load left behind, write it down, show it, and drop what is not to be kept."""
    with run.journal.stage("process"):
        records = Records(run.campaign.records)
    if not run.plan.open_loop:
        keep_plan(run, records["request"].to_numpy())
    summary = concluded(run, records, brief, outcome)
    run.journal.facts |= {"verdict": summary.verdict.word, "stamps": _stamps(records), "stopped": outcome.stopped}
    if run.experiment.output.level != "raw":
        run.campaign.drop_spool()
    return shown(run, summary, outcome)


def concluded(kept: Kept, records: pa.Table, brief: Brief, outcome: Outcome) -> Summary:
    """The stages judge and report: what is derived from records, in files and tables."""
    with kept.journal.stage("judge"):
        summary = judged(records, briefs.planned_ns(brief, kept.campaign), brief, kept.experiment, outcome=outcome)
    with kept.journal.stage("report"):
        written(kept, summary)
        if kept.experiment.output.level == "summary":
            kept.campaign.drop_records()
        keep_results(kept, outcome, summary)
    _told(summary)
    return summary


def shown(kept: Kept, summary: Summary, outcome: Outcome) -> Ended:
    """What a person reads at the end, and the exit code."""
    colour, columns = terminal(sys.stdout)
    kept.screen.line(report.final(summary, title=kept.experiment.name, folder=str(kept.campaign.folder), colour=colour, columns=columns))
    return Ended(_code(summary, outcome), kept.campaign.folder, summary)


def _told(summary: Summary) -> None:
    """The ledger and the verdict, for the log."""
    _log.info("%s: %s; errors %s", summary.verdict.word, dict(summary.counts), dict(summary.errors))
    for reason in summary.verdict.reasons:
        _log.warning("%s: %s", reason.reason, reason.detail)
    for note in summary.verdict.notes:
        _log.info("note: %s", note)


def written(run: Kept, summary: Summary) -> None:
    """summary.json, and what `output.formats` asks for; an exporter from outside that fails is told of, and takes nothing with it."""
    summaries.write(summary, run.campaign.trial, name=run.experiment.name)
    for name in run.experiment.output.formats:
        tried(plugins.get_entry("data_exporter", name), partial(_export, run, summary, name), partial(_complain, run))


def _export(run: Kept, summary: Summary, kind: str) -> None:
    plugins.get_class("data_exporter", kind)(summary, run.campaign.trial, name=run.experiment.name, records=run.campaign.records)


def _complain(run: Kept, why: str) -> None:
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
