"""The packaged server, and what can go wrong with it."""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from aiperf.config.base import Microseconds, Milliseconds, Model, Seconds
from aiperf.finite import FiniteFloat

Rate = Annotated[float, Field(ge=0, le=1)]
_LEAST, _MOST = 0.01, 0.99


class Faults(Model):
    """Shares of requests with which something goes wrong, drawn by seed and request number; each names the class that it leads to."""

    error_event: Rate = 0
    """Streams that end in a `data:` event with an error after half of their tokens (class error_event)."""
    truncated: Rate = 0
    """Streams whose connection closes after half of their tokens without an end (class truncated)."""
    http_500: Rate = 0
    """Answers with status 500 and a body that says why (class http_5xx)."""
    reset: Rate = 0
    """Connections reset before the first byte (class reset)."""
    refused: float = Field(0, ge=0, le=_MOST)
    """Connections refused (class connect): as many of the run's addresses, to the nearest fraction of up to 100, do not listen."""
    reset_mid: Rate = 0
    """Connections reset after half of the tokens (class reset)."""
    rate_limited: Rate = 0
    """Answers with status 429 and a Retry-After of 1 s (class rate_limited)."""
    http_400: Rate = 0
    """Answers with status 400 and a body that says why (class http_4xx)."""
    http_404_empty: Rate = 0
    """Answers with status 404 and no body (class http_4xx)."""
    http_503_empty: Rate = 0
    """Answers with status 503 and no body (class http_5xx)."""
    error_named: Rate = 0
    """Streams that end in an event named `error` after half of their tokens (class error_event)."""
    malformed: Rate = 0
    """Streams with an event that is no JSON after half of their tokens, and a proper end (class malformed)."""
    stall: Rate = 0
    """Streams that fall silent after half of their tokens, for `stall_s` (class timeout_idle, if endpoint.timeout_s.idle is shorter)."""
    slow_headers: Rate = 0
    """Answers that begin `stall_s` late (class timeout_first_byte, if endpoint.timeout_s.first_byte is shorter)."""
    endless: Rate = 0
    """Answers without end, as fast as they are taken (class too_large; timeout_total, if that comes first)."""
    wrong_content_type: Rate = 0
    """Answers with status 200 and an HTML page (class malformed)."""
    garbage: Rate = 0
    """Answers that are no HTTP (class malformed)."""
    close_after: Rate = 0
    """Good answers on a connection that is closed right behind them, unannounced (no failure; the client opens another)."""
    close_idle: Rate = 0
    """Good answers on a connection that is closed when it has been idle for `idle_close_ms` (no failure, unless a request crosses it)."""
    stall_s: Seconds = Field(3600, gt=0, le=86_400)
    """How long `stall` and `slow_headers` last; what was held back then follows."""
    idle_close_ms: Milliseconds = Field(5, ge=0, le=3_600_000)
    """After how much idleness `close_idle` closes."""

    @field_validator("refused")
    @classmethod
    def _some_or_none(cls, share: float) -> float:
        if 0 < share < _LEAST:
            raise ValueError(f"expected 0, or {_LEAST:g} to {_MOST:g}: a run has up to 100 addresses, and one of them may refuse")
        return share

    def _broken(self) -> Iterator[str]:
        if math.fsum(getattr(self, name) for name in SHARES) > 1 + 1e-9:  # roundings
            yield "the shares add up to more than 1"


SHARES = tuple(name for name in Faults.model_fields if name not in ("stall_s", "idle_close_ms"))
"""The faults, by name."""


class Service(Model):
    """How long a server of the textbook is busy with a request, whatever is asked for."""

    distribution: Literal["fixed", "exponential"] = "exponential"
    """`fixed` gives M/D/1 under Poisson arrivals, `exponential` M/M/1: drawn by seed and request number."""
    mean_ms: Milliseconds = Field(100, gt=0, le=3_600_000)
    """Its mean."""


class Speculative(Model):
    """Tokens that are guessed ahead, and come out together where they are right."""

    tokens: int = Field(3, ge=1, le=64)
    """Tokens guessed in each step of a request."""
    acceptance: Rate = 0.7
    """Chance of each to be right, if all before it are; drawn by seed, request number and place in the answer."""


Preset = Literal["fixed", "textbook", "small_gpu", "large_gpu", "overloaded"]


@cache
def presets() -> Mapping[str, Mapping[str, Any]]:
    """The keys that each preset uses, with its values; their sources stand in presets.yaml."""
    found: Mapping[str, Mapping[str, Any]] = yaml.safe_load((resources.files(__package__) / "presets.yaml").read_text("utf-8"))
    return found


@cache
def _users() -> Mapping[str, list[str]]:
    """The presets that use each key."""
    return {key: [name for name, values in presets().items() if key in values] for mine in presets().values() for key in mine}


_UNSET: Any = None
"""The preset's value takes its place; it stays where the preset does not use the key, and nobody reads it."""


