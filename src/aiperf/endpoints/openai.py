"""What OpenAI's generating APIs have in common: how a body ends, how a stream is read, usage, errors, and tokens by event.

What servers really send is in many dialects; see the tests for each. An API adds where a choice keeps what was generated.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import sub
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec

from aiperf.config.endpoint import Endpoint as Options
from aiperf.endpoints import sse
from aiperf.errors import ClientError
from aiperf.records import CHANNELS, LARGEST_COUNT
from aiperf.seams import Answer, Said
from aiperf.workload import Turn

ROLE, REASONING, CONTENT, TOOL_CALL, USAGE, ERROR, DONE = range(len(CHANNELS))
_RANKED = (ROLE, REASONING, TOOL_CALL, CONTENT)
"""Channels by how much like a token they are; an event is of the highest that any of its choices is of."""

_TOKENS = (REASONING, CONTENT, TOOL_CALL)
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)

SAMPLE_CHARS = 500
"""How much of a body or an event is kept to show what went wrong."""

_ERRORS = {429: "rate_limited", 3: "http_3xx", 4: "http_4xx", 5: "http_5xx"}
_SHOWN = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\N{REPLACEMENT CHARACTER}") | {ord(kept): kept for kept in "\t\n"}

_Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_COUNT)]


class _Usage(msgspec.Struct, gc=False):
    """The counts of most servers. An event whose usage states others is not taken for a plain token."""

    prompt_tokens: _Count
    completion_tokens: _Count
    completion_tokens_details: None = None
    output_tokens_details: None = None
    reasoning_tokens: Literal[0] | None = None


def events_of(choice: Any, *, plain: bool = False) -> Any:
    """Decodes events, or whole answers, whose choices are of this type; `plain` ones have one, and nothing besides but a usage."""
    fields: list[Any] = [("choices", GenericAlias(tuple, choice)), ("usage", _Usage | None, None), ("error", None, None)]
    if not plain:
        choices = GenericAlias(list, choice) | None
        fields = [("choices", choices, None), *((name, Any, None) for name in ("usage", "error", "model"))]
    return msgspec.json.Decoder(msgspec.defstruct("Event", fields, gc=False)).decode


@dataclass(slots=True)
class Strand:
    """One choice of an answer: its content, what it generated besides, and whether it has ended."""

    content: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    ended: bool = False


class Generating(ABC):
    """One of these APIs; `exact` asks for answers of exactly the wanted length, as vLLM and its kin understand.

    `event` and `whole` decode an event and a whole answer, `token` an event that is a token and nothing else; `texts` is what
    these add. `adds` are the counts that add up where choices have usages of their own; the input, where they may be of several prompts.
    """

    event: Callable[[bytes], Any]
    token: Callable[[bytes], Any]
    whole: Callable[[bytes], Any]
    texts: Callable[[Sequence[Any]], list[str]]
    adds: tuple[str, ...] = ("output_tokens",)

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
    """What has been understood of an answer so far; `_stated[i]` is the server's own count of tokens up to event i."""

    def __init__(self, api: Generating) -> None:
        self._api, self._said, self._done, self._stated = api, Said(), False, dict[int, int]()
        self._strands = defaultdict(Strand, {0: Strand()})
        self._own: dict[str, dict[int, int]] = {name: {} for name in api.adds}

    def streamed(self, bodies: Sequence[bytes]) -> Said:
        """Take in a stream: how it begins, the tokens that follow, and what is left."""
        events, said = sse.split(bodies), self._said
        said.reads, said.at_end = events.reads, events.at_end
        self._each(events, 2)
        if said.channels[-1:] == [CONTENT] and not events.names and len(self._strands) == 1 and said.model is not None:
            self._tokens(events.data[2:-3])  # the last three are mostly the last token with its reason, a usage, and [DONE]
        self._each(events, len(events.data))
        if not self._done and not all(strand.ended for strand in self._strands.values()):
            fail(said, "truncated", "the stream ended without a finish reason or [DONE]" if any(bodies) else "the stream was empty")
        said.tokens = _per_event(said.channels, self._stated)
        return summed_up(said, self._strands.values())

    def whole(self, answer: Answer) -> Said:
        """Take in an answer in one piece."""
        body, said = b"".join(answer.bodies), self._said
        try:
            chunk = self._api.whole(body)
        except _UNREADABLE as exc:
            kind = "malformed" if answer.complete else "truncated"
            fail(said, kind, f"no completion in JSON ({exc}), content type {answer.content_type}: {body_sample(answer.bodies)}")
            return said
        self._chunk(chunk, body)
        said.model = chunk.model if isinstance(chunk.model, str) else None
        if not chunk.choices:
            fail(said, "malformed", f"an answer without choices: {sample(body)}")
        if said.error is not None:
            return said
        said.reads = [max(i for i, part in enumerate(answer.bodies) if part)]
        said.at_end, said.channels, said.tokens = [True], [CONTENT], [0]
        return summed_up(said, self._strands.values())

    def _tokens(self, data: Sequence[bytes]) -> None:
        """Take in what is a token each, up to the first event that is more or less than that."""
        run: list[Any] = []
        try:  # noqa: SIM105 - contextlib would cost as much as two events
            run.extend(map(self._api.token, data))
        except _UNREADABLE:
            pass
        usages, start = [one.usage for one in run], len(self._said.channels)
        if any(usages):
            self._stated |= {i: usage.completion_tokens for i, usage in enumerate(usages, start) if usage is not None}
            last = max(self._stated)
            self._count(usages[last - start], run[0].choices, last)
        self._said.channels += [CONTENT] * len(run)
        self._strands[0].content += self._api.texts(run)

    def _each(self, events: sse.Events, end: int) -> None:
        """Take in event by event; most are of one choice that goes on, and are not looked at further."""
        names, decode, look, first, said = events.names, self._api.event, self._api.look, self._strands[0], self._said
        channels, unnamed = said.channels, said.model is None
        for i, data in enumerate(events.data[len(channels) : end], len(channels)):
            if names and names.get(i) == b"error":
                channels.append(fail(said, "error_event", sample(data)))
                continue
            try:
                chunk = decode(data)
            except _UNREADABLE as exc:
                if events.unfinished and i == len(events.data) - 1 and data.strip() != b"[DONE]":
                    events.drop_last()  # half of one
                else:
                    channels.append(self._no_json(data, exc))
                continue
            if unnamed and isinstance(chunk.model, str):
                said.model, unnamed = chunk.model, False
            choices = chunk.choices
            if chunk.usage or chunk.error or not choices or len(choices) > 1 or (choice := choices[0]).index or choice.finish_reason:
                channels.append(self._chunk(chunk, data))
            else:
                channels.append(look(choice, first))

    def _chunk(self, chunk: Any, data: bytes) -> int:
        """The channel of an event that was decoded."""
        said = self._said
        if chunk.error:
            return fail(said, "error_event", sample(data))
        channel, ended = ROLE, False
        if chunk.usage:
            self._count(chunk.usage, chunk.choices or (), len(said.channels))
        for choice in chunk.choices or ():
            strand = self._strands[_place(choice)]
            channel = max(channel, self._api.look(choice, strand), key=_RANKED.index)
            if choice.finish_reason:
                strand.ended = ended = True
                said.finish_reason = str(choice.finish_reason)
        return channel if channel != ROLE else USAGE if chunk.usage else DONE if ended else ROLE

    def _no_json(self, data: bytes, why: Exception) -> int:
        """The channel of an event that is no chunk: a name alone, the end, or rubbish."""
        if not data:
            return ROLE
        if data.strip() != b"[DONE]":
            return fail(self._said, "malformed", f"{why}: {sample(data)}")
        self._done = True
        return DONE

    def _count(self, usage: Any, choices: Sequence[Any], place: int) -> None:
        """Take over what the usage beside these choices of an event counts, with what those of other choices did."""
        found = counts(usage)
        own = self._own if len(choices) == 1 else {}
        for name in found.keys() & own.keys():
            own[name][_place(choices[0])] = found[name]
            found[name] = min(sum(own[name].values()), LARGEST_COUNT)
        if choices and "output_tokens" in found:
            self._stated[place] = found["output_tokens"]
        for name, count in found.items():
            setattr(self._said, name, count)


