"""What OpenAI's generating APIs have in common: how a body ends, how a stream is read, usage, errors, and tokens by event.

What servers really send is in many dialects; see the tests for each. An API adds where a choice keeps what was generated.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aiperf.config.endpoint import Endpoint as Options
from aiperf.endpoints import sse
from aiperf.endpoints.status import body_sample, error_of, sample
from aiperf.errors import ClientError
from aiperf.records import CHANNELS, LARGEST_COUNT
from aiperf.seams import Answer, Said
from aiperf.workload import Turn

ROLE, REASONING, CONTENT, TOOL_CALL, USAGE, ERROR, DONE = range(len(CHANNELS))
RANKED = (ROLE, REASONING, TOOL_CALL, CONTENT)
"""Channels by how much like a token they are; an event is of the highest that any of its choices is of."""

_TOKENS = (REASONING, CONTENT, TOOL_CALL)
_THINK = "<think>"
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


class Asking:
    """How requests are made, whatever they say; `exact` asks for answers of exactly the wanted length, as vLLM and its kin understand."""

    def __init__(self, options: Options, *, model: str, exact: bool, usage: bool) -> None:
        self._model, self._exact, self._streaming, self._usage = model, exact, options.streaming, usage
        self._extra = dict(options.extra)

    def body(self, turn: Turn, what: Callable[[Turn], Mapping[str, Any]]) -> bytes:
        """The request as JSON; `extra` of the endpoint, then of the turn, has the last word, a payload every word. Raises ClientError."""
        if turn.payload is not None:
            return turn.payload
        said: dict[str, Any] = {"model": turn.model or self._model, **what(turn), "stream": self._streaming}
        if self._streaming and self._usage:
            said["stream_options"] = {"include_usage": True}
        if turn.output_tokens is not None:
            said["max_tokens"] = turn.output_tokens
        if turn.output_tokens is not None and self._exact:
            said |= {"min_tokens": turn.output_tokens, "ignore_eos": True}
        try:
            return msgspec.json.encode({**said, **self._extra, **turn.extra})
        except (TypeError, ValueError, msgspec.EncodeError) as exc:
            raise ClientError(f"the body cannot be written as JSON: {exc}") from exc


class Chunk(msgspec.Struct, gc=False):
    """An event of a stream, or a whole answer; an API's own says what a choice is: something with `index` and `finish_reason`."""

    choices: list[Any] | None = None
    usage: Any = None
    error: Any = None


class _Named(msgspec.Struct, gc=False):
    model: Any = None


_decode_model = msgspec.json.Decoder(_Named).decode


@dataclass(slots=True)
class Strand:
    """One choice of an answer: its content, what it generated besides, whether it has ended, and what a usage of its own counts."""

    content: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    ended: bool = False
    input_tokens: int = 0
    output_tokens: int = 0


Look = Callable[[Any, Strand], int]
"""Puts what a choice of an event generated into its strand; the place of its channel in RANKED."""


@dataclass(frozen=True, slots=True)
class Api:
    """What an API has of its own: how an event and how a whole answer is decoded, and where a choice of either keeps what was generated.

    `prompts`: choices may be of several prompts, so that usages of their own add up.
    """

    event: Callable[[bytes], Chunk]
    whole: Callable[[bytes], Chunk]
    look: Look
    prompts: bool = False

    def answer(self, answer: Answer) -> Said:
        """What the bytes say, streamed (by content type) or whole."""
        if (error := error_of(answer.status)) is not None:
            return Said(error=error, reason=body_sample(answer.bodies))
        return _streamed(self, answer.bodies) if sse.is_stream(answer.content_type) else _whole(self, answer)

    def parses(self, data: bytes) -> bool:
        """Whether an event's data is whole."""
        try:
            self.event(data)
        except _UNREADABLE:
            return data.strip() == b"[DONE]"
        return True


