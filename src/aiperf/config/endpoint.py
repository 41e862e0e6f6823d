"""The server under test."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from aiperf.config.base import Model
from aiperf.config.units import Milliseconds, Seconds

Rate = Annotated[float, Field(ge=0, le=1)]


class Timeouts(Model):
    """How long a request may take; a scalar in place of this group is the total."""

    connect: Seconds = Field(10, gt=0)
    """Until the connection stands, TLS included."""
    first_byte: Seconds = Field(300, gt=0)
    """From the request sent until the first byte of the answer."""
    idle: Seconds = Field(120, gt=0)
    """Longest silence within an answer."""
    total: Seconds = Field(900, gt=0)
    """From the start of the request until its end."""


class Faults(Model):
    """Shares of the simulator's answers that go wrong, drawn by seed and request number."""

    error_event: Rate = 0
    """Streams that end in an error event after some tokens."""
    truncated: Rate = 0
    """Streams whose connection closes after some tokens without an end."""
    http_500: Rate = 0
    """Answers with status 500."""
    reset: Rate = 0
    """Connections reset before the first byte."""

    @model_validator(mode="after")
    def _no_more_than_all(self) -> "Faults":
        if self.error_event + self.truncated + self.http_500 + self.reset > 1:
            raise ValueError("the shares add up to more than 1")
        return self


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
    """Share of an answer's tokens that are sent as reasoning, before the content."""
    usage: bool = True
    """Whether usage is sent when it is asked for."""
    template_tokens: int = Field(0, ge=0, le=10_000)
    """Tokens that the simulated chat template adds to every prompt."""
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


def _timeouts(value: Any) -> Any:
    return {"total": value} if isinstance(value, (int, float, str)) and not isinstance(value, bool) else value


def _urls(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Endpoint(Model):
    """The server under test, and how it is spoken to."""

    type: str = "chat"
    """What is spoken: a name of the category `endpoint`."""
    url: Annotated[tuple[str, ...], BeforeValidator(_urls)] = ()
    """Where it is: `http://host:port` or `https://…`, a list for several, taken in turn by request number; empty with `simulator`."""
    model: str | None = Field(None, min_length=1)
    """The model to ask for; unset asks `/v1/models`, takes the only one and prints it."""
    streaming: bool = True
    """Whether answers are streamed (server-sent events)."""
    api_key: str | None = Field(None, min_length=1, repr=False, json_schema_extra={"secret": True})
    """Sent as `Authorization: Bearer …`; best given as `${oc.env:NAME}`."""
    headers: dict[str, str] = Field(default_factory=dict, repr=False, json_schema_extra={"secret": True})
    """Headers for every request."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Merged into every body, for example `{temperature: 0}`; no sampling parameter is sent unless it stands here."""
    path: str | None = Field(None, min_length=1)
    """Path of the API; unset is the endpoint type's own."""
    timeout_s: Annotated[Timeouts, BeforeValidator(_timeouts)] = Field(default_factory=Timeouts)
    """Deadlines of a request in seconds."""
    wait_s: Seconds = Field(0, ge=0, le=86_400)
    """How long to wait for a server that does not answer yet, or is still loading."""
    transport: str = "wire"
    """How bytes travel: a name of the category `transport`."""
    connection: Literal["pooled", "new"] = "pooled"
    """`pooled` keeps connections alive and reuses them, without a limit; `new` opens one a request."""
    max_answer_bytes: int = Field(64 * 1024 * 1024, ge=1024)
    """An answer larger than this is cut off and counted as `too_large`."""
    ca_path: str | None = Field(None, min_length=1)
    """File of certificates to trust instead of the system's (PEM)."""
    simulator: Simulator | None = None
    """If set, the packaged simulator is started on a free loopback port, used, and ended with the run."""

    @field_validator("url")
    @classmethod
    def _has_a_host(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            try:
                parts = urlsplit(url)
                parts.port  # noqa: B018 - raises for a port that is no number
            except ValueError as exc:
                raise ValueError(f"{url!r} is no URL: {exc}") from exc
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{url!r} needs a scheme and a host, as in http://127.0.0.1:8000")
        return tuple(url.rstrip("/") for url in urls)

    @field_validator("headers")
    @classmethod
    def _one_line_each(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not name or any(c in name for c in " :\r\n") or any(c in value for c in "\r\n"):
                raise ValueError(f"{name!r} is no header: a name without space or colon, a value on one line")
        return headers

    @model_validator(mode="after")
    def _one_server(self) -> "Endpoint":
        if self.simulator is None and not self.url:
            raise ValueError("url is missing; give endpoint.url=http://host:port, or endpoint=simulator")
        if self.simulator is not None and self.url:
            raise ValueError("url and simulator exclude each other; endpoint=simulator starts its own server")
        return self
