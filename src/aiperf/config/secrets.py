"""What must not be written: secrets become `***`, in files by key, in arguments by key too, in URLs by place."""

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from aiperf.config.base import HIDDEN, Model
from aiperf.config.experiment import Experiment
from aiperf.config.keys import Path, lookup

_NAME = re.compile(
    r"(?:[a-z0-9]+[-_])*(?:auth|authorization|cookie|bearer|passw(?:or)?d|passphrase|credentials?|secret|signature|(?:api|access|secret|private)[-_]?key)|"
    r"(?:[a-z0-9]+[-_])*(?:access|auth|api|bearer|refresh|id|session|security|csrf|xsrf|hf)[-_]?token|token|x-[a-z0-9-]*(?:key|token)"
)
_WORD = re.compile(r"([\w-]+)['\"]?\s*[:=]")
_REFERENCE = re.compile(r"(?:Bearer |Basic |Token )?\$\{[A-Za-z_][\w.:]*\}")
_USER = re.compile(r"(?<=://)(?:[^/?#\s]+|[^/@\s]*:(?!\d*(?:[/?#,\]\s]|$))[^@\s]*)@")
"""User and password of a URL, also of one whose password has a slash, which no reader of URLs finds."""
_HARMLESS = re.compile(
    r"accept(?:-encoding|-language)?|cache-control|connection|content-type|origin|referer|user-agent|traceparent|x-(?:correlation|request)-id"
)
"""Headers that are written as they are; every other one may hold a secret, whatever its name."""


def is_secret_name(name: str) -> bool:
    """Whether a key or a header of this name holds a secret: `authorization`, `x-api-key`, `session_token`, not `max_tokens`."""
    return _NAME.fullmatch(name.strip().lower()) is not None


def is_secret(path: Path, model: type[Model] = Experiment) -> bool:
    """Whether the value at a path must not be written, by its field or by its last name; of headers all but a few."""
    key = lookup(model, path)
    if key is not None and key.is_secret and path != key.path:
        return _HARMLESS.fullmatch(".".join(path[len(key.path) :]).lower()) is None
    return bool(path) and (is_secret_name(path[-1]) or (key is not None and key.is_secret and not key.below))


def hidden(value: Any, path: Path = (), model: type[Model] = Experiment) -> Any:
    """The same value with every literal secret in it as `***`; a reference (`${oc.env:NAME}`) stays, since it holds none."""
    if isinstance(value, dict):
        return {name: hidden(item, (*path, str(name)), model) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [hidden(item, path, model) for item in value]
    if value is not None and not isinstance(value, bool) and is_secret(path, model):
        return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else HIDDEN
    return _hidden_url(value) if isinstance(value, str) else value


def _hidden_url(text: str) -> str:
    """A URL without its user and password, and without queries that are named like secrets; other text as it is."""
    if "://" not in text and not text.startswith("/"):
        return text
    text = _USER.sub(f"{HIDDEN}@", text)
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    pairs = [pair.partition("=") for pair in parts.query.split("&")]
    query = "&".join(f"{name}={HIDDEN}" if is_secret_name(name) else f"{name}{sign}{value}" for name, sign, value in pairs)
    return urlunsplit(parts._replace(query=query)) if query != parts.query else text


def redacted(argument: str, model: type[Model] = Experiment) -> str:
    """One argument with its secret as `***`: by its key, or whole where its value names a secret somewhere within."""
    typed, sign, value = argument.partition("=")
    path = tuple(typed.lstrip("+~").split("."))
    if not sign or _REFERENCE.fullmatch(value):
        return argument
    key = lookup(model, path)
    names_one = not value.startswith(("http://", "https://", "/")) and any(map(is_secret_name, _WORD.findall(value)))
    if names_one or is_secret(path, model) or (key is not None and key.is_secret and path == key.path):
        return f"{typed}={HIDDEN}"
    return f"{typed}={_hidden_url(value)}"
