"""What a request on the chat API asks for: its body read and checked. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np

from aiperf.config.endpoint import Simulator
from aiperf.simulator.draws import Fault, fault_of

_MOST = 1_000_000
_SHORT = 2_000
_SPACES = np.isin(np.arange(256), [*range(9, 14), *range(28, 33)])

Count = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]


class Part(msgspec.Struct):
    """A part of a message; parts without text (pictures, audio) count for nothing."""

    type: str = "text"
    text: str = ""


class Message(msgspec.Struct):
    """What one side said."""

    role: str
    content: str | list[Part] | None = None


class StreamOptions(msgspec.Struct):
    """What else a stream is to hold."""

    include_usage: bool | None = False


class Chat(msgspec.Struct):
    """The body of a request, as far as it matters here; keys that do not are passed over."""

    model: str
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_completion_tokens: Count | None = None
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
    """What will be answered, and how it will end. `tokens` and `reasoning` are those of the whole answer, before a fault."""

    prompt_tokens: int
    tokens: int
    reasoning: int
    limited: bool
    streamed: bool
    usage: bool
    fault: Fault | None

    @property
    def brought_forth(self) -> int:
        """The tokens that come out before it ends: half of them (at least 1) if it is cut, 1 if it fails where the first was due."""
        if self.fault is None:
            return self.tokens
        return max(1, self.tokens // 2) if self.fault in ("error_event", "truncated") else 1


_read = msgspec.json.Decoder(Chat).decode


def word_count(text: str) -> int:
    """`len(text.split())`, at a fiftieth of the cost for long ASCII."""
    if len(text) < _SHORT or not text.isascii():
        return len(text.split())
    spaces = _SPACES[np.frombuffer(text.encode("ascii"), np.uint8)]
    return int(np.count_nonzero(spaces[:-1] & ~spaces[1:])) + (not spaces[0])


def prompt_words(messages: Sequence[Message]) -> int:
    """Words of all messages; a text part is a text of its own."""
    contents = (message.content or "" for message in messages)
    texts = ([content] if isinstance(content, str) else [part.text for part in content] for content in contents)
    return sum(word_count(text) for parts in texts for text in parts)


def plan_of(body: bytes, number: int | None, options: Simulator) -> Plan | Refusal:
    """What a body asks for, or why it cannot be had. `number` decides about faults."""
    try:
        chat = _read(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:  # the latter two: not UTF-8, nested too deep
        return Refusal(400, f"the body cannot be used: {exc}")
    if chat.model != options.model:
        return Refusal(404, f"the model {chat.model!r} does not exist; there is {options.model!r}", "NotFoundError")
    limit = chat.max_completion_tokens or chat.max_tokens
    least = chat.min_tokens or 0
    if limit is not None and least > limit:
        return Refusal(400, f"min_tokens={least} is more than max_tokens={limit}")
    tokens = limit or max(options.tokens, least)
    streamed = bool(chat.stream)
    asked = not streamed or (chat.stream_options is not None and bool(chat.stream_options.include_usage))
    return Plan(
        prompt_tokens=prompt_words(chat.messages) + options.template_tokens,
        tokens=tokens,
        reasoning=round(options.reasoning * tokens),
        limited=limit is not None,
        streamed=streamed,
        usage=options.usage and asked,
        fault=fault_of(options.faults, options.seed, number),
    )
