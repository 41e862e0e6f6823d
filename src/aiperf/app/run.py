"""One run from a checked experiment to an exit code: plan, load, process, judge, report."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from logging import getLogger
from typing import Any

from aiperf import clock, logs
from aiperf.app import GENERATE, GENERATOR, host, space, words
from aiperf.app import plan as planning
from aiperf.app.conduct import Conductor, Outcome, interrupts
from aiperf.app.data import enough_memory
from aiperf.app.host import packages
from aiperf.app.jobs import LoadTask, Render, Target, descriptors, dressed, path_of, speaker
from aiperf.app.plan import Gathered, Plan
from aiperf.app.probe import Found, patience, prepared, probe
from aiperf.app.served import METRICS_S, Servers, metrics_texts, served
from aiperf.app.session import Ended, Journal, Run, keep_plan
from aiperf.app.stopping import Until, stop_rule
from aiperf.cluster.local import Worker
from aiperf.config.endpoint import Endpoint
from aiperf.config.secrets import redacted
from aiperf.errors import AiperfError, ClientError, ConfigError, MeasureError
from aiperf.plugin.plugins import make
from aiperf.processing.task import ProcessTask
from aiperf.results import Outlook
from aiperf.seams import Fetch, Job
from aiperf.store import campaign as store
from aiperf.transports.origin import request_headers
from aiperf.workload import Phase

_log = getLogger(__name__)
_RENDERED = 5
_OWN_FILES = 16
_NICE = 10
_HURRY_S = 0.5
"""How long a server is asked for its metrics when the user waits for the report."""


def run(
    found: Gathered,
    *,
    arguments: Sequence[str],
    dry_run: bool = False,
    hatched: Sequence[Worker] = (),
    verbose: int = 0,
    until: Until | None = None,
) -> Ended:
    """Run an experiment whose data are `found`; `hatched` workers are used, and `until` may end the load before the plan does.

    Raises AiperfError where nothing can be measured.
    """
    composed, name, journal = found.composed, found.name, Journal()
    experiment = composed.experiment
    screen = make("ui", experiment.ui.type, found.say, options=experiment.ui.options)
    plan = found.plan
    with journal.stage("plan", since_ns=found.began_ns):
        campaign = store.create(experiment.output.dir, experiment.name, name)
        campaign.write("experiment.yaml", composed.text)
    logs.configure(campaign.log, experiment.log_level, verbose=verbose)
    made = Run(
        experiment, name, plan, campaign, screen, journal, hatched, host.cores(pin=experiment.cluster.pin), composed.text, found.began_ns
    )
    journal.facts = {
        "schema_version": "1.0", "name": experiment.name, "run": name, "argv": redacted(arguments), "seed": experiment.seed,
        "data_sha256": planning.data_hash(experiment), "choices": dict(composed.choices), "plugins": packages(experiment),
    }  # fmt: skip
    lines = (*composed.notes, *words.lines(experiment, plan), *_too_many(plan), *_room(made))
    with _last_words(made), enough_memory(experiment.dataset.path):
        for line in lines:
            _log.debug("%s", line)
            screen.line(line)
        return _dry(made) if dry_run else _measured(made, until)


@contextmanager
def _last_words(run: Run) -> Iterator[None]:
    """However a run ends, its folder says how."""
    try:
        yield
    except AiperfError as exc:
        _log.error("%s", exc)
        _give_up(run, "failed", str(exc))
        raise
    except KeyboardInterrupt:
        run.screen.line(f"stopped before its results: what there is lies in {run.campaign.folder}")
        _give_up(run, "stopped", "stopped by the user")
        raise
    except BrokenPipeError:
        _give_up(run, "stopped", "who read standard output closed it")
        raise
    finally:
        _write_receipt(run)
        logs.close()


def _give_up(run: Run, state: str, error: str) -> None:
    """Leave word of a run without results; where even that cannot be written, what went wrong first is told."""
    from aiperf.app.finish import keep_results  # noqa: PLC0415 - not before the load: launch time

    run.journal.facts["error"] = error
    with suppress(MeasureError):
        keep_results(run, state, error=error)


def _room(run: Run) -> list[str]:
    """A word on the disk; where it has no room the folder that was just made is taken back. Raises ConfigError."""
    try:
        return space.lines(run.experiment, run.plan, run.campaign.folder)
    except ConfigError:
        run.campaign.remove()
        raise


def _write_receipt(run: Run) -> None:
    """The receipt, whatever became of the run; a disk that refuses it is told of, unless something else went wrong first."""
    with suppress(*((MeasureError,) if "error" in run.journal.facts else ())):
        run.campaign.write_json(
            "receipt.json", {**run.journal.facts, **host.facts(), "stages": run.journal.stages, "log_lines_dropped": logs.dropped()}
        )


def _too_many(plan: Plan) -> Iterator[str]:
    """A word on a level that this machine's limit on open files cannot hold."""
    level, limit = plan.schedule.run.concurrency, descriptors()
    if level is not None and limit is not None and level + _OWN_FILES > limit:
        yield f"note      {level:,} in flight need as many open files, the limit is {limit:,}: raise it (ulimit -n), or requests will fail"