class _Reading:
    """What has been understood of an answer so far; `counts[i]` is the server's own count of tokens up to event i."""

    __slots__ = ("_api", "_first", "_look", "_others", "counts", "done", "said")

    def __init__(self, api: Api) -> None:
        self._api, self._look = api, api.look
        self.said, self.done, self.counts = Said(), False, dict[int, int]()
        self._first, self._others = Strand(), dict[int, Strand]()

    def fail(self, error: str, reason: str) -> int:
        """Note what went wrong; the first thing that did is the one that counts."""
        if self.said.error is None:
            self.said.error, self.said.reason = error, reason
        return ERROR

    def events(self, events: sse.Events) -> None:
        """Take in a stream, event by event; nearly all are of one choice that goes on, and are not looked at further."""
        names, decode, look, first, channels = events.names, self._api.event, self._look, self._first, self.said.channels
        for i, data in enumerate(events.data):
            if names and names.get(i) == b"error":
                channels.append(self.fail("error_event", sample(data)))
                continue
            try:
                chunk = decode(data)
            except _UNREADABLE as exc:
                channels.append(self.no_json(data, exc))
                continue
            choices = chunk.choices
            if chunk.usage or chunk.error or not choices or len(choices) > 1 or (choice := choices[0]).index or choice.finish_reason:
                channels.append(self.chunk(chunk, data))
            else:
                channels.append(RANKED[look(choice, first)])

    def chunk(self, chunk: Chunk, data: bytes) -> int:
        """The channel of an event that was decoded."""
        if chunk.error:
            return self.fail("error_event", sample(data))
        usage, choices, rank = chunk.usage, chunk.choices or (), 0
        if usage:
            self.usage(usage, choices)
        for choice in choices:
            strand = self._strand(choice.index) if choice.index else self._first
            if (found := self._look(choice, strand)) > rank:
                rank = found
            if choice.finish_reason:
                strand.ended = True
                self.said.finish_reason = str(choice.finish_reason)
        if rank:
            return RANKED[rank]
        return USAGE if usage else _without_token(chunk)

    def no_json(self, data: bytes, why: Exception) -> int:
        """The channel of an event that is no chunk: a name alone, the end, or rubbish."""
        if not data:
            return ROLE
        if data.strip() != b"[DONE]":
            return self.fail("malformed", f"{why}: {sample(data)}")
        self.done = True
        return DONE

    def ended(self) -> bool:
        """Whether the answer is over as its API says it is: by [DONE], or by a finish reason for every choice."""
        return self.done or (self._first.ended and all(strand.ended for strand in self._others.values()))

    def choices(self) -> int:
        """How many choices the answer has."""
        return 1 + len(self._others)

    def generated_text(self) -> str:
        """All that was generated, choice by choice."""
        return "".join(["".join([*strand.aside, *strand.content]) for strand in self._strands()])

    def thinks_aloud(self) -> bool:
        """Whether some choice holds a tag of reasoning in its content."""
        return _THINK in "".join(self._first.content) or any(_THINK in "".join(strand.content) for strand in self._others.values())

    def usage(self, usage: Any, choices: Sequence[Any]) -> None:
        """Take over what the usage beside these choices counts; the last one wins, field by field."""
        said = self.said
        if not isinstance(usage, dict):
            return
        prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        if len(choices) == 1:
            prompt, completion = self._summed(choices[0].index, prompt, completion)
        if prompt is not None:
            said.input_tokens = prompt
        if completion is not None:
            said.output_tokens = completion
            if choices:
                self.counts[len(said.channels)] = completion
        if (reasoning := _reasoning(usage)) is not None:
            said.reasoning_tokens = reasoning

    def _summed(self, index: Any, prompt: int | None, completion: int | None) -> tuple[int | None, int | None]:
        """The counts of a usage beside one choice, with those of the other choices that have a usage of their own."""
        strand, strands = self._strand(index), self._strands()
        strand.input_tokens = strand.input_tokens if prompt is None else prompt
        strand.output_tokens = strand.output_tokens if completion is None else completion
        if prompt is not None and self._api.prompts:
            prompt = _count(sum(strand.input_tokens for strand in strands))
        return prompt, None if completion is None else _count(sum(strand.output_tokens for strand in strands))

    def _strand(self, index: Any) -> Strand:
        if not index or not isinstance(index, int):
            return self._first
        return self._others.setdefault(index, Strand())

    def _strands(self) -> list[Strand]:
        return [self._first, *self._others.values()]


def _streamed(api: Api, bodies: Sequence[bytes]) -> Said:
    events = sse.split(bodies)
    if events.unfinished and not api.parses(events.data[-1]):
        events.drop_last()
    reading = _Reading(api)
    said = reading.said
    said.reads, said.at_end = events.reads, events.at_end
    reading.events(events)
    if not reading.ended():
        reading.fail("truncated", "the stream ended without a finish reason or [DONE]" if any(bodies) else "the stream was empty")
    said.model = _model(events.data)
    said.tokens = _per_event(said.channels, reading.counts)
    return _summed_up(reading)


def _whole(api: Api, answer: Answer) -> Said:
    body = b"".join(answer.bodies)
    reading = _Reading(api)
    said = reading.said
    try:
        chunk = api.whole(body)
    except _UNREADABLE as exc:
        kind = "malformed" if answer.complete else "truncated"
        reading.fail(kind, f"no completion in JSON ({exc}), content type {answer.content_type}: {body_sample(answer.bodies)}")
        return said
    reading.chunk(chunk, body)
    if not chunk.choices:
        reading.fail("malformed", f"an answer without choices: {sample(body)}")
    if said.error is not None:
        return said
    said.model = _model([body])
    said.reads, said.at_end, said.channels, said.tokens = [_last_read(answer.bodies)], [True], [CONTENT], [0]
    return _summed_up(reading)


def _summed_up(reading: _Reading) -> Said:
    said = reading.said
    said.choices, said.think_tags = reading.choices(), reading.thinks_aloud()
    if said.output_tokens is None:
        said.text = reading.generated_text()
    return said


def _without_token(chunk: Chunk) -> int:
    return DONE if any(choice.finish_reason for choice in chunk.choices or ()) else ROLE


def _model(said: Sequence[bytes]) -> str | None:
    """The model by its first mention, which is looked for apart since every event names it again."""
    for data in said:
        with contextlib.suppress(*_UNREADABLE):
            model = _decode_model(data).model
            if isinstance(model, str):
                return model
    return None


def _per_event(channels: Sequence[int], counts: dict[int, int]) -> list[int]:
    """Tokens an event, as differences of running counts; all 0 unless every event with a token states one."""
    tokens = [0] * len(channels)
    if not counts:
        return tokens
    with_token = [i for i, channel in enumerate(channels) if channel in _TOKENS]
    if not all(i in counts for i in with_token):
        return tokens
    before = 0
    for i in sorted(counts):
        tokens[i], before = counts[i] - before, counts[i]
    return tokens if min(tokens) >= 0 and any(tokens[i] for i in with_token) else [0] * len(channels)


def _last_read(bodies: Sequence[bytes]) -> int:
    return max(i for i, body in enumerate(bodies) if body)


def _reasoning(usage: dict[str, Any]) -> int | None:
    """What a usage counts as reasoning: among the details, or beside the others, where 0 is how a server says that it does not count."""
    details = usage.get("completion_tokens_details")
    counted = _count(details.get("reasoning_tokens")) if isinstance(details, dict) else None
    return counted if counted is not None else _count(usage.get("reasoning_tokens")) or None


def _count(value: Any) -> int | None:
    """A count of tokens that can be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= LARGEST_COUNT else None
