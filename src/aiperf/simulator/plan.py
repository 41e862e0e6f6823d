"""What the body of a request asks for and what will be answered, or why it cannot be had. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Annotated, Literal

import msgspec
import numpy as np

from aiperf.config.simulator import Simulator
from aiperf.simulator.blocks import block_hashes, too_long

Api = Literal["chat", "completions"]

_MOST = 1_000_000
_SHORT = 2_000
_TEMPLATE = "<template>"
_SPACES = np.isin(np.arange(256), [*range(9, 14), *range(28, 33)])
_HALVED = frozenset({"error_event", "error_named", "truncated", "malformed", "reset_mid", "stall"})
_WHOLE = frozenset({None, "slow_headers", "close_after", "close_idle"})

_Count = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]
_Id = Annotated[int, msgspec.Meta(ge=0)]
_Ids = Annotated[list[_Id], msgspec.Meta(min_length=1)]


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = False


class _Wanted(msgspec.Struct, kw_only=True):
    """What every body says, as far as it matters here; keys that do not are passed over."""

    model: str
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    max_tokens: _Count | None = None
    min_tokens: Annotated[int, msgspec.Meta(ge=0, le=_MOST)] | None = None
    ignore_eos: bool | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=1)] | None = None


class _Part(msgspec.Struct):
    """A part of a message; parts without text (pictures, audio) count for nothing."""

    type: str = "text"
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _Chat(_Wanted, kw_only=True):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: _Count | None = None

    def prompts(self) -> Sequence[Sequence[str]]:
        """One, of all messages; a text part is a text of its own."""
        contents = (message.content or "" for message in self.messages)
        return [[text for said in contents for text in ([said] if isinstance(said, str) else [part.text for part in said])]]


class _Completion(_Wanted, kw_only=True):
    """A prompt is a text or ids of tokens, or a list of either."""

    prompt: str | Annotated[list[str | _Id | _Ids], msgspec.Meta(min_length=1)]
    echo: Literal[False] | None = None

    def prompts(self) -> Sequence[Sequence[str] | Sequence[int]]:
        """Each as texts or as ids. Raises ValidationError for a list that mixes texts, ids and lists of ids."""
        prompt = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if len(set(map(type, prompt))) > 1:
            raise msgspec.ValidationError("a prompt is a text, texts, ids of tokens or lists of ids, not several of these")
        ids = [part for part in prompt if isinstance(part, int)]
        return [ids] if ids else [[part] if isinstance(part, str) else part for part in prompt if not isinstance(part, int)]


_READ: Mapping[Api, Callable[[bytes], _Chat | _Completion]] = {
    "chat": msgspec.json.Decoder(_Chat).decode,
    "completions": msgspec.json.Decoder(_Completion).decode,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error, known before any token."""

    status: int
    message: str
    kind: str = "BadRequestError"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be answered, and how it will end. `tokens` and `reasoning` are those of each choice, before a fault.

    `joined` tokens that come out together are one event, others one each.
    """

    api: Api
    prompt_tokens: int
    tokens: int
    reasoning: int
    limited: bool
    streamed: bool
    usage: bool
    choices: int
    fault: str | None
    blocks: tuple[int, ...] = ()
    joined: bool = False

    @property
    def brought_forth(self) -> int:
        """The tokens of each choice that come out before it ends: half of them (at least 1) if it is cut, 1 if it fails at the first."""
        if self.fault in _WHOLE:
            return self.tokens
        return max(1, self.tokens // 2) if self.fault in _HALVED else 1


def planned(api: Api, body: bytes, options: Simulator, fault: str | None = None) -> Plan | Refusal:
    """The plan for a body; `fault` is what is to go wrong. A word or an id is a token; a chat's template has some of its own ahead."""
    try:
        wanted = _READ[api](body)
        prompts = wanted.prompts()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:  # no JSON or another shape, no UTF-8, nested too deep
        return Refusal(400, f"the body cannot be used: {exc}")
    if wanted.model != options.model:
        return Refusal(404, f"the model {wanted.model!r} does not exist; there is {options.model!r}", "NotFoundError")
    longer, ahead = (wanted.max_completion_tokens, options.template_tokens) if isinstance(wanted, _Chat) else (None, 0)
    least, limit = wanted.min_tokens or 0, longer or wanted.max_tokens
    if limit is not None and least > limit:
        return Refusal(400, f"min_tokens={least} is more than max_tokens={limit}")
    tokens = limit or max(options.tokens, least)
    prompt_tokens = sum(word_count(part) if isinstance(part, str) else 1 for prompt in prompts for part in prompt) + ahead
    if (problem := too_long(options, prompt_tokens, tokens)) is not None:
        return Refusal(400, problem)
    streamed = bool(wanted.stream)
    asked = not streamed or (wanted.stream_options is not None and bool(wanted.stream_options.include_usage))
    return Plan(
        api=api,
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        reasoning=round(options.reasoning * tokens) if api == "chat" else 0,
        limited=limit is not None,
        streamed=streamed,
        usage=options.usage and asked,
        choices=len(prompts),
        fault=fault,
        blocks=_blocks(prompts, options, ahead) if options.prefix_cache else (),
        joined=options.speculative is not None,
    )


def _blocks(prompts: Sequence[Sequence[str] | Sequence[int]], options: Simulator, ahead: int) -> tuple[int, ...]:
    """Of all prompts in a row."""
    words = (word for prompt in prompts for part in prompt for word in (part.split() if isinstance(part, str) else [str(part)]))
    return tuple(block_hashes(chain(repeat(_TEMPLATE, ahead), words), options.block_tokens))


def word_count(text: str) -> int:
    """`len(text.split())`, at a fiftieth of the cost for long ASCII."""
    if len(text) < _SHORT or not text.isascii():
        return len(text.split())
    spaces = _SPACES[np.frombuffer(text.encode("ascii"), np.uint8)]
    return int(np.count_nonzero(spaces[:-1] & ~spaces[1:])) + (not spaces[0])
