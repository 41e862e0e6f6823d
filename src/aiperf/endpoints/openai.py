"""What OpenAI's generating APIs have in common: how a body ends, how a stream is read, usage, errors, and tokens by event.

What servers really send is in many dialects; see the tests for each. An API adds where a choice keeps what was generated.
"""

import contextlib
from abc import ABC, abstractmethod
from collections import defaultdict
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
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


class Chunk(msgspec.Struct, gc=False):
    """An event of a stream, or a whole answer; an API's own says what a choice is: something with `index` and `finish_reason`."""

    choices: list[Any] | None = None
    usage: Any = None
    error: Any = None


@dataclass(slots=True)
class Strand:
    """One choice of an answer: its content, what it generated besides, whether it has ended, and what a usage of its own counts."""

    content: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    ended: bool = False
    input_tokens: int = 0
    output_tokens: int = 0


class Generating(ABC):
    """One of these APIs; `exact` asks for answers of exactly the wanted length, as vLLM and its kin understand.

    `event` and `whole` decode an event and a whole answer. `prompts`: choices may be of several prompts, so that usages of
    their own add up.
    """

    event: Callable[[bytes], Chunk]
    whole: Callable[[bytes], Chunk]
    prompts = False

    def __init__(self, options: Options, *, model: str, exact: bool, usage: bool = True) -> None:
        self._options, self._model, self._exact, self._usage = options, model, exact, usage

    @abstractmethod
    def said(self, turn: Turn) -> Mapping[str, Any]:
        """What the request says, as its API calls it. Raises ClientError for a turn that does not hold it."""

    @staticmethod
    @abstractmethod
    def look(choice: Any, strand: Strand) -> int:
        """Put what a choice of an event generated into its strand; the channel of it, ROLE if it is nothing."""

    def body(self, turn: Turn) -> bytes:
        """The request as JSON; `extra` of the endpoint, then of the turn, has the last word, a payload every word. Raises ClientError."""
        if turn.payload is not None:
            return turn.payload
        streaming = self._options.streaming
        said: dict[str, Any] = {"model": turn.model or self._model, **self.said(turn), "stream": streaming}
        if streaming and self._usage:
            said["stream_options"] = {"include_usage": True}
        if turn.output_tokens is not None:
            said["max_tokens"] = turn.output_tokens
            if self._exact:
                said |= {"min_tokens": turn.output_tokens, "ignore_eos": True}
        try:
            return msgspec.json.encode({**said, **self._options.extra, **turn.extra})
        except (TypeError, ValueError, msgspec.EncodeError) as exc:
            raise ClientError(f"the body cannot be written as JSON: {exc}") from exc

    def answer(self, answer: Answer) -> Said:
        """What the bytes say, streamed (by content type) or whole."""
        if (error := error_of(answer.status)) is not None:
            return Said(error=error, reason=body_sample(answer.bodies))
        reading = _Reading(self)
        return reading.streamed(answer.bodies) if sse.is_stream(answer.content_type) else reading.whole(answer)


