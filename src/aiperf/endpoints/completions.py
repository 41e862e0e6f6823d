"""OpenAI text completions: what a request says in a prompt, and what a choice says in its text."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from aiperf.endpoints.openai import CONTENT, ROLE, Generating, Strand, events_of
from aiperf.errors import ClientError
from aiperf.workload import Turn


class _Choice(msgspec.Struct, gc=False):
    text: Any = None
    finish_reason: Any = None
    index: Any = 0


class _Token(msgspec.Struct, gc=False):
    text: Annotated[str, msgspec.Meta(min_length=1)]
    finish_reason: Literal[""] | None = None
    index: Literal[0] = 0


class CompletionsEndpoint(Generating):
    """`/v1/completions`; a prompt is a text, a list of texts or token ids, as `options.prompt` says."""

    token_hint = rb'"choices"\s*:\s*\[\s*\{[^{}]*"text"\s*:\s*"[^"]'
    event = whole = events_of(_Choice)
    token = events_of(_Token, plain=True)
    texts = staticmethod(lambda tokens: [one.choices[0].text for one in tokens])
    adds = ("input_tokens", "output_tokens")

    def said(self, turn: Turn) -> Mapping[str, Any]:
        """The prompt; several texts are a batch, answered by a choice each."""
        form = self._options.prompt
        parts: Sequence[Any] = turn.token_ids if form == "token_ids" else turn.texts
        if not parts and form == "token_ids":
            raise ClientError("endpoint.prompt=token_ids, but the turn holds no ids; they come with texts that are drawn by a tokenizer")
        if not parts:
            raise ClientError("the turn holds no text, which a completion's prompt is made of")
        return {"prompt": parts[0] if len(parts) == 1 and form != "list" else parts}

    @staticmethod
    def look(choice: _Choice, strand: Strand) -> int:
        """Its text."""
        if not choice.text:
            return ROLE
        strand.content.append(choice.text if isinstance(choice.text, str) else "")
        return CONTENT
