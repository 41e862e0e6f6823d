"""OpenAI text completions: what a request says in a prompt, and what a choice says in its text."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aiperf.endpoints.openai import CONTENT, ROLE, Chunk, Generating, Strand
from aiperf.errors import ClientError
from aiperf.workload import Turn


class _Choice(msgspec.Struct, gc=False):
    text: Any = None
    finish_reason: Any = None
    index: Any = 0


class _Chunk(Chunk, gc=False):
    choices: list[_Choice] | None = None


class CompletionsEndpoint(Generating):
    """`/v1/completions`; a prompt is a text, a list of texts or token ids, as `options.prompt` says."""

    token_hint = rb'"choices"\s*:\s*\[\s*\{[^{}]*"text"\s*:\s*"[^"]'
    event = whole = msgspec.json.Decoder(_Chunk).decode
    prompts = True

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