class _Reading:
    """What has been understood of an answer so far; `_counts[i]` is the server's own count of tokens up to event i."""

    def __init__(self, api: Generating) -> None:
        self._api, self._said, self._done, self._counts = api, Said(), False, dict[int, int]()
        self._strands = defaultdict(Strand, {0: Strand()})

    def streamed(self, bodies: Sequence[bytes]) -> Said:
        """Take in a stream."""
        events, said = sse.split(bodies), self._said
        said.reads, said.at_end = events.reads, events.at_end
        self._events(events)
        if not self._done and not all(strand.ended for strand in self._strands.values()):
            self._fail("truncated", "the stream ended without a finish reason or [DONE]" if any(bodies) else "the stream was empty")
        said.tokens = _per_event(said.channels, self._counts)
        return self._summed_up(events.data)

    def whole(self, answer: Answer) -> Said:
        """Take in an answer in one piece."""
        body, said = b"".join(answer.bodies), self._said
        try:
            chunk = self._api.whole(body)
        except _UNREADABLE as exc:
            kind = "malformed" if answer.complete else "truncated"
            self._fail(kind, f"no completion in JSON ({exc}), content type {answer.content_type}: {body_sample(answer.bodies)}")
            return said
        self._chunk(chunk, body)
        if not chunk.choices:
            self._fail("malformed", f"an answer without choices: {sample(body)}")
        if said.error is not None:
            return said
        said.reads = [max(i for i, part in enumerate(answer.bodies) if part)]
        said.at_end, said.channels, said.tokens = [True], [CONTENT], [0]
        return self._summed_up([body])

    def _summed_up(self, events: Sequence[bytes]) -> Said:
        said, strands = self._said, self._strands.values()
        said.model, said.choices = _model(events), len(strands)
        said.think_tags = any("<think>" in "".join(strand.content) for strand in strands)
        if said.output_tokens is None:
            said.text = "".join([text for strand in strands for text in (*strand.aside, *strand.content)])
        return said

    def _fail(self, error: str, reason: str) -> int:
        """Note what went wrong; the first thing that did is the one that counts."""
        if self._said.error is None:
            self._said.error, self._said.reason = error, reason
        return ERROR

    def _events(self, events: sse.Events) -> None:
        """Take in event by event; nearly all are of one choice that goes on, and are not looked at further."""
        names, decode, look, first, channels = events.names, self._api.event, self._api.look, self._strands[0], self._said.channels
        for i, data in enumerate(events.data):
            if names and names.get(i) == b"error":
                channels.append(self._fail("error_event", sample(data)))
                continue
            try:
                chunk = decode(data)
            except _UNREADABLE as exc:
                if events.unfinished and i == len(events.data) - 1 and data.strip() != b"[DONE]":
                    events.drop_last()  # half of one
                else:
                    channels.append(self._no_json(data, exc))
                continue
            choices = chunk.choices
            if chunk.usage or chunk.error or not choices or len(choices) > 1 or (choice := choices[0]).index or choice.finish_reason:
                channels.append(self._chunk(chunk, data))
            else:
                channels.append(look(choice, first))

    def _chunk(self, chunk: Chunk, data: bytes) -> int:
        """The channel of an event that was decoded."""
        if chunk.error:
            return self._fail("error_event", sample(data))
        channel, ended = ROLE, False
        if chunk.usage:
            self._count(chunk.usage, chunk.choices or ())
        for choice in chunk.choices or ():
            strand = self._strand(choice.index)
            channel = max(channel, self._api.look(choice, strand), key=RANKED.index)
            if choice.finish_reason:
                strand.ended = ended = True
                self._said.finish_reason = str(choice.finish_reason)
        if channel != ROLE:
            return channel
        return USAGE if chunk.usage else DONE if ended else ROLE

    def _no_json(self, data: bytes, why: Exception) -> int:
        """The channel of an event that is no chunk: a name alone, the end, or rubbish."""
        if not data:
            return ROLE
        if data.strip() != b"[DONE]":
            return self._fail("malformed", f"{why}: {sample(data)}")
        self._done = True
        return DONE

    def _count(self, usage: Any, choices: Sequence[Any]) -> None:
        """Take over what the usage beside these choices counts; the last one wins, field by field."""
        said = self._said
        prompt, completion, reasoning = counts(usage)
        if len(choices) == 1:
            prompt, completion = self._summed(choices[0].index, prompt, completion)
        if prompt is not None:
            said.input_tokens = prompt
        if completion is not None:
            said.output_tokens = completion
            if choices:
                self._counts[len(said.channels)] = completion
        if reasoning is not None:
            said.reasoning_tokens = reasoning

    def _summed(self, index: Any, prompt: int | None, completion: int | None) -> tuple[int | None, int | None]:
        """The counts of a usage beside one choice, with those of the other choices that have a usage of their own."""
        strand, strands = self._strand(index), self._strands.values()
        strand.input_tokens = strand.input_tokens if prompt is None else prompt
        strand.output_tokens = strand.output_tokens if completion is None else completion
        if prompt is not None and self._api.prompts:
            prompt = _number(sum(strand.input_tokens for strand in strands))
        return prompt, None if completion is None else _number(sum(strand.output_tokens for strand in strands))

    def _strand(self, index: Any) -> Strand:
        return self._strands[index if isinstance(index, int) else 0]


def _model(events: Sequence[bytes]) -> str | None:
    """The model by its first mention, which is looked for apart since every event names it again."""
    for data in events:
        with contextlib.suppress(*_UNREADABLE):
            said = msgspec.json.decode(data)
            if isinstance(said, dict) and isinstance(said.get("model"), str):
                return str(said["model"])
    return None


def _per_event(channels: Sequence[int], stated: Mapping[int, int]) -> list[int]:
    """Tokens an event, as differences of running counts; all 0 unless every event with a token states one."""
    with_token = [i for i, channel in enumerate(channels) if channel in _TOKENS] if stated else []
    tokens, before = [0] * len(channels), 0
    if not with_token or not all(i in stated for i in with_token):
        return tokens
    for i in sorted(stated):
        tokens[i], before = stated[i] - before, stated[i]
    return tokens if min(tokens) >= 0 and any(tokens[i] for i in with_token) else [0] * len(channels)


def counts(usage: Any) -> tuple[int | None, int | None, int | None]:
    """Tokens of input, of output and of reasoning that a usage counts, a mapping or an object, by whichever of the usual names.

    Reasoning is among the details, or beside the others, where 0 is how a server says that it does not count.
    """
    details = _get(usage, "completion_tokens_details") or _get(usage, "output_tokens_details")
    reasoning = _count(details, "reasoning_tokens")
    reasoning = reasoning if reasoning is not None else _count(usage, "reasoning_tokens") or None
    return _count(usage, "prompt_tokens", "input_tokens"), _count(usage, "completion_tokens", "output_tokens"), reasoning


def _count(place: Any, *names: str) -> int | None:
    for name in names:
        if (found := _number(_get(place, name))) is not None:
            return found
    return None


def _get(place: Any, name: str) -> Any:
    return place.get(name) if isinstance(place, (dict, Mapping)) else getattr(place, name, None)


def _number(value: Any) -> int | None:
    """A count of tokens that can be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= LARGEST_COUNT else None
