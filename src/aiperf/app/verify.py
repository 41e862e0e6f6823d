"""Whether a campaign's folder is what it was and agrees with itself: sums, schemas, frames, plan against records, the summary anew."""

import json
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from aiperf import __version__
from aiperf.app import brief as briefs
from aiperf.app.judge import TORN, judged
from aiperf.app.repeat import cut_short, outcome_of
from aiperf.errors import AiperfError
from aiperf.finite import scrub_non_finite
from aiperf.spool import SpoolReader
from aiperf.store import joined
from aiperf.store import summary as summaries
from aiperf.store.campaign import Campaign, NewerSchemaError
from aiperf.store.parquet import Records, read_plan

_MOST = 5


class Check(NamedTuple):
    """One thing that was looked at, and what was seen; `wrong` is empty where all is well."""

    name: str
    seen: str
    wrong: tuple[str, ...] = ()


class _Folder:
    """A campaign's folder, of which what several checks ask for is read once."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign, self.receipt, self.load = campaign, cache(campaign.receipt), cache(partial(briefs.read, campaign))
        self.summary = cache(partial(summaries.read_named, campaign.trial / summaries.JSON_NAME))
        self.outcome = cache(lambda: outcome_of(campaign, self.receipt()))


def verified(campaign: Campaign) -> Iterator[Check]:
    """Every check in turn; one that cannot be made is wrong, and says why. Raises NewerSchemaError for a newer schema."""
    folder, told = _Folder(campaign), set[str]()
    for name, look in _LOOKS.items():
        try:
            seen, wrong = look(folder)
        except NewerSchemaError:
            raise
        except AiperfError as exc:
            why = str(exc).replace("\n", "; ")
            seen, wrong = "", ["cannot be looked at, for the reason above" if why in told else why]
            told.add(why)
        if seen or wrong:
            yield Check(name, seen, tuple(wrong))


def _version(folder: _Folder) -> tuple[str, list[str]]:
    then = folder.receipt().get("aiperf_version", "of an unknown version (there is no receipt)")
    other = f"; this is {__version__}, by which values that are computed again may differ" if then != __version__ else ""
    return f"measured by aiperf {then}{other}", []


def _sums(folder: _Folder) -> tuple[str, list[str]]:
    count, wrong = folder.campaign.differing()
    return f"{count} files are what they were", wrong


def _schema(folder: _Folder) -> tuple[str, list[str]]:
    folder.load()
    return f"of {folder.summary()[0]} every file is of this version's layout", []


def _frames(folder: _Folder) -> tuple[str, list[str]]:
    """Every frame of the raw bytes, where they were kept."""
    (brief, experiment), frames = folder.load(), 0
    paths = briefs.spools(brief, folder.campaign)
    wrong = list(cut_short(paths, folder.receipt()).values()) if experiment.output.level == "raw" else []
    for path in filter(Path.exists, paths):
        reader = SpoolReader(path)
        try:
            frames += sum(1 for _ in reader.frames())
            wrong += [TORN.format(path.name, reader.torn(), reader.offset)] if reader.torn() else []
        except AiperfError as exc:
            wrong.append(str(exc))
    return f"{frames:,} frames of raw bytes are whole" if frames else "", wrong


def _plan(folder: _Folder) -> tuple[str, list[str]]:
    campaign = folder.campaign
    is_none = not campaign.plan.exists() and not folder.load()[0].open_loop  # of a closed loop that was killed
    if is_none or not campaign.has_records:
        return "", []
    plan, there = read_plan(campaign.plan), Records(campaign.records)["request"].to_numpy()
    cut_ns = folder.outcome().cut_ns
    due = plan if cut_ns is None else plan.filter(pc.less_equal(plan["due_ns"], cut_ns))  # what would have come later is no part of it
    planned, (numbers, times) = due["request"].to_numpy(), np.unique(there, return_counts=True)
    odd = {
        "planned requests have no record": np.setdiff1d(planned, numbers),
        "records are of no planned request": np.setdiff1d(numbers, plan["request"].to_numpy()),
        "requests have several records": numbers[times > 1],
    }
    wrong = [f"{len(found):,} {what}, such as {', '.join(map(str, found[:_MOST]))}" for what, found in odd.items() if len(found)]
    return f"each of {len(planned):,} planned requests has its record", wrong


def _summary(folder: _Folder) -> tuple[str, list[str]]:
    """The summary once more from the records, and the tables of sweep.duckdb."""
    campaign, (name, found) = folder.campaign, folder.summary()
    wrong = _other_values(campaign, {(one.metric, stat): value for one in found.metrics for stat, value in one.stats.items()})
    if not campaign.has_records:
        return "the tables hold the summary's values", wrong
    brief, experiment = folder.load()
    due = briefs.planned_ns(brief, campaign)
    anew = summaries.as_dict(judged(Records(campaign.records), due, brief, experiment, outcome=folder.outcome()), name=name)
    anew, then = json.loads(json.dumps(scrub_non_finite(anew))), json.loads(campaign.read(f"trials/0001/{summaries.JSON_NAME}"))
    wrong += [f"{key} comes out otherwise when it is computed again" for key in {*anew, *then} if anew.get(key) != then.get(key)]
    return "computed again it is the same, and the tables hold its values", sorted(wrong)


def _other_values(campaign: Campaign, values: dict[tuple[str, str], float | None]) -> list[str]:
    said = "SELECT metric, stat, value FROM metrics"
    with joined.asked(said, [joined.Source("it", campaign.folder)]) as answer:
        rows = {(metric, stat): value for batch in answer.batches for metric, stat, value in zip(*(column.to_pylist() for column in batch))}
    odd = [f"{metric}.{stat}" for (metric, stat), value in values.items() if rows.get((metric, stat)) != scrub_non_finite(value)]
    return [f"{len(odd)} values of the tables are not the summary's, such as {', '.join(odd[:_MOST])}"] if odd else []


_LOOKS = {"version": _version, "schema": _schema, "sums": _sums, "frames": _frames, "plan": _plan, "summary": _summary}
