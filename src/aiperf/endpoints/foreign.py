"""Speaks through an endpoint that was written for the incumbent's interface, which writes payloads and reads events one by one.

It is a stranger's code: whatever it raises or returns ends here.
"""

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from aiperf.config.endpoint import Endpoint as Options
from aiperf.endpoints import models, openai, sse
from aiperf.errors import AiperfError, ClientError
from aiperf.plugin.border import border, told
from aiperf.plugin.returned import shown
from aiperf.plugin.types import PluginEntry, PluginError
from aiperf.seams import Answer, Said
from aiperf.workload import Turn

_BINARY = re.compile(r"\s*(image|audio|video|font)/|\s*application/(octet-stream|pdf|zip)", re.IGNORECASE)


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
            names = [f"get_endpoint_{what}" for what in Worn._fields]
            if not all(hasattr(self._plugin, name) for name in names):
                return None
            said = [self.mapping(name, getattr(self._plugin, name)(asked)) for name in names]
            return Worn(*({str(key): str(value) for key, value in one.items()} for one in said))

    def body(self, turn: Turn) -> bytes:
        """What the plugin makes of a turn; a payload is sent untouched. Raises ClientError."""
        if turn.payload is not None:
            return turn.payload
        try:
            with border(self._entry):
                return self._written(turn)
        except AiperfError as exc:
            raise ClientError(self._told(exc)) from exc

    def _written(self, turn: Turn) -> bytes:
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
        if (error := openai.error_of(answer.status)) is not None:
            return Said(error=error, reason=openai.body_sample(answer.bodies))
        try:
            with border(self._entry):
                return _Reading(self, answer).read()
        except AiperfError as exc:
            return Said(error="client", reason=self._told(exc))

    def _told(self, exc: AiperfError) -> str:
        label = f"{self._entry.label}: "
        return label + told(exc).removeprefix(label)

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


class _Reading:
    """What has been understood of an answer so far."""

    def __init__(self, foreign: Foreign, answer: Answer) -> None:
        self._foreign, self._answer, self._said = foreign, answer, Said()
        self._strand, self._more = openai.Strand(), dict[str, Any]()
        self._found = self._done = False

    def read(self) -> Said:
        """All of it, of a stream up to [DONE] if there is one; one in which nothing was found, or that broke off, is an error."""
        answer, said, events = self._answer, self._said, _events(self._answer)
        for place, data in enumerate(events.data):
            channel = self._event(_response(answer, events, place), data, failed=events.names.get(place) == b"error")
            said.channels.append(channel)
            if self._done:
                break
        count = len(said.channels)
        said.reads, said.at_end, said.tokens = events.reads[:count], events.at_end[:count], [0] * count
        if not self._found:
            kind = "malformed" if answer.complete else "truncated"
            openai.fail(self._said, kind, f"the plugin found nothing in it: {openai.body_sample(answer.bodies)}")
        if not (answer.complete or self._done or said.finish_reason):
            openai.fail(self._said, "truncated", "the answer broke off")
        said.plugin = self._more or None
        return openai.summed_up(said, [self._strand])

    def _event(self, response: models.InferenceServerResponse, data: bytes, *, failed: bool = False) -> int:
        """The channel of an event, or of all."""
        if data.strip() == b"[DONE]":
            self._done = True
            return openai.DONE
        marks = found if isinstance(found := response.get_json(), dict) else {}
        if failed or marks.get("error"):
            return openai.fail(self._said, "error_event", openai.sample(data))
        self._note(marks)
        parsed = self._foreign._plugin.parse_response(response)
        if parsed is None:
            return openai.ROLE
        if not hasattr(parsed, "data"):
            raise self._foreign.refused("parse_response", shown(parsed))
        if usage := getattr(parsed, "usage", None):
            for name, count in openai.counts(usage).items():
                setattr(self._said, name, count)
        self._more.update(self._foreign.mapping("parse_response", getattr(parsed, "metadata", None), "metadata that is "))
        return self._channel(parsed.data) if parsed.data is not None else openai.USAGE if usage else openai.ROLE

    def _note(self, marks: Mapping[str, Any]) -> None:
        """What an event may say of itself in the usual places, whoever reads the rest."""
        choices, model = marks.get("choices"), marks.get("model")
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        if reason := marks.get("finish_reason") or first.get("finish_reason"):
            self._said.finish_reason = str(reason)
        if self._said.model is None and isinstance(model, str):
            self._said.model = model

    def _channel(self, data: Any) -> int:
        self._found = True
        text = data.get_text()
        if not isinstance(text, str):
            raise self._foreign.refused("parse_response", f"data whose text is {shown(text)}")
        if not text:
            return openai.ROLE
        if isinstance(data, models.ReasoningResponseData | models.ToolCallResponseData) and not data.content:
            self._strand.aside.append(text)
            return openai.REASONING if isinstance(data, models.ReasoningResponseData) else openai.TOOL_CALL
        self._strand.content.append(text)
        return openai.CONTENT


def described(options: Options, *, model: str, exact: bool, usage: bool) -> models.ModelEndpointInfo:
    """The endpoint of an experiment as that interface describes one."""
    endpoint = models.EndpointInfo(
        type=options.type, base_urls=list(options.url), custom_endpoint=options.path, streaming=options.streaming,
        headers=list(options.headers.items()), api_key=options.api_key, timeout=options.timeout_s.total,
        extra=list(options.extra.items()), exact=exact, use_server_token_count=usage,
    )  # fmt: skip
    return models.ModelEndpointInfo(models={"models": [{"name": model}]}, endpoint=endpoint)


def _events(answer: Answer) -> sse.Events:
    """Those of a stream, or the whole body as one."""
    if not sse.is_stream(answer.content_type):
        reads = [i for i, one in enumerate(answer.bodies) if one][-1:]
        return sse.Events([b"".join(answer.bodies)] * len(reads), reads, [True] * len(reads))
    events = sse.split(answer.bodies)
    if events.unfinished and not answer.complete:
        events.drop_last()
    return events


def _response(answer: Answer, events: sse.Events, place: int) -> models.InferenceServerResponse:
    """An event as a plugin is handed it."""
    data, read, name = events.data[place], events.reads[place], events.names.get(place)
    at = answer.stamps[read] if read < len(answer.stamps) else 0
    if sse.is_stream(answer.content_type):
        fields = [("data", data)] if name is None else [("event", name), ("data", data)]
        return models.SSEMessage(at, [models.SSEField(key, value.decode("utf-8", "replace")) for key, value in fields])
    if _BINARY.match(answer.content_type or ""):
        return models.BinaryResponse(at, data, answer.content_type)
    return models.TextResponse(at, data.decode("utf-8", "replace"), answer.content_type)
