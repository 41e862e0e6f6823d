"""What a request on the completions API asks for: its body read and checked. Pure."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from aiperf.config.simulator import Simulator
from aiperf.simulator.draws import Fault
from aiperf.simulator.plan import UNREADABLE, Plan, Refusal, Wanted, planned, unreadable, word_count

Id = Annotated[int, msgspec.Meta(ge=0)]
Ids = Annotated[list[Id], msgspec.Meta(min_length=1)]


class Completion(Wanted, kw_only=True):
    """The body of a request on `/v1/completions`; a prompt is a text or ids of tokens, or a list of either."""

    prompt: str | Annotated[list[str | Id | Ids], msgspec.Meta(min_length=1)]
    echo: Literal[False] | None = None


_read = msgspec.json.Decoder(Completion).decode


def prompt_lengths(prompt: str | Sequence[str | int | Sequence[int]]) -> tuple[int, ...] | None:
    """Tokens of each prompt: a word or an id is one. None for a list that mixes texts, ids and lists of ids."""
    if isinstance(prompt, str):
        return (word_count(prompt),)
    if len(set(map(type, prompt))) > 1:
        return None
    if isinstance(prompt[0], int):
        return (len(prompt),)
    return tuple(word_count(one) if isinstance(one, str) else len(one) for one in prompt if not isinstance(one, int))


def completion_plan(body: bytes, options: Simulator, fault: Fault | None = None) -> Plan | Refusal:
    """What a body asks for, or why it cannot be had; `fault` is what is to go wrong."""
    try:
        wanted = _read(body)
    except UNREADABLE as exc:
        return unreadable(exc)
    prompts = prompt_lengths(wanted.prompt)
    if prompts is None:
        return Refusal(400, "the body cannot be used: a prompt is a text, texts, ids of tokens or lists of ids, not several of these")
    return planned(wanted, options, api="completions", limit=wanted.max_tokens, prompts=prompts, fault=fault)
