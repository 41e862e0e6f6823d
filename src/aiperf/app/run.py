"""One run from a checked experiment to an exit code: plan, load, process, judge, report."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from logging import getLogger
from pathlib import Path
from typing import Any

import msgspec

from aiperf import clock, logs
from aiperf.app import GENERATE, host, words
from aiperf.app import plan as planning
from aiperf.app.brief import Brief, brief_of, processors, spools, write
from aiperf.app.conduct import RUN, Conductor, Outcome, Until, interrupts, stop_rule
from aiperf.app.data import enough_memory
from aiperf.app.host import packages
from aiperf.app.jobs import LoadTask, Render, Target, descriptors, dressed, path_of, speaker
from aiperf.app.plan import Gathered, Plan, gathered, requests_of
from aiperf.app.probe import Found, patience, prepared, probe
from aiperf.app.served import METRICS_S, Servers, metrics_texts, served
from aiperf.app.session import Ended, Journal, Run, keep_plan
from aiperf.cluster.local import Worker
from aiperf.config.compose import load
from aiperf.config.endpoint import Endpoint
from aiperf.config.secrets import redacted
from aiperf.errors import AiperfError, ClientError, ConfigError, MeasureError
from aiperf.plugin.plugins import make
from aiperf.results import Outlook
from aiperf.seams import Fetch, Job
from aiperf.store import campaign as store
from aiperf.transports.origin import request_headers
from aiperf.workload import Share

_log = getLogger(__name__)
_RENDERED, _OWN_FILES = 5, 16
_HURRY_S = 0.5
"""How long a server is asked for its metrics when the user waits for the report."""


def run(
    found: Gathered, *, arguments: Sequence[str], dry_run: bool = False, hatched: Sequence[Worker] = (), verbose: int = 0,
    until: Until | None = None,
) -> Ended:  # fmt: skip
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
    cores = host.cores(pin=experiment.cluster.pin, generators=experiment.cluster.generators)
    made = Run(experiment, campaign, screen, journal, composed.text, found.began_ns, campaign.folder.name, name, plan, hatched, cores)
    journal.facts = {
        "schema_version": store.RECEIPT_VERSION, "name": experiment.name, "run": name, "seed": experiment.seed,
        "argv": list(map(redacted, arguments)), "choices": dict(composed.choices), "data_sha256": planning.data_hash(experiment),
        "plugins": packages(experiment),
    }  # fmt: skip
    lines = (*composed.notes, *words.lines(experiment, plan), *_too_many(made), *_room(made))
    with campaign.held(), _last_words(made), enough_memory(experiment.dataset.path):
        for line in lines:
            _log.debug("%s", line)
            screen.line(line)
        return _dry(made) if dry_run else _measured(made, until)


def evaluator(words: Sequence[str], *, config_dirs: Sequence[Path] = (), say: Callable[[str], None]) -> Callable[..., Ended]:
    """The experiment of these words (`group=choice`, `key=value`) as a function of a point; a run a call.

    `evaluate(point, until=None)`: `point` holds values by key, `until` ends the load early by the pulses it is shown. It
    raises ConfigError where the words or the point are wrong, MeasureError where nothing could be measured.
    """

    def evaluate(point: Mapping[str, Any], until: Until | None = None) -> Ended:
        given = [*words, *(f"{key}={json.dumps(value)}" for key, value in point.items())]
        return run(gathered(load(given, config_dirs=config_dirs), say), arguments=given, until=until)

    return evaluate


@contextmanager
def _last_words(run: Run) -> Iterator[None]:
    """However a run ends, its folder says how."""
    try:
        yield
    except AiperfError as exc:
        _log.error("%s", exc)
        _give_up(run, str(exc), stopped=False)
        raise
    except KeyboardInterrupt:
        run.screen.line(f"stopped before its results: what there is lies in {run.campaign.folder}")
        _give_up(run, "stopped by the user", stopped=True)
        raise
    except BrokenPipeError:
        _give_up(run, "who read standard output closed it", stopped=True)
        raise
    finally:
        _write_receipt(run)
        logs.close()


def _give_up(run: Run, error: str, *, stopped: bool) -> None:
    """Leave word of a run without results; where even that cannot be written, what went wrong first is told."""
    from aiperf.app.finish import keep_results  # noqa: PLC0415 - not before the load: launch time

    run.journal.facts = {"stopped": stopped, **run.journal.facts, "error": error}
    with suppress(MeasureError):
        keep_results(run, Outcome(dead={RUN: error}, stopped=stopped))


def _room(run: Run) -> list[str]:
    """A word on the disk; where it has no room the folder that was just made is taken back. Raises ConfigError."""
    try:
        return words.room(run.experiment, run.plan, run.campaign.folder)
    except ConfigError:
        run.campaign.remove()
        raise


def _write_receipt(run: Run) -> None:
    """The receipt, whatever became of the run; a disk that refuses it is told of, unless something else went wrong first."""
    with suppress(*((MeasureError,) if "error" in run.journal.facts else ())):
        run.campaign.write_json(
            store.RECEIPT, {**run.journal.facts, **host.facts(), "stages": run.journal.stages, "log_lines_dropped": logs.dropped()}
        )
        run.campaign.write_sums()


def _too_many(run: Run) -> Iterator[str]:
    """A word on a level that this machine's limit on a process's open files cannot hold."""
    level, limit, count = run.plan.schedule.run.concurrency, descriptors(), run.experiment.cluster.generators
    if level is not None and limit is not None and (most := len(Share(generators=count).slots(level))) + _OWN_FILES > limit:
        yield f"note      {most:,} in flight need as many open files, the limit is {limit:,}: raise it (ulimit -n), or requests will fail"


def _dry(run: Run) -> Ended:
    """Write the plan and five rendered requests; send nothing."""
    keep_plan(run)
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
                brief = brief_of(run, target, found)
                write(brief, run.experiment, run.campaign)
                outcome = _loaded(run, brief, target, heard, servers=servers, until=until)
                outcome.stopped = heard.count > 0
            after = metrics_texts(servers.urls, fetch, within_s=_HURRY_S if outcome.stopped else METRICS_S)
        for when, texts in (("before", before), ("after", after)):
            for place, text in texts.items():
                run.campaign.write(f"trials/0001/server_metrics/{when}-{place}.txt", text)
        from aiperf.app.finish import reported  # noqa: PLC0415 - what judges and reports is not imported before the load: launch time

        return reported(run, brief, outcome)


def _ready(run: Run, servers: Servers) -> tuple[Fetch, Target, Found]:
    options, urls = run.experiment.endpoint, servers.urls

    def fetching(worn: Endpoint) -> Fetch:
        return servers.fetch({**request_headers(worn), "X-Request-ID": f"{run.name}-probe"}, worn.ca_path)

    memory = servers.memory
    wait, exact = patience(options, None if memory is None else memory.loop), run.experiment.dataset.output_tokens.exact
    target = dressed(prepared(options, urls, exact=exact, fetch=fetching(options), wait=wait))
    fetch = fetching(target.worn or options)
    target, found = probe(target, run.plan.wording, fetch=fetch, wait=wait, source=run.plan.source)
    run.journal.facts |= {"urls": list(urls), "model": target.model, "probe": asdict(found)}
    _log.info("server %s", found)
    run.screen.line(f"server    {target.model} at {', '.join(dict.fromkeys(urls))} {found.words()}")
    return fetch, target, found


def _loaded(run: Run, brief: Brief, target: Target, heard: Any, *, servers: Servers, until: Until | None) -> Outcome:
    """Play the plan; records come about while it runs."""
    plan, experiment = run.plan, run.experiment
    if plan.open_loop:
        keep_plan(run)
    tasks = _tasks(run, target, spools(brief, run.campaign), servers)
    log = (run.campaign.log, experiment.log_level)
    generators = [Job(task.spool.stem, GENERATE, task, cores=cores, log=log) for task, cores in zip(tasks, run.cores.generators)]
    made = make("cluster", experiment.cluster.type, run.hatched, options=experiment.cluster.options)
    jobs = processors(brief, experiment, run.campaign, cores=run.cores.others)
    with closing(made) as cluster, run.screen.showing(_outlook(plan)):
        outcome = Conductor(cluster, run.screen, stop=stop_rule(experiment, until)).run(generators, jobs, heard)
    run.journal.facts |= {
        "generators": sorted(outcome.generators.values(), key=lambda said: int(said["generator"])), "dead": outcome.dead,
        "processors": [outcome.processors.get(job.name, {}) for job in jobs],
        "pulses": {name: msgspec.to_builtins(pulse) for name, pulse in outcome.pulses.items() if name in outcome.dead},
        "restarted": outcome.restarted,
    }  # fmt: skip
    lost = {name: why for name, why in outcome.dead.items() if name.startswith("processor")}
    if lost:
        raise MeasureError(f"{'; '.join(f'{name} {why}' for name, why in lost.items())}; the raw bytes are in {run.campaign.spool}")
    return outcome


def _tasks(run: Run, target: Target, files: Sequence[Path], servers: Servers) -> list[LoadTask]:
    """What each generator is asked to do: its share of the plan, into a spool of its own."""
    plan, spin_ns, count = run.plan, round(run.experiment.timing.spin_us * clock.MICROSECOND), len(files)
    shares = [Share(number, count, plan.schedule.run.concurrency) for number in range(count)]
    common = (target, plan.source, plan.schedule, plan.stop_ns)
    return [LoadTask(*common, file, run.name, spin_ns, share, servers.memory) for share, file in zip(shares, files)]


def _outlook(plan: Plan) -> Outlook:
    """What the screen may know beforehand."""
    run = plan.schedule.run
    phases = {
        phase.name: (requests_of(phase), None if phase.duration_ns is None else phase.duration_ns / clock.SECOND)
        for phase in plan.schedule.phases
    }
    rate = len(run.due_ns) / (run.duration_ns / clock.SECOND) if run.due_ns is not None and run.duration_ns else None
    return Outlook(phases, rate, run.concurrency)
