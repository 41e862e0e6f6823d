"""The bytes that a run will leave on the disk, and whether the disk has them."""

import shutil
from pathlib import Path

from aiperf.app.plan import Plan, conversations
from aiperf.config.experiment import Experiment
from aiperf.errors import ConfigError

_RATES, _RATES_AS_LINES = (400, 45), (2_400, 85)
"""A request's and a token's bytes of spool, records and plan together, and of JSON too, with a margin: half of either was seen."""
_UNKNOWN_TOKENS = 512
_MOST_LOOKED_AT = 1_000_000
_SPARE_BYTES = 16 * 1024 * 1024


def expected_bytes(plan: Plan, rates: tuple[int, int] = _RATES) -> int | None:
    """The most that the run's folder will hold, while spool and records are both there; None where the load alone shows how many come."""
    (a_request, a_token), count = rates, plan.planned
    if count is None:
        return None
    looked = min(count, _MOST_LOOKED_AT)
    outputs = plan.source.lengths(conversations(plan.schedule.run, looked)).output_tokens
    asked = int(outputs.sum(dtype="int64")) + int((outputs == 0).sum()) * _UNKNOWN_TOKENS
    return count * a_request + round(asked * (count / max(1, looked))) * a_token


def lines(experiment: Experiment, plan: Plan, folder: Path) -> list[str]:
    """A word on the bytes that are expected. Raises ConfigError where the disk has fewer."""
    rates = _RATES_AS_LINES if "jsonl" in experiment.output.formats else _RATES
    needed, free = expected_bytes(plan, rates), shutil.disk_usage(folder).free
    if needed is None:
        a_request, a_token = (words(1000 * rate) for rate in rates)
        return [f"disk      up to {a_request} for 1,000 requests, {a_token} for 1,000 tokens of answers; {words(free)} are free"]
    if needed + _SPARE_BYTES > free:
        raise ConfigError(
            f"output.dir={experiment.output.dir}: up to {words(needed)} are expected of {plan.planned:,} requests, and {words(free)} are "
            "free there; ask for fewer requests or shorter answers, or give a folder on another disk"
        )
    return [f"disk      up to {words(needed)} are expected, {words(free)} are free"]


def words(count: float) -> str:
    """A number of bytes as a person reads it."""
    power = min(4, (len(f"{count:.0f}") - 1) // 3)
    return f"{count / 1000**power:,.{1 if power and count < 10 * 1000**power else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
