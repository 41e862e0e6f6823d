"""Speaks through an endpoint that was written for the incumbent's interface, which writes payloads and reads events one by one.

It is a stranger's code: whatever it raises or returns ends here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from aiperf.config.endpoint import Endpoint as Options
from aiperf.endpoints import models, sse
from aiperf.endpoints.openai import CONTENT, DONE, ERROR, REASONING, ROLE, TOOL_CALL, USAGE
from aiperf.endpoints.status import body_sample, error_of, sample
from aiperf.errors import AiperfError, ClientError
from aiperf.finite import is_finite_value
from aiperf.plugin.border import border, told
from aiperf.plugin.returned import shown
from aiperf.plugin.types import PluginEntry, PluginError
from aiperf.records import LARGEST_COUNT
from aiperf.seams import Answer, Said
from aiperf.workload import Turn

_BINARY = re.compile(r"\s*(image|audio|video|font)/|\s*application/(octet-stream|pdf|zip)", re.IGNORECASE)
_COUNTS = (
    ("input_tokens", ("prompt_tokens", "input_tokens"), ()),
    ("output_tokens", ("completion_tokens", "output_tokens"), ()),
    ("reasoning_tokens", ("reasoning_tokens",), ("completion_tokens_details", "output_tokens_details")),
)


class _Marks(msgspec.Struct, gc=False):
    """What an event may say of itself in the usual places, whoever reads the rest."""

    error: Any = None
    model: Any = None
    finish_reason: Any = None
    choices: Any = None


_decode = msgspec.json.Decoder(_Marks).decode


class Worn(NamedTuple):
    """What a plugin wants to have sent with every request besides the body."""

    headers: Mapping[str, str]
    params: Mapping[str, str]


class Foreign:
    """Made of a class with `format_payload` and `parse_response`. It writes the endpoint's `extra` itself; a row's own comes last."""

    token_hint = rb"(?!)"
    """Finds nothing: what its tokens look like is not known, and a wrong guess costs the stamp of the first one. So all of a stream
    is read with the care that others need up to their first token, at two more system calls a read."""

    def __init__(self, entry: PluginEntry, cls: Any, about: models.ModelEndpointInfo, *, options: Any = None) -> None:
        self._entry, self._about = entry, about
        with border(entry):
            self._plugin = cls(model_endpoint=about, **({} if options is None else {"options": options}))

    @cached_property
    def wears(self) -> Worn | None:
        """Headers and query of every request, asked once; None if it has no say in them. Raises AiperfErrors."""
        asked = self._request(Turn(("",)))
        with border(self._entry):
            methods = [getattr(self._plugin, name, None) for name in ("get_endpoint_headers", "get_endpoint_params")]
            said = [self.mapping(method.__name__, method(asked)) for method in methods if method is not None]
            return Worn(*({str(key): str(value) for key, value in one.items()} for one in said)) if len(said) == len(methods) else None

    def body(self, turn: Turn) -> bytes:
        """What the plugin makes of a turn; a payload is sent untouched. Raises ClientError."""
        if turn.payload is not None:
            return turn.payload
        with self._behind():
            said = self._plugin.format_payload(self._request(turn))
            if isinstance(said, bytes | str):
                return said if isinstance(said, bytes) else said.encode()
            if not isinstance(said, dict | list):
                raise self.refused("format_payload", shown(said))
            whole = {**said, **turn.extra} if isinstance(said, dict) else said
            try:
                return json.dumps(whole, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
            except (TypeError, ValueError, RecursionError) as exc:
                raise self.refused("format_payload", f"what JSON cannot hold: {exc}") from exc

    def answer(self, answer: Answer) -> Said:
        """What the plugin reads in an answer, event by event where it is streamed."""
        if (error := error_of(answer.status)) is not None:
            return Said(error=error, reason=body_sample(answer.bodies))
        reading = _Reading(self, answer)
        try:
            with self._behind():
                (reading.streamed if sse.is_stream(answer.content_type) else reading.whole)()
                return reading.summed_up()
        except ClientError as exc:
            return Said(error="client", reason=str(exc))

    def parsed(self, response: models.InferenceServerResponse) -> Any:
        """What the plugin reads in a response: something with `data`, or None. Raises PluginError for anything else."""
        said = self._plugin.parse_response(response)
        if said is None or hasattr(said, "data"):
            return said
        raise self.refused("parse_response", shown(said))

    def mapping(self, method: str, said: Any, what: str = "") -> Mapping[Any, Any]:
        """What should be a mapping, or None for an empty one. Raises PluginError for anything else."""
        if said is not None and not isinstance(said, Mapping):
            raise self.refused(method, what + shown(said))
        return said or {}

    def refused(self, method: str, what: str) -> PluginError:
        """What is raised for something that the plugin must not return."""
        return PluginError(f"{self._entry.label}: {method} returned {what} ({self._entry.class_path})")

    def _request(self, turn: Turn) -> models.RequestInfo:
        said = models.Turn(
            texts=[models.Text(contents=list(turn.texts))] if turn.texts else [], role=turn.role, model=turn.model,
            max_tokens=turn.output_tokens, extra_body=dict(turn.extra) or None,
            raw_messages=None if turn.messages is None else list(turn.messages),
            raw_tools=None if turn.tools is None else list(turn.tools),
        )  # fmt: skip
        return models.RequestInfo(model_endpoint=self._about, turns=[said])

    @contextmanager
    def _behind(self) -> Iterator[None]:
        """The border: raises ClientErrors and nothing else."""
        try:
            with border(self._entry):
                yield
        except AiperfError as exc:
            label = f"{self._entry.label}: "
            raise ClientError(label + told(exc).removeprefix(label)) from exc


class _Reading:
    """What has been understood of an answer so far."""

    def __init__(self, foreign: Foreign, answer: Answer) -> None:
        self._foreign, self._answer, self.said = foreign, answer, Said()
        self._texts, self._contents, self._more = list[str](), list[str](), dict[str, Any]()
        self._found = self._done = False

    def streamed(self) -> None:
        """Take in a stream, up to [DONE] if there is one."""
        events, stamps, said = sse.split(self._answer.bodies), self._answer.stamps, self.said
        if events.unfinished and not self._answer.complete:
            events.drop_last()
        for i, (data, read) in enumerate(zip(events.data, events.reads)):
            name = events.names.get(i)
            fields = [("data", data)] if name is None else [("event", name), ("data", data)]
            packets = [models.SSEField(key, value.decode("utf-8", "replace")) for key, value in fields]
            message = models.SSEMessage(stamps[read] if read < len(stamps) else 0, packets)
            said.channels.append(self._event(message, data, failed=name == b"error"))
            if self._done:
                break
        count = len(said.channels)
        said.reads, said.at_end = events.reads[:count], events.at_end[:count]

    def whole(self) -> None:
        """Take in an answer in one piece."""
        answer, said = self._answer, self.said
        body, content_type = b"".join(answer.bodies), answer.content_type
        read = max((i for i, one in enumerate(answer.bodies) if one), default=-1)
        at = answer.stamps[read] if 0 <= read < len(answer.stamps) else 0
        is_binary = _BINARY.match(content_type or "")
        text = "" if is_binary else body.decode("utf-8", "replace")
        response = models.BinaryResponse(at, body, content_type) if is_binary else models.TextResponse(at, text, content_type)
        channel = self._event(response, body)
        if read >= 0:
            said.reads, said.at_end, said.channels = [read], [True], [channel]

    def summed_up(self) -> Said:
        """All of it; an answer in which nothing was found is an error, and so is a stream that broke off."""
        said, complete = self.said, self._answer.complete
        said.tokens = [0] * len(said.channels)
        if not self._found:
            self._fail("malformed" if complete else "truncated", f"the plugin found nothing in it: {body_sample(self._answer.bodies)}")
        if not (complete or self._done or said.finish_reason):
            self._fail("truncated", "the answer broke off")
        said.think_tags = "<think>" in "".join(self._contents)
        if said.output_tokens is None:
            said.text = "".join(self._texts)
        said.plugin = self._more or None
        return said

    def _fail(self, error: str, reason: str) -> int:
        if self.said.error is None:
            self.said.error, self.said.reason = error, reason
        return ERROR

    def _event(self, response: models.InferenceServerResponse, data: bytes, *, failed: bool = False) -> int:
        """The channel of an event, or of all."""
        if data.strip() == b"[DONE]":
            self._done = True
            return DONE
        marks = _marks(data)
        if failed or marks.error:
            return self._fail("error_event", sample(data))
        self._note(marks)
        parsed = self._foreign.parsed(response)
        if parsed is None:
            return ROLE
        if usage := getattr(parsed, "usage", None):
            self._count(usage)
        self._more.update(self._foreign.mapping("parse_response", getattr(parsed, "metadata", None), "metadata that is "))
        return self._channel(parsed.data) if parsed.data is not None else USAGE if usage else ROLE

    def _note(self, marks: _Marks) -> None:
        choices = marks.choices
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        if reason := marks.finish_reason or first.get("finish_reason"):
            self.said.finish_reason = str(reason)
        if self.said.model is None and isinstance(marks.model, str):
            self.said.model = marks.model

    def _count(self, usage: Any) -> None:
        """Take over what a usage counts, whoever's names it has; the last one wins, field by field."""
        for counted, names, groups in _COUNTS:
            places = [*(_get(usage, group) for group in groups), usage]
            counts = (_get(place, name) for place in places for name in names)
            if (count := next((n for n in counts if is_finite_value(n) and 0 <= n <= LARGEST_COUNT and n == int(n)), None)) is not None:
                setattr(self.said, counted, int(count))

    def _channel(self, data: Any) -> int:
        self._found = True
        text = data.get_text()
        if not isinstance(text, str):
            raise self._foreign.refused("parse_response", f"data whose text is {shown(text)}")
        if not text:
            return ROLE
        self._texts.append(text)
        if isinstance(data, models.ReasoningResponseData | models.ToolCallResponseData) and not data.content:
            return REASONING if isinstance(data, models.ReasoningResponseData) else TOOL_CALL
        self._contents.append(text)
        return CONTENT


def described(options: Options, *, model: str, exact: bool, usage: bool) -> models.ModelEndpointInfo:
    """The endpoint of an experiment as that interface describes one."""
    endpoint = models.EndpointInfo(
        type=options.type, base_urls=list(options.url), custom_endpoint=options.path, streaming=options.streaming,
        headers=list(options.headers.items()), api_key=options.api_key, timeout=options.timeout_s.total,
        extra=list(options.extra.items()), exact=exact, use_server_token_count=usage,
    )  # fmt: skip
    return models.ModelEndpointInfo(models={"models": [{"name": model}]}, endpoint=endpoint)


def _marks(data: bytes) -> _Marks:
    try:
        return _decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _Marks()


def _get(place: Any, name: str) -> Any:
    return place.get(name) if isinstance(place, Mapping) else getattr(place, name, None)
