"""OpenAI chat completions: bodies out, events in. What servers really send is in many dialects; see the tests for each."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aiperf.config.endpoint import Endpoint as Options
from aiperf.endpoints import sse
from aiperf.endpoints.status import body_sample, error_of, sample
from aiperf.errors import ClientError
from aiperf.records import CHANNELS
from aiperf.seams import Answer, Said
from aiperf.workload import Turn

ROLE, REASONING, CONTENT, TOOL_CALL, USAGE, ERROR, DONE = range(len(CHANNELS))
_RANKED = (ROLE, REASONING, TOOL_CALL, CONTENT)
_TOKENS = (REASONING, CONTENT, TOOL_CALL)
_THINK = "<think>"
_LARGEST_COUNT = 2**31 - 1


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: Any = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


class _Named(msgspec.Struct, gc=False):
    model: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
_decode_model = msgspec.json.Decoder(_Named).decode
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


class ChatEndpoint:
    """`/v1/chat/completions`; `exact` asks for answers of exactly the wanted length, which vLLM and its kin understand."""

    token_hint = rb'"delta"\s*:\s*\{[^{}]*"(?:(?:content|reasoning_content|reasoning)"\s*:\s*"[^"]|tool_calls"\s*:\s*\[\s*\{)'

    def __init__(self, options: Options, *, model: str, exact: bool, usage: bool = True) -> None:
        self._model, self._exact, self._streaming, self._usage = model, exact, options.streaming, usage
        self._extra = dict(options.extra)

    def body(self, turn: Turn) -> bytes:
        """The request as JSON; `extra` of the endpoint, then of the turn, has the last word. Raises ClientError."""
        said: dict[str, Any] = {"model": self._model, "messages": [{"role": turn.role, "content": turn.text}], "stream": self._streaming}
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

    def answer(self, answer: Answer) -> Said:
        """What the bytes say, streamed (by content type) or whole."""
        if (error := error_of(answer.status)) is not None:
            return Said(error=error, reason=body_sample(answer.bodies))
        return _streamed(answer.bodies) if sse.is_stream(answer.content_type) else _whole(answer)


@dataclass(slots=True)
class _Reading:
    """What has been understood of a stream so far; `counts[i]` is the server's own count of tokens up to event i."""

    said: Said
    ended: bool = False
    texts: list[str] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)

    def fail(self, error: str, reason: str) -> int:
        """Note what went wrong; the first thing that did is the one that counts."""
        if self.said.error is None:
            self.said.error, self.said.reason = error, reason
        return ERROR

    def named(self, name: bytes, data: bytes) -> int:
        """The channel of an event with a name; one without data says nothing here."""
        if name == b"error":
            return self.fail("error_event", sample(data))
        return self.data(data) if data else ROLE

    def data(self, data: bytes) -> int:
        """The channel of an unnamed event."""
        try:
            chunk = _decode(data)
        except _UNREADABLE as exc:
            return self.no_json(data, exc)
        if chunk.error:
            return self.fail("error_event", sample(data))
        if chunk.usage:
            self.usage(chunk.usage, with_choice=bool(chunk.choices))
        rank = 0
        for choice in chunk.choices or ():
            if choice.delta is not None and (found := self.delta(choice.delta)) > rank:
                rank = found
            if choice.finish_reason:
                self.finish(choice.finish_reason)
        if rank:
            return _RANKED[rank]
        return USAGE if chunk.usage else _without_token(chunk)

    def no_json(self, data: bytes, why: Exception) -> int:
        """The channel of an event that is no chunk: the end, or rubbish."""
        if data.strip() != b"[DONE]":
            return self.fail("malformed", f"{why}: {sample(data)}")
        self.ended = True
        return DONE

    def delta(self, delta: _Delta) -> int:
        """The place in _RANKED of what a delta holds."""
        if content := delta.content:
            self.texts.append(content if isinstance(content, str) else "")
            return 3
        if delta.refusal:
            return 3
        if delta.tool_calls:
            return 2
        return 1 if delta.reasoning_content or delta.reasoning else 0

    def finish(self, reason: Any) -> None:
        """A choice says why it ended."""
        self.ended = True
        self.said.finish_reason = str(reason)

    def usage(self, usage: Any, *, with_choice: bool) -> None:
        """Take over what a usage object counts; the last one wins, field by field."""
        said = self.said
        if not isinstance(usage, dict):
            return
        if (prompt := _count(usage.get("prompt_tokens"))) is not None:
            said.input_tokens = prompt
        if (completion := _count(usage.get("completion_tokens"))) is not None:
            said.output_tokens = completion
            if with_choice:
                self.counts[len(said.channels)] = completion
        details = usage.get("completion_tokens_details")
        counted = _count(details.get("reasoning_tokens")) if isinstance(details, dict) else None
        if counted is None:  # beside the others, where 0 is how a server says that it does not count
            counted = _count(usage.get("reasoning_tokens")) or None
        if counted is not None:
            said.reasoning_tokens = counted


def _streamed(bodies: Sequence[bytes]) -> Said:
    events = sse.split(bodies)
    if events.unfinished and not _parses(events.data[-1]):
        events.drop_last()
    said = Said(reads=events.reads, at_end=events.at_end)
    reading, channels = _Reading(said), said.channels
    names = events.names
    for i, data in enumerate(events.data):
        channels.append(reading.named(names[i], data) if i in names else reading.data(data))
    if not reading.ended:
        reading.fail("truncated", "the stream ended without a finish reason or [DONE]" if any(bodies) else "the stream was empty")
    said.model = _model(events.data)
    said.tokens = _per_event(channels, reading.counts)
    said.think_tags = _THINK in "".join(reading.texts)
    return said


def _without_token(chunk: _Chunk) -> int:
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
    with_token = [i for i, channel in enumerate(channels) if channel in _TOKENS]
    if not with_token or not all(i in counts for i in with_token):
        return tokens
    before = 0
    for i in sorted(counts):
        tokens[i], before = counts[i] - before, counts[i]
    return tokens if min(tokens) >= 0 and any(tokens[i] for i in with_token) else [0] * len(channels)


def _whole(answer: Answer) -> Said:
    body = b"".join(answer.bodies)
    said = Said()
    reading = _Reading(said)
    try:
        chunk = _decode(body)
    except _UNREADABLE as exc:
        kind = "malformed" if answer.complete else "truncated"
        reading.fail(kind, f"no chat completion in JSON ({exc}), content type {answer.content_type}: {body_sample(answer.bodies)}")
        return said
    if chunk.error:
        reading.fail("error_event", sample(body))
        return said
    if not chunk.choices:
        reading.fail("malformed", f"an answer without choices: {sample(body)}")
        return said
    reading.usage(chunk.usage, with_choice=False)
    for choice in chunk.choices:
        if choice.finish_reason:
            reading.finish(choice.finish_reason)
        if choice.message is not None:
            reading.delta(choice.message)
    said.model = _model([body])
    said.reads, said.at_end, said.channels, said.tokens = [_last_read(answer.bodies)], [True], [CONTENT], [0]
    said.think_tags = _THINK in "".join(reading.texts)
    return said


def _last_read(bodies: Sequence[bytes]) -> int:
    return max(i for i, body in enumerate(bodies) if body)


def _parses(data: bytes) -> bool:
    try:
        _decode(data)
    except _UNREADABLE:
        return data.strip() == b"[DONE]"
    return True


def _count(value: Any) -> int | None:
    """A count of tokens that can be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _LARGEST_COUNT else None
