"""The bytes that a run will leave on the disk, and whether the disk has them."""

import shutil
from pathlib import Path

from aiperf.app.plan import Plan, conversations
from aiperf.config.experiment import Experiment
from aiperf.errors import ConfigError

_REQUEST_BYTES = 400
_TOKEN_BYTES = 45
"""A request's and a token's share of spool, records and plan together, with a margin: half of either was seen."""
_LINE_BYTES, _LINE_TOKEN_BYTES = 2_000, 40
_UNKNOWN_TOKENS = 512
_MOST_LOOKED_AT = 1_000_000
_SPARE_BYTES = 16 * 1024 * 1024
_THOUSAND = 1000
_UNITS = ("B", "kB", "MB", "GB", "TB")


def expected_bytes(plan: Plan, *, as_lines: bool = False) -> int | None:
    """The most that the run's folder will hold, while spool and records are both there; None where the load alone shows how many come."""
    a_request, a_token = _rates(as_lines=as_lines)
    count = plan.planned
    if count is None:
        return None
    looked = min(count, _MOST_LOOKED_AT)
    outputs = plan.source.lengths(conversations(plan.schedule.run, looked)).output_tokens
    asked = int(outputs.sum(dtype="int64")) + int((outputs == 0).sum()) * _UNKNOWN_TOKENS
    return count * a_request + round(asked * (count / max(1, looked))) * a_token


def _rates(*, as_lines: bool) -> tuple[int, int]:
    """Bytes of a request and of a token; `as_lines`: the records are written as JSON too."""
    return (_REQUEST_BYTES + _LINE_BYTES, _TOKEN_BYTES + _LINE_TOKEN_BYTES) if as_lines else (_REQUEST_BYTES, _TOKEN_BYTES)


def lines(experiment: Experiment, plan: Plan, folder: Path) -> list[str]:
    """A word on the bytes that are expected. Raises ConfigError where the disk has fewer."""
    as_lines = "jsonl" in experiment.output.formats
    needed, free = expected_bytes(plan, as_lines=as_lines), shutil.disk_usage(folder).free
    if needed is None:
        a_request, a_token = _rates(as_lines=as_lines)
        rates = f"{words(1000 * a_request)} for 1,000 requests, {words(1000 * a_token)} for 1,000 tokens of answers"
        return [f"disk      up to {rates}; {words(free)} are free"]
    if needed + _SPARE_BYTES > free:
        raise ConfigError(
            f"output.dir={experiment.output.dir}: up to {words(needed)} are expected of {plan.planned:,} requests, and {words(free)} are "
            "free there; ask for fewer requests or shorter answers, or give a folder on another disk"
        )
    return [f"disk      up to {words(needed)} are expected, {words(free)} are free"]


def words(count: float) -> str:
    """A number of bytes as a person reads it."""
    power = 0
    while count >= _THOUSAND and power < len(_UNITS) - 1:
        count, power = count / _THOUSAND, power + 1
    return f"{count:,.0f} {_UNITS[power]}" if count >= 10 or not power else f"{count:,.1f} {_UNITS[power]}"
