"""The bytes of answers, made once a request so that a token costs nothing but its sending. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from aiperf.simulator.draws import Fault
from aiperf.simulator.plan import Api, Plan, Refusal

_EVENT = b'data: {"id":"%s-%d","object":"%s","created":%d,"model":%s,"choices":['
_DONE = b"data: [DONE]\n\n"
_LAST_CHUNK = b"0\r\n\r\n"
_WORD, _THOUGHT = " word", " thought"
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
        role=b'"role":"assistant","content":""', thought=b'"reasoning_content":"%s"' % _THOUGHT.encode(),
        word=b'"content":"%s"' % _WORD.encode(), nothing=b"",
    ),
    "completions": _Form(
        b"cmpl", b"text_completion", "text_completion", b'{"index":%d,%s,"logprobs":null,"finish_reason":%s}',
        role=b"", thought=b"", word=b'"text":"%s"' % _WORD.encode(), nothing=b'"text":""',
    ),
}  # fmt: skip


def chunk(data: bytes) -> bytes:
    """An HTTP chunk of these bytes."""
    return b"%x\r\n%s\r\n" % (len(data), data)


_END = chunk(_DONE) + _LAST_CHUNK
_ERRORS: Mapping[Fault | None, bytes] = {
    "error_event": chunk(b"data: %s\n\n" % ERROR_BODY) + _LAST_CHUNK,
    "error_named": chunk(b"event: error\ndata: %s\n\n" % msgspec.json.encode(_ERROR)) + _LAST_CHUNK,
}
_OPEN_ENDED = ("truncated", "reset_mid", "stall")


class Script:
    """The bytes of one streamed answer, an HTTP chunk an event: `role`, `thought` and `word` (a token of each choice) and `end`."""

    __slots__ = ("end", "role", "thought", "word")

    def __init__(self, plan: Plan, serial: int, created_s: int, model: bytes) -> None:
        form = _FORMS[plan.api]
        start = _EVENT % (form.id, serial, form.streamed, created_s, model)

        def each(said: bytes, finish: bytes = b"null") -> bytes:
            if plan.choices == 1:
                return chunk(b"%s%s]}\n\n" % (start, form.choice % (0, said, finish)))
            return b"".join([chunk(b"%s%s]}\n\n" % (start, form.choice % (index, said, finish))) for index in range(plan.choices)])

        self.role = each(form.role) if form.role else b""
        self.word = each(form.word)
        self.thought = each(form.thought) if plan.reasoning else b""
        if plan.fault in _ERRORS:
            self.end = _ERRORS[plan.fault]
        elif plan.fault in _OPEN_ENDED:
            self.end = b""
        else:
            usage = chunk(b'%s],"usage":%s}\n\n' % (start, _usage(plan))) if plan.usage else b""
            self.end = each(form.nothing, b'"length"' if plan.limited else b'"stop"') + usage + _END
        if plan.fault == "malformed":
            self.end = chunk(start + b"\n\n") + self.end


def _usage(plan: Plan) -> bytes:
    generated = plan.tokens * plan.choices
    counts: dict[str, Any] = {
        "prompt_tokens": plan.prompt_tokens,
        "completion_tokens": generated,
        "total_tokens": plan.prompt_tokens + generated,
    }
    return msgspec.json.encode(counts | ({"completion_tokens_details": {"reasoning_tokens": plan.reasoning}} if plan.reasoning else {}))


def whole_answer(plan: Plan, serial: int, created_s: int, model: str) -> bytes:
    """The body of an answer that is not streamed."""
    form, finish = _FORMS[plan.api], "length" if plan.limited else "stop"
    said = _message(plan) if plan.api == "chat" else {"text": _WORD * plan.tokens, "logprobs": None}
    choices = [{"index": index, **said, "finish_reason": finish} for index in range(plan.choices)]
    answer = {"id": f"{form.id.decode()}-{serial}", "object": form.whole, "created": created_s, "model": model, "choices": choices}
    return msgspec.json.encode(answer | ({"usage": msgspec.Raw(_usage(plan))} if plan.usage else {}))


def _message(plan: Plan) -> dict[str, Any]:
    thoughts = {"reasoning_content": _THOUGHT * plan.reasoning} if plan.reasoning else {}
    return {"message": {"role": "assistant", "content": _WORD * (plan.tokens - plan.reasoning), **thoughts}}


def endless_answer(plan: Plan, serial: int, created_s: int, model: str) -> bytes:
    """The beginning of such a body, up to its first word, as a chunk."""
    return chunk(whole_answer(plan, serial, created_s, model).partition(_WORD.encode())[0])


def endless_words(count: int) -> bytes:
    """So many words of an answer that is not streamed, as a chunk."""
    return chunk(_WORD.encode() * count)


def http_answer(status: int, body: bytes, content_type: bytes = b"application/json", *, extra: bytes = b"") -> bytes:
    """A whole HTTP answer of known length; `extra` are header lines, each with its end. An empty body has no type."""
    said = b"Content-Type: %s\r\n" % content_type if body else b""
    reason = HTTPStatus(status).phrase.encode()
    return b"HTTP/1.1 %d %s\r\n%s%sContent-Length: %d\r\n\r\n%s" % (status, reason, said, extra, len(body), body)


def refused(refusal: Refusal, *, extra: bytes = b"") -> bytes:
    """The HTTP answer to what cannot be had, in the error schema of the API."""
    error = {"message": refusal.message, "type": refusal.kind, "code": refusal.status}
    return http_answer(refusal.status, msgspec.json.encode({"error": error}), extra=extra)
