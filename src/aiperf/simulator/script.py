"""The bytes of answers on the chat API, made once a request so that a token costs nothing but its sending. Pure."""

from http import HTTPStatus
from typing import Any

import msgspec

from aiperf.simulator.chat import Plan, Refusal

_EVENT = b'data: {"id":"chatcmpl-%d","object":"chat.completion.chunk","created":%d,"model":%s,"choices":[%s]%s}\n\n'
_CHOICE = b'{"index":0,"delta":{%s},"finish_reason":%s}'
_DONE = b"data: [DONE]\n\n"
_LAST_CHUNK = b"0\r\n\r\n"
_ERROR = {"message": "the simulated engine failed", "type": "InternalServerError", "code": 500}
_ERROR_EVENT = b"data: %s\n\n" % msgspec.json.encode({"error": _ERROR})
_WORD, _THOUGHT = " word", " thought"

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
FAILED = Refusal(500, str(_ERROR["message"]), "InternalServerError")


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(event), event)


class Script:
    """The bytes of one streamed answer, an HTTP chunk an event: `role`, `thought` and `word` (a token each) and `end`."""

    __slots__ = ("end", "role", "thought", "word")

    def __init__(self, plan: Plan, serial: int, created_s: int, model: bytes) -> None:
        def event(delta: bytes, finish: bytes = b"null") -> bytes:
            return _chunk(_EVENT % (serial, created_s, model, _CHOICE % (delta, finish), b""))

        self.role = event(b'"role":"assistant","content":""')
        self.word = event(b'"content":"%s"' % _WORD.encode())
        self.thought = event(b'"reasoning_content":"%s"' % _THOUGHT.encode()) if plan.reasoning else b""
        if plan.fault == "truncated":
            self.end = b""
        elif plan.fault == "error_event":
            self.end = _chunk(_ERROR_EVENT) + _LAST_CHUNK
        else:
            usage = _chunk(_EVENT % (serial, created_s, model, b"", b',"usage":' + _usage(plan))) if plan.usage else b""
            self.end = event(b"", b'"length"' if plan.limited else b'"stop"') + usage + _chunk(_DONE) + _LAST_CHUNK


def _usage(plan: Plan) -> bytes:
    counts: dict[str, Any] = {
        "prompt_tokens": plan.prompt_tokens,
        "completion_tokens": plan.tokens,
        "total_tokens": plan.prompt_tokens + plan.tokens,
    }
    return msgspec.json.encode(counts | ({"completion_tokens_details": {"reasoning_tokens": plan.reasoning}} if plan.reasoning else {}))


def whole_answer(plan: Plan, serial: int, created_s: int, model: str) -> bytes:
    """The body of an answer that is not streamed."""
    message = {"role": "assistant", "content": _WORD * (plan.tokens - plan.reasoning)}
    thoughts = {"reasoning_content": _THOUGHT * plan.reasoning} if plan.reasoning else {}
    choice = {"index": 0, "message": message | thoughts, "finish_reason": "length" if plan.limited else "stop"}
    said = {"id": f"chatcmpl-{serial}", "object": "chat.completion", "created": created_s, "model": model, "choices": [choice]}
    return msgspec.json.encode(said | ({"usage": msgspec.Raw(_usage(plan))} if plan.usage else {}))


def http_answer(status: int, body: bytes, content_type: bytes = b"application/json") -> bytes:
    """A whole HTTP answer of known length."""
    reason = HTTPStatus(status).phrase.encode()
    return b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, reason, content_type, len(body), body)


def refused(refusal: Refusal) -> bytes:
    """The HTTP answer to what cannot be had, in the error schema of the API."""
    error = {"message": refusal.message, "type": refusal.kind, "code": refusal.status}
    return http_answer(refusal.status, msgspec.json.encode({"error": error}))
