"""OpenAI text completions: what a request says in a prompt, and what a choice says in its text."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aiperf.config.endpoint import Endpoint as Options
from aiperf.endpoints.openai import Api, Asking, Chunk, Strand
from aiperf.errors import ClientError
from aiperf.seams import Answer, Said
from aiperf.workload import Turn

_CONTENT = 3  # its place in RANKED


class _Choice(msgspec.Struct, gc=False):
    text: Any = None
    finish_reason: Any = None
    index: Any = 0


class _Chunk(Chunk, gc=False):
    choices: list[_Choice] | None = None


class CompletionsEndpoint:
    """`/v1/completions`; a prompt is a text, a list of texts or token ids, as `options.prompt` says. `exact` as in ChatEndpoint."""

    token_hint = rb'"choices"\s*:\s*\[\s*\{[^{}]*"text"\s*:\s*"[^"]'

    def __init__(self, options: Options, *, model: str, exact: bool, usage: bool = True) -> None:
        self._asking = Asking(options, model=model, exact=exact, usage=usage)
        self._prompt = {"string": _string, "list": _list, "token_ids": _token_ids}[options.prompt]

    def body(self, turn: Turn) -> bytes:
        """The request as JSON; several texts are a batch, answered by a choice each. Raises ClientError."""
        return self._asking.body(turn, self._said)

    def answer(self, answer: Answer) -> Said:
        """What the bytes say, streamed (by content type) or whole."""
        return _API.answer(answer)

    def _said(self, turn: Turn) -> Mapping[str, Any]:
        return {"prompt": self._prompt(turn)}


def _list(turn: Turn) -> Sequence[str]:
    if not turn.texts:
        raise ClientError("the turn holds no text, which a completion's prompt is made of")
    return turn.texts


def _string(turn: Turn) -> str | Sequence[str]:
    texts = _list(turn)
    return texts[0] if len(texts) == 1 else texts


def _token_ids(turn: Turn) -> Sequence[int] | Sequence[Sequence[int]]:
    if not turn.token_ids:
        raise ClientError("endpoint.prompt=token_ids, but the turn holds no ids; they come with texts that are drawn by a tokenizer")
    return turn.token_ids[0] if len(turn.token_ids) == 1 else turn.token_ids


def _look(choice: _Choice, strand: Strand) -> int:
    text = choice.text
    if not text:
        return 0
    strand.content.append(text if isinstance(text, str) else "")
    return _CONTENT


_decode = msgspec.json.Decoder(_Chunk).decode
_API = Api(_decode, _decode, _look, prompts=True)
