"""One run from a checked experiment to an exit code: plan, load, process, judge, report."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from aiperf import clock
from aiperf.app import GENERATE, GENERATOR, host
from aiperf.app import plan as planning
from aiperf.app.conduct import Conductor, Outcome, interrupts
from aiperf.app.jobs import LoadTask, Render, Target, descriptors, path_of, speaker
from aiperf.app.plan import Plan
from aiperf.app.probe import Found, patience, prepared, probe
from aiperf.app.served import metrics_texts, served
from aiperf.cluster.local import Worker
from aiperf.config.compose import Composed
from aiperf.config.experiment import Experiment
from aiperf.config.secrets import redacted
from aiperf.errors import MeasureError
from aiperf.plugin.plugins import get_class
from aiperf.processing.task import ProcessTask
from aiperf.results import Summary
from aiperf.seams import Job, Screen
from aiperf.store import campaign as store
from aiperf.store.campaign import Campaign
from aiperf.store.parquet import read_records, write_plan
from aiperf.transports.fetch import HttpFetch
from aiperf.transports.origin import request_headers

VALID, NOTHING, INVALID, GATE, STOPPED = 0, 1, 3, 4, 130
_RENDERED = 5
_OWN_FILES = 16
_NICE = 10


@dataclass(slots=True)
class Journal:
    """What the receipt will say: stages with their times and outcome, and facts as they come."""

    facts: dict[str, Any] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage of the run."""
        entry: dict[str, Any] = {"stage": name, "started_at": clock.utc().isoformat(), "outcome": "failed"}
        began = clock.monotonic_ns()
        self.stages.append(entry)
        try:
            yield
            entry["outcome"] = "done"
        finally:
            entry["seconds"] = round((clock.monotonic_ns() - began) / clock.SECOND, 6)


@dataclass(frozen=True, slots=True)
class Run:
    """What all stages of a run need."""

    experiment: Experiment
    name: str
    plan: Plan
    campaign: Campaign
    screen: Screen
    journal: Journal
    hatched: Sequence[Worker]
    cores: host.Cores


def run(composed: Composed, *, arguments: Sequence[str], dry_run: bool, say: Callable[[str], None], hatched: Sequence[Worker] = ()) -> int:
    """Run an experiment and return the exit code; `hatched` workers are used. Raises AiperfError where nothing can be measured."""
    experiment, name, journal = composed.experiment, store.run_name(), Journal()
    screen: Screen = get_class("ui", experiment.ui.type)(say)
    with journal.stage("plan"):
        plan = planning.make(experiment, planning.salt_of(experiment.dataset.salt, name))
        campaign = store.create(experiment.output.dir, experiment.name, name)
        campaign.write("experiment.yaml", composed.text)
    made = Run(experiment, name, plan, campaign, screen, journal, hatched, host.cores(pin=experiment.cluster.pin))
    journal.facts = {
        "schema_version": "1.0", "name": experiment.name, "run": name, "argv": redacted(arguments), "seed": experiment.seed,
        "data_sha256": planning.data_hash(experiment), "choices": dict(composed.choices),
    }  # fmt: skip
    for line in (*composed.notes, *planning.words(experiment, plan), *_too_many(plan)):
        screen.line(line)
    overlooked: tuple[type[MeasureError], ...] = (
        MeasureError,
    )  # of a receipt that cannot be written either: what went wrong first is told
    try:
        code = _dry(made) if dry_run else _measured(made)
        overlooked = ()
    finally:
        with suppress(*overlooked):
            _write_receipt(made)
    return code


def _write_receipt(run: Run) -> None:
    run.campaign.write_json("receipt.json", {**run.journal.facts, **host.facts(), "stages": run.journal.stages})


def _too_many(plan: Plan) -> Iterator[str]:
    """A word on a level that this machine's limit on open files cannot hold."""
    level, limit = plan.schedule.run.concurrency, descriptors()
    if level is not None and limit is not None and level + _OWN_FILES > limit:
        yield f"note      {level:,} in flight need as many open files, the limit is {limit:,}: raise it (ulimit -n), or requests will fail"


def _dry(run: Run) -> int:
    """Write the plan and five rendered requests; send nothing."""
    _write_plan(run, {phase.name: phase.requests or 0 for phase in run.plan.schedule.phases})
    options = run.experiment.endpoint
    target = Target(options, options.url, options.model or "MODEL", path_of(options), run.experiment.dataset.output_tokens.exact)
    render, phase = Render(run.plan.source, speaker(target)), run.plan.schedule.run
    count = min(_RENDERED, run.plan.planned if run.plan.planned is not None else _RENDERED)
    bodies = [render(phase, place).body for place in range(count)]
    run.campaign.write("requests.jsonl", b"".join(body + b"\n" for body in bodies))
    for number, body in enumerate(bodies):
        text = body.decode()
        run.screen.line(f"request {number}  POST {target.path}  {text if len(text) <= 400 else f'{text[:200]} … {text[-180:]}'}")
    run.screen.line(f"nothing was sent; the plan and {count} requests are in {run.campaign.folder}")
    return VALID


