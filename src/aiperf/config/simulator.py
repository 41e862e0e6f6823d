"""The packaged server, and what can go wrong with it."""

import math
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from aiperf.config.base import Model
from aiperf.config.units import Milliseconds, Seconds

Rate = Annotated[float, Field(ge=0, le=1)]

_LEAST, _MOST = 0.01, 0.99
_ROUNDING = 1e-9


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

    @model_validator(mode="after")
    def _no_more_than_all(self) -> "Faults":
        if math.fsum(getattr(self, name) for name in SHARES) > 1 + _ROUNDING:
            raise ValueError("the shares add up to more than 1")
        return self


SHARES = tuple(name for name in Faults.model_fields if name not in ("stall_s", "idle_close_ms"))
"""The faults, by name."""


class Simulator(Model):
    """The packaged server: its times are a model, so that what it should be measured at is known."""

    ttft_ms: Milliseconds = Field(20, ge=0, le=3_600_000)
    """Time from a request's last byte to its first token."""
    itl_ms: Milliseconds = Field(5, ge=0, le=3_600_000)
    """Time from one token to the next."""
    noise: float = Field(0, ge=0, le=1)
    """Seeded noise on both times: the coefficient of variation of a lognormal factor of mean 1; 0 is none."""
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
