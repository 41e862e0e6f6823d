"""The bytes of answers, made once a request so that a token costs nothing but its sending. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from aiperf.simulator.plan import Api, Plan, Refusal

_EVENT = b'data: {"id":"%s-%d","object":"%s","created":%d,"model":%s,"choices":['
_DONE = b"data: [DONE]\n\n"
_LAST_CHUNK = b"0\r\n\r\n"
WORD, _THOUGHT = b" word", b" thought"
_ERROR = {"message": "the simulated engine failed", "type": "InternalServerError", "code": 500}

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
ENDLESS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
FAILED = Refusal(500, str(_ERROR["message"]), "InternalServerError")
ERROR_BODY = msgspec.json.encode({"error": _ERROR})
"""An answer in one piece that is an error, in spite of its status."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How an API says things: the objects' names and id, a choice with index, words and reason, and the words."""

    id: bytes
    streamed: bytes
    whole: str
    choice: bytes
    role: bytes
    thought: bytes
    word: bytes
    nothing: bytes


_FORMS: Mapping[Api, _Form] = {
    "chat": _Form(
        b"chatcmpl", b"chat.completion.chunk", "chat.completion", b'{"index":%d,"delta":{%s},"finish_reason":%s}',
        role=b'"role":"assistant","content":""', thought=b'"reasoning_content":"%s"',
        word=b'"content":"%s"', nothing=b"",
    ),
    "completions": _Form(
        b"cmpl", b"text_completion", "text_completion", b'{"index":%d,%s,"logprobs":null,"finish_reason":%s}',
        role=b"", thought=b"", word=b'"text":"%s"', nothing=b'"text":""',
    ),
}  # fmt: skip


def chunk(data: bytes) -> bytes:
    """An HTTP chunk of these bytes."""
    return b"%x\r\n%s\r\n" % (len(data), data)


_END = chunk(_DONE) + _LAST_CHUNK
_ERRORS: Mapping[str | None, bytes] = {
    "error_event": chunk(b"data: %s\n\n" % ERROR_BODY) + _LAST_CHUNK,
    "error_named": chunk(b"event: error\ndata: %s\n\n" % msgspec.json.encode(_ERROR)) + _LAST_CHUNK,
}
OPEN_ENDED = ("truncated", "reset_mid", "stall")


class Script:
    """The bytes of one streamed answer, an HTTP chunk an event: `role`, `thought` and `word` (a token of each choice) and `end`."""

    __slots__ = ("_choices", "_form", "_joined", "_start", "end", "role", "thought", "word")

    def __init__(self, plan: Plan, serial: int, created_s: int, model: str) -> None:
        form = self._form = _FORMS[plan.api]
        start = self._start = _EVENT % (form.id, serial, form.streamed, created_s, msgspec.json.encode(model))
        self._choices, self._joined = plan.choices, plan.joined
        self.role = self._each(form.role) if form.role else b""
        self.word = self._each(form.word % WORD)
        self.thought = self._each(form.thought % _THOUGHT) if plan.reasoning else b""
        if plan.fault in _ERRORS:
            self.end = _ERRORS[plan.fault]
        elif plan.fault in OPEN_ENDED:
            self.end = b""
        else:
            usage = chunk(b'%s],"usage":%s}\n\n' % (start, _usage(plan))) if plan.usage else b""
            self.end = self._each(form.nothing, b'"length"' if plan.limited else b'"stop"') + usage + _END
        if plan.fault == "malformed":
            self.end = chunk(start + b"\n\n") + self.end

    def tokens(self, thoughts: int, words: int) -> bytes:
        """What comes out together: an event for each token, or, where they are joined, for those of a kind."""
        if not self._joined:
            return self.thought * thoughts + self.word * words
        form = self._form
        thought = self._each(form.thought % (_THOUGHT * thoughts)) if thoughts else b""
        return thought + (self._each(form.word % (WORD * words)) if words else b"")

    def _each(self, said: bytes, finish: bytes = b"null") -> bytes:
        """An event for every choice."""
        start, form = self._start, self._form
        return b"".join([chunk(b"%s%s]}\n\n" % (start, form.choice % (index, said, finish))) for index in range(self._choices)])


def _usage(plan: Plan) -> bytes:
    generated = plan.tokens * plan.choices
    total = plan.prompt_tokens + generated
    counts: dict[str, Any] = {"prompt_tokens": plan.prompt_tokens, "completion_tokens": generated, "total_tokens": total}
    return msgspec.json.encode(counts | ({"completion_tokens_details": {"reasoning_tokens": plan.reasoning}} if plan.reasoning else {}))


def whole_answer(plan: Plan, serial: int, created_s: int, model: str) -> bytes:
    """The body of an answer that is not streamed."""
    form, finish = _FORMS[plan.api], "length" if plan.limited else "stop"
    said = _message(plan) if plan.api == "chat" else {"text": WORD.decode() * plan.tokens, "logprobs": None}
    choices = [{"index": index, **said, "finish_reason": finish} for index in range(plan.choices)]
    answer = {"id": f"{form.id.decode()}-{serial}", "object": form.whole, "created": created_s, "model": model, "choices": choices}
    return msgspec.json.encode(answer | ({"usage": msgspec.Raw(_usage(plan))} if plan.usage else {}))


def _message(plan: Plan) -> dict[str, Any]:
    thoughts = {"reasoning_content": _THOUGHT.decode() * plan.reasoning} if plan.reasoning else {}
    return {"message": {"role": "assistant", "content": WORD.decode() * (plan.tokens - plan.reasoning), **thoughts}}


def http_answer(status: int, body: bytes, content_type: bytes = b"application/json", *, extra: bytes = b"") -> bytes:
    """A whole HTTP answer of known length; `extra` are header lines, each with its end. An empty body has no type."""
    said = b"Content-Type: %s\r\n" % content_type if body else b""
    reason = HTTPStatus(status).phrase.encode()
    return b"HTTP/1.1 %d %s\r\n%s%sContent-Length: %d\r\n\r\n%s" % (status, reason, said, extra, len(body), body)


def refused(refusal: Refusal, *, extra: bytes = b"") -> bytes:
    """The HTTP answer to what cannot be had, in the error schema of the API."""
    error = {"message": refusal.message, "type": refusal.kind, "code": refusal.status}
    return http_answer(refusal.status, msgspec.json.encode({"error": error}), extra=extra)
