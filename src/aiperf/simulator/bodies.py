"""What the bodies of requests ask for, an API at a time: read and checked. Pure."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from aiperf.config.simulator import Simulator
from aiperf.simulator.draws import Fault
from aiperf.simulator.plan import Count, Plan, Refusal, Wanted, planned, word_count

Id = Annotated[int, msgspec.Meta(ge=0)]
Ids = Annotated[list[Id], msgspec.Meta(min_length=1)]


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

    @property
    def limit(self) -> int | None:
        """By either name."""
        return self.max_completion_tokens or self.max_tokens


class Completion(Wanted, kw_only=True):
    """The body of a request on `/v1/completions`; a prompt is a text or ids of tokens, or a list of either."""

    prompt: str | Annotated[list[str | Id | Ids], msgspec.Meta(min_length=1)]
    echo: Literal[False] | None = None


_chat = msgspec.json.Decoder(Chat).decode
_completion = msgspec.json.Decoder(Completion).decode


def prompt_words(messages: Sequence[Message]) -> int:
    """Words of all messages; a text part is a text of its own."""
    contents = (message.content or "" for message in messages)
    texts = ([content] if isinstance(content, str) else [part.text for part in content] for content in contents)
    return sum(word_count(text) for several in texts for text in several)


def prompt_lengths(prompt: str | Sequence[str | int | Sequence[int]]) -> tuple[int, ...]:
    """Tokens of each prompt: a word or an id is one. Raises ValidationError for a list that mixes texts, ids and lists of ids."""
    if isinstance(prompt, str):
        return (word_count(prompt),)
    if len(set(map(type, prompt))) > 1:
        raise msgspec.ValidationError("a prompt is a text, texts, ids of tokens or lists of ids, not several of these")
    if isinstance(prompt[0], int):
        return (len(prompt),)
    return tuple(word_count(one) if isinstance(one, str) else len(one) for one in prompt if not isinstance(one, int))


def chat_plan(body: bytes, options: Simulator, fault: Fault | None = None) -> Plan | Refusal:
    """What a body on the chat API asks for, or why it cannot be had; `fault` is what is to go wrong."""

    def prompts(chat: Chat) -> tuple[int, ...]:
        return (prompt_words(chat.messages) + options.template_tokens,)

    return planned(body, options, fault, api="chat", read=_chat, prompts=prompts)


def completion_plan(body: bytes, options: Simulator, fault: Fault | None = None) -> Plan | Refusal:
    """The same on the completions API."""
    return planned(body, options, fault, api="completions", read=_completion, prompts=lambda wanted: prompt_lengths(wanted.prompt))
