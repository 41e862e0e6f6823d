"""Whether a campaign's folder is what it was and agrees with itself: sums, schemas, frames, plan against records, the summary anew."""

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from aiperf.app import brief as briefs
from aiperf.app.judge import judged
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


def verified(campaign: Campaign) -> Iterator[Check]:
    """Every check in turn; one that cannot be made is wrong, and says why. Raises NewerSchemaError for a newer schema."""
    for name, look in _LOOKS.items():
        try:
            seen, wrong = look(campaign)
        except NewerSchemaError:
            raise
        except AiperfError as exc:
            seen, wrong = "", [str(exc).replace("\n", "; ")]
        if seen or wrong:
            yield Check(name, seen, tuple(wrong))


def _sums(campaign: Campaign) -> tuple[str, list[str]]:
    count, wrong = campaign.differing()
    return f"{count} files are what they were", wrong


def _schema(campaign: Campaign) -> tuple[str, list[str]]:
    campaign.receipt()
    briefs.read(campaign)
    name, _ = summaries.read_named(campaign.trial / summaries.JSON_NAME)
    return f"of {name} every file is of this version's layout", []


def _frames(campaign: Campaign) -> tuple[str, list[str]]:
    """Every frame of the raw bytes, where they were kept."""
    frames, wrong = 0, list(cut_short(campaign).values()) if briefs.read(campaign)[1].output.level == "raw" else []
    for path in sorted(campaign.spool.glob("*.spool")):
        reader = SpoolReader(path)
        try:
            frames += sum(1 for _ in reader.frames())
            wrong += [f"{path.name}: {reader.torn():,} bytes from byte {reader.offset} on are no whole frame"] if reader.torn() else []
        except AiperfError as exc:
            wrong.append(str(exc))
    return f"{frames:,} frames of raw bytes are whole" if frames else "", wrong


def _plan(campaign: Campaign) -> tuple[str, list[str]]:
    is_none = not campaign.plan.exists() and not briefs.read(campaign)[0].open_loop  # of a closed loop that was killed
    if is_none or not campaign.has_records:
        return "", []
    plan, there = read_plan(campaign.plan), Records(campaign.records)["request"].to_numpy()
    cut_ns = outcome_of(campaign).cut_ns
    due = plan if cut_ns is None else plan.filter(pc.less_equal(plan["due_ns"], cut_ns))  # what would have come later is no part of it
    planned, (numbers, times) = due["request"].to_numpy(), np.unique(there, return_counts=True)
    odd = {
        "planned requests have no record": np.setdiff1d(planned, numbers),
        "records are of no planned request": np.setdiff1d(numbers, plan["request"].to_numpy()),
        "requests have several records": numbers[times > 1],
    }
    wrong = [f"{len(found):,} {what}, such as {', '.join(map(str, found[:_MOST]))}" for what, found in odd.items() if len(found)]
    return f"each of {len(planned):,} planned requests has its record", wrong


def _summary(campaign: Campaign) -> tuple[str, list[str]]:
    """The summary once more from the records, and the tables of sweep.duckdb."""
    path = campaign.trial / summaries.JSON_NAME
    name, found = summaries.read_named(path)
    wrong = _other_values(campaign, {(one.metric, stat): value for one in found.metrics for stat, value in one.stats.items()})
    if not campaign.has_records:
        return "the tables hold the summary's values", wrong
    brief, experiment = briefs.read(campaign)
    due, outcome = briefs.planned_ns(brief, campaign), outcome_of(campaign)
    anew = summaries.as_dict(judged(Records(campaign.records), due, brief, experiment, outcome=outcome), name=name)
    anew, then = json.loads(json.dumps(scrub_non_finite(anew))), json.loads(path.read_text(encoding="utf-8"))
    wrong += [f"{key} comes out otherwise when it is computed again" for key in {*anew, *then} if anew.get(key) != then.get(key)]
    return "computed again it is the same, and the tables hold its values", sorted(wrong)


def _other_values(campaign: Campaign, values: dict[tuple[str, str], float | None]) -> list[str]:
    said = "SELECT metric, stat, value FROM metrics"
    with joined.asked(said, [joined.Source("it", campaign.folder)]) as answer:
        rows = {(metric, stat): value for batch in answer.batches for metric, stat, value in zip(*(column.to_pylist() for column in batch))}
    odd = [f"{metric}.{stat}" for (metric, stat), value in values.items() if rows.get((metric, stat)) != scrub_non_finite(value)]
    return [f"{len(odd)} values of the tables are not the summary's, such as {', '.join(odd[:_MOST])}"] if odd else []


_LOOKS: dict[str, Callable[[Campaign], tuple[str, list[str]]]] = {
    "schema": _schema, "sums": _sums, "frames": _frames, "plan": _plan, "summary": _summary,
}  # fmt: skip