class Simulator(Model):
    """The packaged server: its times are a model, so that what it should be measured at is known."""

    preset: Preset = "fixed"
    """The model of its times, and the defaults of the keys that it uses: `fixed` times, a `textbook` queue, or an engine that batches."""
    clock: Literal["real", "virtual"] = "real"
    """`virtual` is a clock that jumps from event to event, without sockets: an hour in seconds, the same on every machine."""
    ttft_ms: Milliseconds = Field(20, ge=0, le=3_600_000)
    """Time from a request's last byte to its first token (`fixed`)."""
    itl_ms: Milliseconds = Field(5, ge=0, le=3_600_000)
    """Time from one token to the next (`fixed`)."""
    noise: float = Field(0, ge=0, le=1)
    """Seeded noise on both times: the coefficient of variation of a lognormal factor of mean 1; 0 is none (`fixed`)."""
    service: Service = Field(_UNSET)
    """Time that a server is busy with a request (`textbook`)."""
    max_running: int = Field(_UNSET, ge=1, le=65_536)
    """Requests that are served at a time: servers of the queue (`textbook`), or the largest batch (engines; vLLM's max_num_seqs)."""
    step_ms: Milliseconds = Field(_UNSET, ge=0, le=60_000)
    """What a step of an engine takes at least; the three that follow come on top of it."""
    prefill_us_per_token: Microseconds = Field(_UNSET, ge=0, le=1_000_000)
    """Each token of a prompt in a step."""
    decode_us_per_request: Microseconds = Field(_UNSET, ge=0, le=1_000_000)
    """Each request that is given a token in a step."""
    context_ns_per_token: FiniteFloat = Field(_UNSET, ge=0, le=1_000_000)
    """Each token that the requests in a step have before them."""
    max_batched_tokens: int = Field(_UNSET, ge=1, le=10_000_000)
    """Tokens in a step, the budget of chunked prefill (engines; vLLM's max_num_batched_tokens)."""
    kv_blocks: int | None = Field(None, ge=1, le=100_000_000)
    """Blocks of KV memory; unset is the preset's, null is without limit (engines)."""
    block_tokens: int = Field(_UNSET, ge=1, le=65_536)
    """Tokens in a block (engines; vLLM's block_size)."""
    prefix_cache: bool = Field(_UNSET)
    """Whether blocks of prompts are kept and found again by their text (engines)."""
    speculative: Speculative | None = None
    """Speculative decoding (engines); unset is none."""
    replicas: int = Field(_UNSET, ge=1, le=1024)
    """Engines behind the address, each with blocks of its own; a request goes to the one that has the fewest."""
    tokens: int = Field(32, ge=1, le=1_000_000)
    """Length of an answer where the request does not limit it."""
    reasoning: Rate = 0
    """Share of a chat answer's tokens that are sent as reasoning, before the content."""
    usage: bool = True
    """Whether usage is sent when it is asked for."""
    template_tokens: int = Field(0, ge=0, le=10_000)
    """Tokens that the simulated chat template adds to every prompt of a chat."""
    load_s: Seconds = Field(0, ge=0, le=3600)
    """How long it answers 503 after its start, as a server that is still loading."""
    model: str = Field("simulator", min_length=1)
    """Its model's name."""
    seed: int = Field(0, ge=0)
    """Seed of noise and faults."""
    port: int = Field(0, ge=0, le=65535)
    """Loopback port; 0 takes a free one."""
    log: str | None = Field(None, min_length=1)
    """File for a JSON line per request with the simulator's own stamps (CLOCK_REALTIME, by request number)."""
    faults: Faults = Field(default_factory=Faults)
    """What goes wrong, and how often."""

    @model_validator(mode="before")
    @classmethod
    def _said(cls, values: Any) -> Any:
        """Null is nothing said; but for the blocks, of which it is a number."""
        return {k: v for k, v in values.items() if v is not None or k == "kv_blocks"} if isinstance(values, dict) else values

    def model_post_init(self, context: Any, /) -> None:  # noqa: ARG002 - pydantic's signature
        """Take the preset's values where nothing is said, and none for the keys that it does not use."""
        mine = presets()[self.preset]
        for key in _users().keys() - self.model_fields_set:
            self.__dict__[key] = Service(**mine[key]) if key == "service" and key in mine else mine.get(key)

    def _broken(self) -> Iterator[str]:
        for key, users in _users().items():
            if self.preset not in users and getattr(self, key) is not None:
                yield f"{key} is not used by preset={self.preset}; leave it out, or choose preset={' or '.join(users)}"
        each = 1 if self.speculative is None else 1 + self.speculative.tokens
        if self.preset in _users()["max_batched_tokens"] and self.max_batched_tokens < self.max_running * each:
            yield (
                f"max_batched_tokens={self.max_batched_tokens} is less than the {self.max_running * each} of a full batch "
                f"(max_running={self.max_running}, {each} each); raise it, or lower max_running"
            )