def _dry(run: Run) -> Ended:
    """Write the plan and five rendered requests; send nothing."""
    keep_plan(run, {phase.name: phase.requests or 0 for phase in run.plan.schedule.phases})
    options = run.experiment.endpoint
    target = Target(options, options.url, options.model or "MODEL", path_of(options), run.experiment.dataset.output_tokens.exact)
    render, phase = Render(run.plan.source, speaker(target)), run.plan.schedule.run
    count = min(_RENDERED, run.plan.planned if run.plan.planned is not None else _RENDERED)
    made = [render(phase, place) for place in range(count)]
    if refused := [one.refused for one in made if one.refused is not None]:
        raise ClientError(f"{len(refused)} of {count} requests cannot be made, such as: {refused[0]}")
    bodies = [one.body for one in made]
    run.campaign.write("requests.jsonl", b"".join(body + b"\n" for body in bodies))
    for number, body in enumerate(bodies):
        text = body.decode()
        run.screen.line(f"request {number}  POST {target.path}  {text if len(text) <= 400 else f'{text[:200]} … {text[-180:]}'}")
    run.screen.line(f"nothing was sent; the plan and {count} requests are in {run.campaign.folder}")
    return Ended(0, run.campaign.folder)


def _measured(run: Run, until: Until | None) -> Ended:
    with interrupts() as heard:
        with served(run.experiment.endpoint, run.cores, run.screen.line) as servers:
            with run.journal.stage("probe"):
                fetch, target, found = _ready(run, servers)
            before = metrics_texts(servers.urls, fetch)
            heard.listen(patient=True)
            with run.journal.stage("load"):
                outcome = _loaded(run, target, heard, servers=servers, until=until)
                outcome.stopped = heard.count > 0
            after = metrics_texts(servers.urls, fetch, within_s=_HURRY_S if outcome.stopped else METRICS_S)
        for when, texts in (("before", before), ("after", after)):
            for place, text in texts.items():
                run.campaign.write(f"trials/0001/server_metrics/{when}-{place}.txt", text)
        from aiperf.app.finish import reported  # noqa: PLC0415 - what judges and reports is not imported before the load: launch time

        return reported(run, found, outcome)


def _ready(run: Run, servers: Servers) -> tuple[Fetch, Target, Found]:
    options, urls = run.experiment.endpoint, servers.urls

    def fetching(worn: Endpoint) -> Fetch:
        return servers.fetch({**request_headers(worn), "X-Request-ID": f"{run.name}-probe"}, worn.ca_path)

    memory = servers.memory
    wait, exact = patience(options, None if memory is None else memory.loop), run.experiment.dataset.output_tokens.exact
    target = dressed(prepared(options, urls, exact=exact, fetch=fetching(options), wait=wait))
    fetch = fetching(target.worn or options)
    target, found = probe(target, run.plan.wording, fetch=fetch, wait=wait, source=run.plan.source)
    run.journal.facts |= {"urls": list(urls), "model": target.model, "probe": found.facts()}
    _log.info("server %s", found)
    run.screen.line(f"server    {target.model} at {', '.join(dict.fromkeys(urls))} {found.words()}")
    return fetch, target, found


def _loaded(run: Run, target: Target, heard: Any, *, servers: Servers, until: Until | None) -> Outcome:
    """Play the plan; records come about while it runs."""
    plan, experiment = run.plan, run.experiment
    if plan.open_loop:
        keep_plan(run)
    spool = run.campaign.spool / f"{GENERATOR}.spool"
    spin_ns = round(experiment.timing.spin_us * clock.MICROSECOND)
    task = LoadTask(target, plan.source, plan.schedule, plan.stop_ns, spool, run.name, spin_ns, memory=servers.memory)
    generator = Job(GENERATOR, GENERATE, task, cores=run.cores.generator, log=(run.campaign.log, experiment.log_level))
    made = make("cluster", experiment.cluster.type, run.hatched, options=experiment.cluster.options)
    with closing(made) as cluster, run.screen.showing(_outlook(plan)):
        outcome = Conductor(cluster, run.screen, stop=stop_rule(experiment, until)).run([generator], _processors(run, target), heard)
    run.journal.facts |= {
        "generators": list(outcome.generators.values()), "processors": list(outcome.processors.values()), "dead": outcome.dead,
    }  # fmt: skip
    lost = {name: why for name, why in outcome.dead.items() if name.startswith("processor")}
    if lost:
        raise MeasureError(f"{'; '.join(f'{name} {why}' for name, why in lost.items())}; the raw bytes are in {run.campaign.spool}")
    return outcome


def _outlook(plan: Plan) -> Outlook:
    """What the screen may know beforehand."""
    run = plan.schedule.run
    phases = {
        phase.name: (_requests(phase), None if phase.duration_ns is None else phase.duration_ns / clock.SECOND)
        for phase in plan.schedule.phases
    }
    rate = len(run.due_ns) / (run.duration_ns / clock.SECOND) if run.due_ns is not None and run.duration_ns else None
    return Outlook(phases, rate, run.concurrency)


def _requests(phase: Phase) -> int | None:
    return phase.requests if phase.due_ns is None else len(phase.due_ns)


def _processors(run: Run, target: Target) -> list[Job]:
    count = run.experiment.cluster.processors or max(1, run.cores.count - 1)
    spools = (run.campaign.spool / f"{GENERATOR}.spool",)
    return [
        Job(
            f"processor-{shard}",
            "aiperf.processing.processor:process_job",
            ProcessTask(
                spools, run.campaign.records / f"{shard:04d}.parquet", target.options, target.urls, target.model,
                plan=run.campaign.plan if run.plan.open_loop else None, shard=shard, shards=count,
                tokenizer=run.experiment.tokenizer,
            ),
            nice=_NICE,
            cores=run.cores.others,
            log=(run.campaign.log, run.experiment.log_level),
        )
        for shard in range(count)
    ]  # fmt: skip
