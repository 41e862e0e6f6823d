"""What the body of a request asks for, and the bytes of its answer, made once a request so that a token costs its sending alone. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus
from itertools import chain, islice, repeat
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from aiperf.config.simulator import Simulator
from aiperf.simulator.draws import too_long

Api = Literal["chat", "completions"]

_MOST = 1_000_000
_SHORT = 2_000
_SPACES = np.isin(np.arange(256), [*range(9, 14), *range(28, 33)])

OPEN_ENDED = ("truncated", "reset_mid", "stall")
_HALVED = frozenset({"error_event", "error_named", "malformed", *OPEN_ENDED})
UNCUT = frozenset({None, "slow_headers", "close_after", "close_idle"})
"""Faults: those after which an answer has no end, and those after which it is whole."""

_Count = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]
_Id = Annotated[int, msgspec.Meta(ge=0)]
_Ids = Annotated[list[_Id], msgspec.Meta(min_length=1)]
_Prompts = Sequence[Sequence[str] | Sequence[int]]


class _Wanted(msgspec.Struct, kw_only=True):
    """What every body says, as far as it matters here; keys that do not are passed over."""

    model: str
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    max_tokens: _Count | None = None
    min_tokens: Annotated[int, msgspec.Meta(ge=0, le=_MOST)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=1)] | None = None


class _Part(msgspec.Struct):
    """A part of a message; parts without text (pictures, audio) count for nothing."""

    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _Chat(_Wanted, kw_only=True):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: _Count | None = None

    def prompts(self) -> _Prompts:
        """One, of all messages; a text part is a text of its own."""
        contents = (message.content or "" for message in self.messages)
        return [[text for said in contents for text in ([said] if isinstance(said, str) else [part.text for part in said])]]


class _Completion(_Wanted, kw_only=True):
    """A prompt is a text or ids of tokens, or a list of either."""

    prompt: str | Annotated[list[str | _Id | _Ids], msgspec.Meta(min_length=1)]
    echo: Literal[False] | None = None

    def prompts(self) -> _Prompts:
        """Each as texts or as ids. Raises ValidationError for a list that mixes texts, ids and lists of ids."""
        prompt = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if len(set(map(type, prompt))) > 1:
            raise msgspec.ValidationError("a prompt is a text, texts, ids of tokens or lists of ids, not several of these")
        ids = [part for part in prompt if isinstance(part, int)]
        return [ids] if ids else [[part] if isinstance(part, str) else part for part in prompt if not isinstance(part, int)]


_READ: Mapping[Api, Any] = {"chat": msgspec.json.Decoder(_Chat), "completions": msgspec.json.Decoder(_Completion)}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is an error, known before any token."""

    status: int
    message: str
    kind: str = "BadRequestError"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be answered, and how it will end. `tokens` and `reasoning` are those of each choice, before a fault.

    `joined` tokens that come out together are one event, others one each.
    """

    api: Api
    prompt_tokens: int
    tokens: int
    reasoning: int
    limited: bool
    streamed: bool
    usage: bool
    choices: int
    fault: str | None
    blocks: tuple[int, ...] = ()
    joined: bool = False

    @property
    def brought_forth(self) -> int:
        """The tokens of each choice that come out before it ends: half of them (at least 1) if it is cut, 1 if it fails at the first."""
        if self.fault in UNCUT:
            return self.tokens
        return max(1, self.tokens // 2) if self.fault in _HALVED else 1


def planned(api: Api, body: bytes, options: Simulator, fault: str | None = None) -> Plan | Refusal:
    """The plan for a body; `fault` is what is to go wrong. A word or an id is a token; a chat's template has some of its own ahead."""
    try:
        wanted: _Chat | _Completion = _READ[api].decode(body)
        prompts = wanted.prompts()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:  # no JSON or another shape, no UTF-8, nested too deep
        return Refusal(400, f"the body cannot be used: {exc}")
    if wanted.model != options.model:
        return Refusal(404, f"the model {wanted.model!r} does not exist; there is {options.model!r}", "NotFoundError")
    longer, ahead = (wanted.max_completion_tokens, options.template_tokens) if isinstance(wanted, _Chat) else (None, 0)
    least, limit = wanted.min_tokens or 0, longer or wanted.max_tokens
    if limit is not None and least > limit:
        return Refusal(400, f"min_tokens={least} is more than max_tokens={limit}")
    tokens = limit or max(options.tokens, least)
    prompt_tokens = sum(word_count(part) if isinstance(part, str) else 1 for prompt in prompts for part in prompt) + ahead
    if (problem := too_long(options, prompt_tokens, tokens)) is not None:
        return Refusal(400, problem)
    return Plan(
        api=api,
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        reasoning=round(options.reasoning * tokens) if api == "chat" else 0,
        limited=limit is not None,
        streamed=bool(wanted.stream),
        usage=options.usage and (not wanted.stream or bool((wanted.stream_options or {}).get("include_usage"))),
        choices=len(prompts),
        fault=fault,
        blocks=_blocks(prompts, options, ahead) if options.prefix_cache else (),
        joined=options.speculative is not None,
    )


