"""The server under test."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from aiperf.config.base import HIDDEN, Model, Names, Seconds, short_for
from aiperf.config.simulator import Simulator

_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")
_PATH = re.compile(r'/[!"$-~]*')
_OF_AN_API = re.compile(r"/(?:(?:chat/)?completions|embeddings|responses|v1/(?:messages|models))$")


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


def _address(url: str) -> str:
    """A base address. Raises ValueError with what is wrong with it, without the address where that may hold a secret."""
    shown = "" if "@" in url or "?" in url else f"{url!r} "
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise ValueError(f"{shown}is no URL: {exc}" if shown else "is no URL") from exc
    faults = {
        "needs a scheme and a host, as in http://127.0.0.1:8000": parts.scheme not in ("http", "https") or not parts.hostname,
        "holds a user or a password; give endpoint.api_key or endpoint.headers.Authorization instead": "@" in parts.netloc,
        "holds a query or a fragment; give the base address alone, as in http://127.0.0.1:8000": "?" in url or "#" in url,
        "holds a space or a control character": re.search(r"[\s\x00-\x1f\x7f]", url),
        "has port 0, which no server has": port == 0,
        "ends in the path of an API; give the base address, as in http://127.0.0.1:8000": _OF_AN_API.search(parts.path.rstrip("/")),
    }
    if wrong := [fault for fault, found in faults.items() if found]:
        raise ValueError(f"{shown}{wrong[0]}")
    return url.rstrip("/")


def _value_problem(value: str) -> str | None:
    """Why a header cannot carry a value, without the value; None if it can."""
    if value == HIDDEN:
        return "is hidden (***); what was hidden has to be given again"
    return "holds a character that no header can carry (latin-1 on one line)" if _UNSENDABLE.search(value) else None


class Endpoint(Model):
    """The server under test, and how it is spoken to."""

    type: str = "chat"
    """What is spoken: a name of the category `endpoint`."""
    url: Annotated[Names, AfterValidator(lambda urls: tuple(map(_address, urls)))] = ()
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
    prompt: Literal["string", "list", "token_ids"] = "string"
    """How a prompt is written, for endpoints that take several forms (completions): a text, a list of texts, or token ids."""
    path: str | None = Field(None, min_length=1)
    """Path of the API; unset is the endpoint type's own."""
    timeout_s: Annotated[Timeouts, short_for("total")] = Field(default_factory=Timeouts)
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
    options: dict[str, Any] = Field(default_factory=dict)
    """What a plugin of the category `endpoint` or `transport` that is used here has of its own."""
    simulator: Simulator | None = None
    """If set, the packaged simulator is started on a free loopback port, used, and ended with the run."""

    @field_validator("headers")
    @classmethod
    def _one_line_each(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name):
                raise ValueError(f"{name!r} is no header: a name of ASCII without space or colon, a value on one line")
            if name.lower() in ("content-length", "transfer-encoding", "x-request-id"):
                raise ValueError(f"{name!r} cannot be set here; every request has its own")
            if problem := _value_problem(value):
                raise ValueError(f"the value of {name!r} {problem}")
        return headers

    @field_validator("api_key")
    @classmethod
    def _can_be_sent(cls, api_key: str | None) -> str | None:
        if api_key is not None and (problem := _value_problem(api_key)):
            raise ValueError(f"{problem}; it is sent as Authorization")
        return api_key

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, path: str | None) -> str | None:
        if path is not None and not _PATH.fullmatch(path):
            raise ValueError("expected a path that begins with / and holds no space, no control character and no letter outside ASCII")
        return path

    @field_validator("extra")
    @classmethod
    def _fits_a_body(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if "stream" in extra:
            raise ValueError("stream cannot be set here; whether answers are streamed is endpoint.streaming=true or false")
        for name, value in extra.items():
            try:
                json.dumps(value, allow_nan=False)
            except (ValueError, TypeError) as exc:
                raise ValueError(f"{name} cannot be JSON: expected finite numbers, text, true, false, null, lists and keys") from exc
        return extra

    def _broken(self) -> Iterator[str]:
        if self.simulator is None and not self.url:
            yield "url is missing; give endpoint.url=http://host:port, or endpoint=simulator"
        if self.simulator is not None and self.url:
            yield "url and simulator exclude each other; endpoint=simulator starts its own server"
        if self.ca_path is not None and not any(url.startswith("https:") for url in self.url):
            yield "ca_path is for https, which no server here speaks; give a url that begins with https:// or leave ca_path out"
