"""OpenAI chat completions: what a request says in messages, and what a choice says in its delta or its message."""

from collections.abc import Mapping
from typing import Any

import msgspec

from aiperf.config.endpoint import Endpoint as Options
from aiperf.endpoints.openai import Api, Asking, Chunk, Strand
from aiperf.errors import ClientError
from aiperf.seams import Answer, Said
from aiperf.workload import Turn

_REASONED, _CALLED, _CONTENT = 1, 2, 3  # places in RANKED


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: Any = None
    index: Any = 0


class _Told(_Choice, gc=False):
    delta: _Delta | None = msgspec.field(default=None, name="message")


class _Chunk(Chunk, gc=False):
    choices: list[_Choice] | None = None


class _Whole(Chunk, gc=False):
    choices: list[_Told] | None = None


class ChatEndpoint:
    """`/v1/chat/completions`; `exact` asks for answers of exactly the wanted length, which vLLM and its kin understand."""

    token_hint = rb'"delta"\s*:\s*\{[^{}]*"(?:(?:content|reasoning_content|reasoning)"\s*:\s*"[^"]|tool_calls"\s*:\s*\[\s*\{)'

    def __init__(self, options: Options, *, model: str, exact: bool, usage: bool = True) -> None:
        self._asking = Asking(options, model=model, exact=exact, usage=usage)

    def body(self, turn: Turn) -> bytes:
        """The request as JSON; messages and tools as they stand, several texts as the parts of one message. Raises ClientError."""
        return self._asking.body(turn, _said)

    def answer(self, answer: Answer) -> Said:
        """What the bytes say, streamed (by content type) or whole."""
        return _API.answer(answer)


def _said(turn: Turn) -> Mapping[str, Any]:
    messages = [{"role": turn.role, "content": _content(turn)}] if turn.messages is None else turn.messages
    return {"messages": messages} if turn.tools is None else {"messages": messages, "tools": turn.tools}


def _content(turn: Turn) -> str | list[dict[str, str]]:
    if not turn.texts:
        raise ClientError("the turn holds neither a text nor messages, which a chat request needs")
    return turn.text if len(turn.texts) == 1 else [{"type": "text", "text": text} for text in turn.texts]


def _look(choice: _Choice, strand: Strand) -> int:
    if (delta := choice.delta) is None:
        return 0
    reasoning = delta.reasoning_content or delta.reasoning
    if reasoning:
        strand.aside.append(_text(reasoning))
    if content := delta.content:
        strand.content.append(content if type(content) is str else _text(content))
        return _CONTENT
    if delta.refusal:
        strand.content.append(_text(delta.refusal))
        return _CONTENT
    if delta.tool_calls:
        strand.aside.append(_called(delta.tool_calls))
        return _CALLED
    return _REASONED if reasoning else 0


def _text(value: Any) -> str:
    """A text, or those of its parts, as some servers send it."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _called(calls: Any) -> str:
    """The names and arguments of tool calls, which are generated too."""
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return "".join(_text(said.get(key)) for said in functions if isinstance(said, dict) for key in ("name", "arguments"))


_API = Api(msgspec.json.Decoder(_Chunk).decode, msgspec.json.Decoder(_Whole).decode, _look)
