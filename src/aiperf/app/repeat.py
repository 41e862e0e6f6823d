"""Stages of a run again, from what lies on the disk; and a run again, from its receipt."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from aiperf import __version__, logs
from aiperf.app import brief as briefs
from aiperf.app import host
from aiperf.app import plan as planning
from aiperf.app.brief import Brief
from aiperf.app.conduct import RUN, Conductor, Interrupts, Outcome, interrupts
from aiperf.app.finish import concluded, keep_results, shown, written
from aiperf.app.plan import Gathered
from aiperf.app.session import Ended, Journal, Kept, table
from aiperf.errors import ConfigError, MeasureError
from aiperf.plugin.plugins import make
from aiperf.results import Pulse
from aiperf.store import summary as summaries
from aiperf.store.campaign import SUMS, Campaign
from aiperf.store.parquet import Records, read_plan

_PART, _LATER = "records.part", "trials/0001/processed.json"
"""What processors said that have made the records anew, where that is not what those of the run had said."""
_NO_RECEIPT = "was killed before its end: there is no receipt that says how it fared"


def again(campaign: Campaign, since: str, say: Callable[[str], None]) -> Ended:
    """Repeat the stages from `since` on; what they derive takes the place of what was there.

    Raises ConfigError where what they need is not there, MeasureError where the disk refuses, KeyboardInterrupt that says what is there.
    """
    brief, experiment = briefs.read(campaign)
    text, journal = campaign.read("experiment.yaml"), Journal(campaign.receipt())
    outcome = outcome_of(campaign, journal.facts)
    kept = Kept(experiment, campaign, make("ui", "none", say), journal, text, brief.began_ns, brief.sweep_id)
    with campaign.held(), interrupts() as heard, _last_words(kept, since):
        logs.configure(campaign.log, experiment.log_level)
        shutil.rmtree(campaign.trial / _PART, ignore_errors=True)  # of one that was killed
        if since != "report":
            briefs.planned_ns(brief, campaign)  # a plan that cannot be read is told of before anything is made
        if since == "process":
            with journal.stage("process"):
                _processed(kept, brief, outcome, heard)
        if since == "report":
            with journal.stage("report"):
                _, summary = summaries.read_named(campaign.trial / summaries.JSON_NAME)
                written(kept, summary)
                keep_results(kept, outcome, summary)
        else:
            summary = concluded(kept, Records(campaign.records), brief, outcome)
        campaign.write_sums()
    return shown(kept, summary, outcome)


@contextmanager
def _last_words(kept: Kept, since: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as exc:
        stage, folder = kept.journal.stages[-1]["stage"] if kept.journal.stages else since, kept.campaign.folder
        left = "what was there is as it was" if stage == since != "report" else "each file there is whole, as it was or made anew"
        told = f"{folder}: stopped in the stage {stage}; {left}; to go on: aiperf report {folder} --from {stage}"
        raise KeyboardInterrupt(told) from exc


def outcome_of(campaign: Campaign, receipt: Mapping[str, Any]) -> Outcome:
    """How the workers fared, as the receipt has it; without one the run was killed. Of later processors it is what those said."""
    stopped = bool(receipt.get("stopped"))
    outcome = Outcome(dead={RUN: receipt.get("error", _NO_RECEIPT)}, stopped=stopped)
    if "generators" in receipt:
        generators = {f"generator-{said['generator']}": said for said in receipt["generators"]}
        pulses = {name: msgspec.convert(said, Pulse, str_keys=True) for name, said in receipt.get("pulses", {}).items()}
        outcome = Outcome(generators, _first(receipt), dict(receipt["dead"]), stopped, pulses, receipt.get("restarted", {}))
    if (campaign.folder / _LATER).exists():
        _remade(outcome, json.loads(campaign.read(_LATER)))
    return outcome


def _first(receipt: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What the run's own processors said."""
    return {f"processor-{shard}": said for shard, said in enumerate(receipt.get("processors", ()))}


def _remade(outcome: Outcome, processors: dict[str, Mapping[str, Any]]) -> None:
    """These have made the records, whoever died before."""
    outcome.processors = processors
    outcome.dead = {name: why for name, why in outcome.dead.items() if not name.startswith("processor")}


def cut_short(spools: Sequence[Path], receipt: Mapping[str, Any]) -> dict[str, str]:
    """A line for each spool of which less is there than the run's own processors have read."""
    read = next(iter(_first(receipt).values()), {}).get("read_bytes", ())
    there = [path.stat().st_size if path.exists() else 0 for path in spools]
    return {path.name: f"{path.name}: {now:,} of {then:,} bytes are there" for path, now, then in zip(spools, there, read) if now < then}


def _processed(kept: Kept, brief: Brief, outcome: Outcome, heard: Interrupts) -> None:
    """Make the records anew, beside the old ones, and put them in their place when they are whole."""
    campaign, receipt, part = kept.campaign, kept.journal.facts, kept.campaign.trial / _PART
    paths = briefs.spools(brief, campaign)
    short = cut_short(paths, receipt)
    gone = [path.name for path in paths if not path.exists()]  # of a generator that died early there may be none
    if len(gone) == len(paths) or short.keys() & set(gone):
        hint, level = "; records can be judged anew: --from judge" if campaign.has_records else "", kept.experiment.output.level
        raise ConfigError(f"{campaign.spool}: {', '.join(gone)} not there (output.level={level}; raw keeps them){hint}")
    jobs = briefs.processors(brief, kept.experiment, campaign, nice=0, records=part)
    try:
        with closing(make("cluster", "local")) as cluster:
            found = Conductor(cluster, kept.screen, outcome=Outcome(outcome.generators)).run([], jobs, heard)
        if found.dead:
            raise MeasureError("; ".join(f"{name} {why}" for name, why in found.dead.items()))
        if heard.count:
            raise KeyboardInterrupt
        next(iter(found.processors.values()))["damaged"].extend(short.values())
        heard.patient = True  # what a Ctrl-C would leave of the next lines is neither the old records nor the new
        if found.processors == _first(receipt):
            (campaign.folder / _LATER).unlink(missing_ok=True)
        else:
            campaign.write_json(_LATER, found.processors)
        campaign.drop_records()
        part.rename(campaign.records)
        heard.patient = False
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _remade(outcome, found.processors)


def compared(found: Gathered, campaign: Campaign, *, changed: bool) -> None:
    """See that a run is planned as the one in the folder was; where words have `changed` it, what differs is only said.

    Raises ConfigError with everything in which they differ: version, plugins, data, plan.
    """
    receipt, experiment = campaign.receipt(), found.composed.experiment
    if not receipt:
        raise ConfigError(f"--rerun {campaign.folder}: there is no receipt; the run did not come to its end")
    now = {"aiperf_version": __version__, "data_sha256": planning.data_hash(experiment), "plugins": host.packages(experiment)}
    differ = [f"{key} was {receipt.get(key)!r}, is {is_now!r}" for key, is_now in now.items() if receipt.get(key) != is_now]
    if (campaign.folder / SUMS).exists():
        differ += campaign.differing("experiment.yaml")[1]
    if found.plan.open_loop and not differ and not table(found.plan, experiment.seed).equals(read_plan(campaign.plan)):
        differ = ["the plan is another" if changed else "the plan is another, though version and data are the same: is the tokenizer?"]
    told = [f"--rerun {campaign.folder}: {one}" for one in differ]
    if told and not changed:
        raise ConfigError([*told, f"to play it all the same: aiperf --config-dir {campaign.folder} experiment=experiment"])
    for line in told:
        found.say(line)
