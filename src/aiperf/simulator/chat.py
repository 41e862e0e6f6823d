"""What a request on the chat API asks for: its body read and checked. Pure."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from aiperf.config.simulator import Simulator
from aiperf.simulator.draws import Fault
from aiperf.simulator.plan import UNREADABLE, Count, Plan, Refusal, Wanted, planned, unreadable, words_in


class Part(msgspec.Struct):
    """A part of a message; parts without text (pictures, audio) count for nothing."""

    type: str = "text"
    text: str = ""


class Message(msgspec.Struct):
    """What one side said."""

    role: str
    content: str | list[Part] | None = None


class Chat(Wanted, kw_only=True):
    """The body of a request on `/v1/chat/completions`."""

    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: Count | None = None


_read = msgspec.json.Decoder(Chat).decode


def prompt_words(messages: Sequence[Message]) -> int:
    """Words of all messages; a text part is a text of its own."""
    contents = (message.content or "" for message in messages)
    texts = ([content] if isinstance(content, str) else [part.text for part in content] for content in contents)
    return sum(map(words_in, texts))


def chat_plan(body: bytes, options: Simulator, fault: Fault | None = None) -> Plan | Refusal:
    """What a body asks for, or why it cannot be had; `fault` is what is to go wrong."""
    try:
        chat = _read(body)
    except UNREADABLE as exc:
        return unreadable(exc)
    prompts = (prompt_words(chat.messages) + options.template_tokens,)
    return planned(chat, options, api="chat", limit=chat.max_completion_tokens or chat.max_tokens, prompts=prompts, fault=fault)
