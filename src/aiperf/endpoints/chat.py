"""OpenAI chat completions: what a request says in messages, and what a choice says in its delta or its message."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from aiperf.endpoints.openai import CONTENT, REASONING, ROLE, TOOL_CALL, Generating, Strand, events_of
from aiperf.errors import ClientError
from aiperf.workload import Turn


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


class _TokenDelta(msgspec.Struct, gc=False):
    content: Annotated[str, msgspec.Meta(min_length=1)]
    reasoning_content: None = None
    reasoning: None = None


class _Token(msgspec.Struct, gc=False):
    delta: _TokenDelta
    finish_reason: Literal[""] | None = None
    index: Literal[0] = 0


class ChatEndpoint(Generating):
    """`/v1/chat/completions`."""

    token_hint = rb'"delta"\s*:\s*\{[^{}]*"(?:(?:content|reasoning_content|reasoning)"\s*:\s*"[^"]|tool_calls"\s*:\s*\[\s*\{)'
    event = events_of(_Choice)
    token = events_of(_Token, plain=True)
    texts = staticmethod(lambda tokens: [one.choices[0].delta.content for one in tokens])
    whole = events_of(_Told)

    def said(self, turn: Turn) -> Mapping[str, Any]:
        """Messages and tools as they stand, several texts as the parts of one message."""
        if turn.messages is None and not turn.texts:
            raise ClientError("the turn holds neither a text nor messages, which a chat request needs")
        content: Any = turn.text if len(turn.texts) == 1 else [{"type": "text", "text": text} for text in turn.texts]
        messages = [{"role": turn.role, "content": content}] if turn.messages is None else turn.messages
        return {"messages": messages} if turn.tools is None else {"messages": messages, "tools": turn.tools}

    @staticmethod
    def look(choice: _Choice, strand: Strand) -> int:
        """What is content, reasoning, a refusal or a tool call."""
        if (delta := choice.delta) is None:
            return ROLE
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning:
            strand.aside.append(_text(reasoning))
        if content := delta.content or delta.refusal:
            strand.content.append(content if type(content) is str else _text(content))
            return CONTENT
        if delta.tool_calls:
            strand.aside.append(_called(delta.tool_calls))
            return TOOL_CALL
        return REASONING if reasoning else ROLE


def _text(value: Any) -> str:
    """A text, or those of its parts, as some servers send it."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _called(calls: Any) -> str:
    """The names and arguments of tool calls, which are generated too."""
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return "".join(_text(said.get(key)) for said in functions if isinstance(said, dict) for key in ("name", "arguments"))