def _blocks(prompts: _Prompts, options: Simulator, ahead: int) -> tuple[int, ...]:
    """Of all prompts in a row."""
    words = (word for prompt in prompts for part in prompt for word in (part.split() if isinstance(part, str) else [str(part)]))
    return tuple(block_hashes(chain(repeat("<template>", ahead), words), options.block_tokens))


def block_hashes(words: Iterator[str], block_tokens: int) -> Iterator[int]:
    """A hash of each whole block of words and all that stands before it; the same on every machine."""
    digest = b""
    while len(block := list(islice(words, block_tokens))) == block_tokens:
        digest = blake2b(digest + " ".join(block).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        yield int.from_bytes(digest, "little")


def word_count(text: str) -> int:
    """`len(text.split())`, at a fiftieth of the cost for long ASCII."""
    if len(text) < _SHORT or not text.isascii():
        return len(text.split())
    spaces = _SPACES[np.frombuffer(text.encode("ascii"), np.uint8)]
    return int(np.count_nonzero(spaces[:-1] & ~spaces[1:])) + (not spaces[0])


def chunk(data: bytes) -> bytes:
    """An HTTP chunk of these bytes."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def http_answer(status: int, body: bytes, content_type: bytes = b"application/json", *, extra: bytes = b"") -> bytes:
    """A whole HTTP answer of known length; `extra` are header lines, each with its end. An empty body has no type."""
    said = b"Content-Type: %s\r\n" % content_type if body else b""
    made = (status, HTTPStatus(status).phrase.encode(), said, extra, len(body), body)
    return b"HTTP/1.1 %d %s\r\n%s%sContent-Length: %d\r\n\r\n%s" % made


def refused(refusal: Refusal, *, extra: bytes = b"") -> bytes:
    """The HTTP answer to what cannot be had, in the error schema of the API."""
    error = {"message": refusal.message, "type": refusal.kind, "code": refusal.status}
    return http_answer(refusal.status, _encode({"error": error}), extra=extra)


_encode = msgspec.json.Encoder().encode
_ERROR = {"message": "the simulated engine failed", "type": "InternalServerError", "code": 500}
ERROR_BODY = _encode({"error": _ERROR})
"""An answer in one piece that is an error; also in spite of its status."""
WORD, _THOUGHT = b" word", b" thought"
_LAST_CHUNK = b"0\r\n\r\n"
_DONE = chunk(b"data: [DONE]\n\n") + _LAST_CHUNK
_NO_JSON = chunk(b'data: {"id":\n\n')
_ENDS: Mapping[str | None, bytes] = {
    "error_event": chunk(b"data: %s\n\n" % ERROR_BODY) + _LAST_CHUNK,
    "error_named": chunk(b"event: error\ndata: %s\n\n" % _encode(_ERROR)) + _LAST_CHUNK,
    **dict.fromkeys(OPEN_ENDED, b""),
}
_ROLE, _REASONED = b'"role":"assistant"', b'"reasoning_content":"%s"'
_TEXT = (b"cmpl", b"text_completion", b'{"index":%d,%s,"logprobs":null,"finish_reason":%s}', b'"text":"%s"')
_FORMS: Mapping[tuple[Api, bool], tuple[bytes, bytes, bytes, bytes]] = {
    ("chat", True): (b"chatcmpl", b"chat.completion.chunk", b'{"index":%d,"delta":{%s},"finish_reason":%s}', b'"content":"%s"'),
    ("chat", False): (b"chatcmpl", b"chat.completion", b'{"index":%d,"message":{%s},"finish_reason":%s}', _ROLE + b',"content":"%s"'),
    ("completions", True): _TEXT,
    ("completions", False): _TEXT,
}
"""By API, and whether it is streamed: the ids' beginning, the object, a choice with its index, words and reason, and the words."""


def _begun(plan: Plan, serial: int, created_s: int, model: str) -> tuple[bytes, bytes, bytes, bytes]:
    """How all that is said of an answer begins, the forms of a choice and of words, and why it will end."""
    name, kind, choice, words = _FORMS[plan.api, plan.streamed]
    start = b'{"id":"%s-%d","object":"%s","created":%d,"model":%s,"choices":[' % (name, serial, kind, created_s, _encode(model))
    return start, choice, words, b'"length"' if plan.limited else b'"stop"'


def _usage(plan: Plan) -> bytes:
    """Behind the choices, with the end of all."""
    if not plan.usage:
        return b"]}"
    generated = plan.tokens * plan.choices
    counts = {"prompt_tokens": plan.prompt_tokens, "completion_tokens": generated, "total_tokens": plan.prompt_tokens + generated}
    thought = {"completion_tokens_details": {"reasoning_tokens": plan.reasoning}} if plan.reasoning else {}
    return b'],"usage":%s}' % _encode(counts | thought)


class Script:
    """The bytes of one streamed answer, an HTTP chunk an event: `role`, `thought` and `word` (a token of each choice) and `end`."""

    __slots__ = ("_choice", "_choices", "_joined", "_start", "_words", "end", "role", "thought", "word")

    def __init__(self, plan: Plan, serial: int, created_s: int, model: str) -> None:
        self._choices, self._joined = range(plan.choices), plan.joined
        self._start, self._choice, self._words, finish = _begun(plan, serial, created_s, model)
        is_chat = plan.api == "chat"
        self.role = self._each(_ROLE + b',"content":""') if is_chat else b""
        self.thought = self._each(_REASONED % _THOUGHT) if plan.reasoning else b""
        self.word = self._each(self._words % WORD)
        end = self._each(b"" if is_chat else self._words % b"", finish)
        end += (chunk(b"data: %s%s\n\n" % (self._start, _usage(plan))) if plan.usage else b"") + _DONE
        self.end = _NO_JSON + end if plan.fault == "malformed" else _ENDS.get(plan.fault, end)

    def tokens(self, thoughts: int, words: int) -> bytes:
        """What comes out together: an event for each token, or, where they are joined, for those of a kind."""
        if not self._joined:
            return self.thought * thoughts + self.word * words
        thought = self._each(_REASONED % (_THOUGHT * thoughts)) if thoughts else b""
        return thought + (self._each(self._words % (WORD * words)) if words else b"")

    def _each(self, said: bytes, finish: bytes = b"null") -> bytes:
        """An event for every choice."""
        start, choice = self._start, self._choice
        return b"".join([chunk(b"data: %s%s]}\n\n" % (start, choice % (index, said, finish))) for index in self._choices])


def whole_answer(plan: Plan, serial: int, created_s: int, model: str) -> bytes:
    """The body of an answer that is not streamed."""
    start, choice, words, finish = _begun(plan, serial, created_s, model)
    said = words % (WORD * (plan.tokens - plan.reasoning))
    said += b"," + _REASONED % (_THOUGHT * plan.reasoning) if plan.reasoning else b""
    choices = b",".join([choice % (index, said, finish) for index in range(plan.choices)])
    return b"%s%s%s" % (start, choices, _usage(plan))