def _measured(run: Run) -> int:
    with interrupts() as heard:
        with served(run.experiment.endpoint, run.cores) as urls:
            with run.journal.stage("probe"):
                fetch, target, found = _ready(run, urls)
            before = metrics_texts(urls, fetch)
            heard.patient = True
            with run.journal.stage("load"):
                outcome = _loaded(run, target, found, heard)
                outcome.stopped = heard.count > 0
            after = metrics_texts(urls, fetch)
        for when, texts in (("before", before), ("after", after)):
            for place, text in texts.items():
                run.campaign.write(f"trials/0001/server_metrics/{when}-{place}.txt", text)
        return _reported(run, found, outcome)


def _ready(run: Run, urls: tuple[str, ...]) -> tuple[HttpFetch, Target, Found]:
    options = run.experiment.endpoint
    fetch = HttpFetch({**request_headers(options), "X-Request-ID": f"{run.name}-probe"}, options.ca_path)
    until = patience(options)
    target = prepared(options, urls, exact=run.experiment.dataset.output_tokens.exact, fetch=fetch, until_ns=until)
    target, found = probe(target, run.plan.source, fetch=fetch, until_ns=until)
    run.journal.facts |= {"urls": list(urls), "model": target.model, "probe": found.facts()}
    run.screen.line(f"server    {target.model} at {', '.join(urls)} {found.words()}")
    return fetch, target, found


def _loaded(run: Run, target: Target, found: Found, heard: Any) -> Outcome:
    """Play the plan; records come about while it runs."""
    plan, experiment = run.plan, run.experiment
    if plan.open_loop:
        _write_plan(run)
    spool = run.campaign.spool / f"{GENERATOR}.spool"
    task = LoadTask(target, plan.source, plan.schedule, plan.stop_ns, spool, run.name, round(experiment.timing.spin_us * clock.MICROSECOND))
    generator = Job(GENERATOR, GENERATE, task, cores=run.cores.generator)
    with closing(get_class("cluster", experiment.cluster.type)(run.hatched)) as cluster:
        outcome = Conductor(cluster, run.screen, plan.planned).run([generator], _processors(run, target, found), heard)
    run.journal.facts |= {
        "generators": list(outcome.generators.values()), "processors": list(outcome.processors.values()), "dead": outcome.dead,
    }  # fmt: skip
    lost = {name: why for name, why in outcome.dead.items() if name.startswith("processor")}
    if lost:
        raise MeasureError(f"{'; '.join(f'{name} {why}' for name, why in lost.items())}; the raw bytes are in {run.campaign.spool}")
    return outcome


def _processors(run: Run, target: Target, found: Found) -> list[Job]:
    count = run.experiment.cluster.processors or max(1, run.cores.count - 1)
    spools = (run.campaign.spool / f"{GENERATOR}.spool",)
    return [
        Job(
            f"processor-{shard}",
            "aiperf.processing.processor:process_job",
            ProcessTask(
                spools, run.campaign.records / f"{shard:04d}.parquet", target.options, target.urls, target.model,
                plan=run.campaign.plan if run.plan.open_loop else None, shard=shard, shards=count,
                template_tokens=found.template_tokens or 0,
            ),
            nice=_NICE,
            cores=run.cores.others,
        )
        for shard in range(count)
    ]  # fmt: skip


def _reported(run: Run, found: Found, outcome: Outcome) -> int:
    from aiperf.app import judge  # noqa: PLC0415 - what judges and reports is not imported before the load: launch time
    from aiperf.report import table as report  # noqa: PLC0415 - as above
    from aiperf.store import summary as summaries  # noqa: PLC0415 - as above

    records = _records(run)
    with run.journal.stage("judge"):
        summary = judge.judged(records, experiment=run.experiment, plan=run.plan, found=found, outcome=outcome)
    with run.journal.stage("report"):
        if not run.plan.open_loop:
            _write_plan(run, judge.reached(records))
        summaries.write(summary, run.campaign.trial, name=run.experiment.name)
        run.journal.facts |= {"verdict": summary.verdict.word, "stamps": _stamps(records)}
        _clean(run)
    run.screen.line(report.final(summary, title=run.experiment.name, folder=str(run.campaign.folder), colour=sys.stdout.isatty()))
    return _code(summary, outcome)


def _write_plan(run: Run, reached: dict[str, int] | None = None) -> None:
    write_plan(run.campaign.plan, planning.table(run.plan, run.experiment.seed, reached))


def _records(run: Run) -> pa.Table:
    with run.journal.stage("process"):
        return read_records(run.campaign.records)


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
