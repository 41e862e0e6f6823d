"""What will be answered to a request for tokens, whichever API it came by, or why it cannot be had. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

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

    @property
    def limit(self) -> int | None:
        """The greatest length of an answer."""
        return self.max_tokens


W = TypeVar("W", bound=Wanted)


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
    body: bytes, options: Simulator, fault: Fault | None, *, api: Api, read: Callable[[bytes], W], prompts: Callable[[W], Sequence[int]]
) -> Plan | Refusal:
    """The plan for a body: `read` decodes it, `prompts` gives the tokens of each of its prompts."""
    try:
        wanted = read(body)
        lengths = prompts(wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:  # no JSON or another shape, no UTF-8, nested too deep
        return Refusal(400, f"the body cannot be used: {exc}")
    if wanted.model != options.model:
        return Refusal(404, f"the model {wanted.model!r} does not exist; there is {options.model!r}", "NotFoundError")
    least, limit = wanted.min_tokens or 0, wanted.limit
    if limit is not None and least > limit:
        return Refusal(400, f"min_tokens={least} is more than max_tokens={limit}")
    tokens = limit or max(options.tokens, least)
    streamed = bool(wanted.stream)
    asked = not streamed or (wanted.stream_options is not None and bool(wanted.stream_options.include_usage))
    return Plan(
        api=api,
        prompt_tokens=sum(lengths),
        tokens=tokens,
        reasoning=round(options.reasoning * tokens) if api == "chat" else 0,
        limited=limit is not None,
        streamed=streamed,
        usage=options.usage and asked,
        choices=len(lengths),
        fault=fault,
    )


def word_count(text: str) -> int:
    """`len(text.split())`, at a fiftieth of the cost for long ASCII."""
    if len(text) < _SHORT or not text.isascii():
        return len(text.split())
    spaces = _SPACES[np.frombuffer(text.encode("ascii"), np.uint8)]
    return int(np.count_nonzero(spaces[:-1] & ~spaces[1:])) + (not spaces[0])
