"""What will be answered to a request for tokens, whichever API it came by, or why it cannot be had. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np

from aiperf.config.simulator import Simulator
from aiperf.simulator.draws import Fault

Api = Literal["chat", "completions"]

_MOST = 1_000_000
_SHORT = 2_000
_SPACES = np.isin(np.arange(256), [*range(9, 14), *range(28, 33)])
_HALVED = frozenset({"error_event", "error_named", "truncated", "malformed", "reset_mid", "stall"})
_WHOLE = frozenset({None, "slow_headers", "close_after", "close_idle"})

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a body raises that is no JSON or another shape, no UTF-8, or nested too deep."""

Count = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]


class StreamOptions(msgspec.Struct):
    """What else a stream is to hold."""

    include_usage: bool | None = False


class Wanted(msgspec.Struct, kw_only=True):
    """What every body says, as far as it matters here; keys that do not are passed over."""

    model: str
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    min_tokens: Annotated[int, msgspec.Meta(ge=0, le=_MOST)] | None = None
    ignore_eos: bool | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=1)] | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error, known before any token."""

    status: int
    message: str
    kind: str = "BadRequestError"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be answered, and how it will end. `tokens` and `reasoning` are those of each choice, before a fault."""

    api: Api
    prompt_tokens: int
    tokens: int
    reasoning: int
    limited: bool
    streamed: bool
    usage: bool
    choices: int
    fault: Fault | None

    @property
    def brought_forth(self) -> int:
        """The tokens of each choice that come out before it ends: half of them (at least 1) if it is cut, 1 if it fails at the first."""
        if self.fault in _WHOLE:
            return self.tokens
        return max(1, self.tokens // 2) if self.fault in _HALVED else 1


def planned(
    wanted: Wanted, options: Simulator, *, api: Api, limit: int | None, prompts: Sequence[int], fault: Fault | None
) -> Plan | Refusal:
    """The plan for a body that could be read: `limit` is the greatest length of an answer, `prompts` the tokens of each prompt."""
    if wanted.model != options.model:
        return Refusal(404, f"the model {wanted.model!r} does not exist; there is {options.model!r}", "NotFoundError")
    least = wanted.min_tokens or 0
    if limit is not None and least > limit:
        return Refusal(400, f"min_tokens={least} is more than max_tokens={limit}")
    tokens = limit or max(options.tokens, least)
    streamed = bool(wanted.stream)
    asked = not streamed or (wanted.stream_options is not None and bool(wanted.stream_options.include_usage))
    return Plan(
        api=api,
        prompt_tokens=sum(prompts),
        tokens=tokens,
        reasoning=round(options.reasoning * tokens) if api == "chat" else 0,
        limited=limit is not None,
        streamed=streamed,
        usage=options.usage and asked,
        choices=len(prompts),
        fault=fault,
    )


def word_count(text: str) -> int:
    """`len(text.split())`, at a fiftieth of the cost for long ASCII."""
    if len(text) < _SHORT or not text.isascii():
        return len(text.split())
    spaces = _SPACES[np.frombuffer(text.encode("ascii"), np.uint8)]
    return int(np.count_nonzero(spaces[:-1] & ~spaces[1:])) + (not spaces[0])


def words_in(texts: Iterable[str]) -> int:
    """Words of all texts, each by itself."""
    return sum(map(word_count, texts))


def unreadable(why: Exception) -> Refusal:
    """The answer to a body that is not what the API takes."""
    return Refusal(400, f"the body cannot be used: {why}")