def _place(choice: Any) -> int:
    return choice.index if isinstance(choice.index, int) else 0


def summed_up(said: Said, strands: Collection[Strand]) -> Said:
    """Add what its choices come to."""
    said.choices = len(strands)
    said.think_tags = any("<think>" in "".join(strand.content) for strand in strands)
    if said.output_tokens is None:
        said.text = "".join([text for strand in strands for text in (*strand.aside, *strand.content)])
    return said


def fail(said: Said, error: str, reason: str) -> int:
    """Note what went wrong; the first thing that did is the one that counts."""
    if said.error is None:
        said.error, said.reason = error, reason
    return ERROR


def _per_event(channels: Sequence[int], stated: Mapping[int, int]) -> list[int]:
    """Tokens an event, as differences of running counts; all 0 unless every event with a token states one."""
    with_token = [i for i, channel in enumerate(channels) if channel in _TOKENS] if stated else []
    tokens, running = [0] * len(channels), list(stated.values())
    if not with_token or not stated.keys() >= set(with_token):
        return tokens
    for i, count in zip(stated, map(sub, running, [0, *running])):
        tokens[i] = count
    return tokens if min(tokens) >= 0 and any(tokens[i] for i in with_token) else [0] * len(channels)


def counts(usage: Any) -> dict[str, int]:
    """Tokens of input, of output and of reasoning that a usage counts, a mapping or an object, by whichever of the usual names.

    Reasoning is among the details, or beside the others, where 0 is how a server says that it does not count.
    """
    read = _reader(usage)
    details = read("completion_tokens_details") or read("output_tokens_details")
    thought = _reader(details)("reasoning_tokens") if details else None
    found = {
        "input_tokens": _first(read("prompt_tokens"), read("input_tokens")),
        "output_tokens": _first(read("completion_tokens"), read("output_tokens")),
        "reasoning_tokens": _first(thought, read("reasoning_tokens") or None),
    }
    return {name: count for name, count in found.items() if count is not None}


def _reader(place: Any) -> Callable[[str], Any]:
    return place.get if isinstance(place, (dict, Mapping)) else lambda name: getattr(place, name, None)


def _first(*values: Any) -> int | None:
    """The first of these that can be a count of tokens."""
    whole = (int(value) if type(value) is float and value.is_integer() else value for value in values)
    return next((value for value in whole if type(value) is int and 0 <= value <= LARGEST_COUNT), None)


def error_of(status: int | None) -> str | None:
    """The error class of a status; None for 2xx, and for no status at all, about which the transport knows better."""
    if status is None or 200 <= status < 300:
        return None
    return _ERRORS.get(status, _ERRORS.get(status // 100, "malformed"))


def sample(data: bytes) -> str:
    """The beginning of some bytes as text, for people; what is no UTF-8 or controls a terminal is shown as replacement characters."""
    return data[: 4 * SAMPLE_CHARS].decode("utf-8", "replace")[:SAMPLE_CHARS].translate(_SHOWN) or "(empty)"


def body_sample(bodies: Sequence[bytes]) -> str:
    """The beginning of an answer's body; an empty one is named so."""
    return sample(b"".join(bodies)) if any(bodies) else "(empty body)"
