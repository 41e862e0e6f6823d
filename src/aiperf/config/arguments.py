"""Hydra's override grammar for one argument at a time, so that every mistake on a command line is found at once."""

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from aiperf.config import keys, roots
from aiperf.config.base import Model
from aiperf.config.keys import Path
from aiperf.config.secrets import redacted_argument

_KEY = re.compile(r"(?P<sign>~|\+{0,2})(?P<key>[A-Za-z_$][\w$-]*(?:[./][\w$-]+)*)")
_SLOS = ("goodput", "slos")
_PARSER = OverridesParser.create()


class Argument(NamedTuple):
    """One argument as it was meant: `choice` of a group's file, `value` of a key, or `delete` of either."""

    text: str
    kind: Literal["choice", "value", "delete"]
    path: Path
    value: Any = None

    @property
    def group(self) -> str:
        """The group that is chosen."""
        return self.path[0]

    @property
    def is_choice(self) -> bool:
        """Whether it says which file of a group holds, none included."""
        return self.kind == "choice" or (self.kind == "delete" and self.path[0] in roots.groups() and len(self.path) == 1)


class UnreadableError(ValueError):
    """An argument that cannot be read; the message says why."""


def split(key: str) -> Path:
    """A dotted key as a path; the statistic of a promise may hold a point itself (`goodput.slos.request_latency.p99.9`)."""
    parts = tuple(key.split("."))
    return (*parts[:3], ".".join(parts[3:])) if parts[:2] == _SLOS and len(parts) > 4 else parts


def read(arguments: Sequence[str], model: type[Model], *, groups: Sequence[str] = ()) -> tuple[list[Argument], dict[Path, str]]:
    """The arguments that can be read, and a line for each that cannot, by its path. `groups` are the names that choose a file."""
    found: list[Argument] = []
    problems: dict[Path, str] = {}
    for text in arguments:
        try:
            found.append(_argument(text, model, groups))
        except UnreadableError as exc:
            problems[split(text.partition("=")[0].lstrip("+~"))] = f"{shown(text, model)}: {exc}"
    chosen = {argument.group for argument in found if argument.is_choice}
    return [_as_choice(argument) if argument.path[0] not in chosen and len(groups) else argument for argument in found], problems


def _as_choice(argument: Argument) -> Argument:
    """`timing.type=request_rate` where `timing=request_rate` is meant: other values of the group's file are another type's."""
    group, value = argument.path[0], argument.value
    if argument.path[1:] != ("type",) or argument.kind != "value" or not isinstance(value, str):
        return argument
    return Argument(argument.text, "choice", (group,), value) if roots.find(group, value, (roots.packaged(),)) else argument


def shown(text: str, model: type[Model]) -> str:
    """How an argument is named in a message: as typed, without its secret."""
    return f"argument {redacted_argument(text, model)!r}"


def _argument(text: str, model: type[Model], groups: Sequence[str]) -> Argument:
    typed, sign, raw = text.partition("=")
    match = _KEY.fullmatch(typed.strip())
    if match is None or not (sign or match["sign"] == "~"):
        raise UnreadableError("is no key=value and no group=choice")
    path = split(match["key"])
    if "/" in match["key"]:
        raise UnreadableError(f"the key {match['key']} has a slash; keys are separated by dots")
    if len(path) == 1 and path[0] in groups:
        return _choice(text, path, match["sign"], raw if sign else None)
    if match["sign"] == "~":
        return Argument(text, "delete", path, raw if sign else None)
    return Argument(text, "value", path, _value(path, raw, model))


def _choice(text: str, path: Path, sign: str, raw: str | None) -> Argument:
    group = path[0]
    if sign == "~" or raw is None:
        return Argument(text, "delete", path)
    if sign == "++":
        raise UnreadableError(f"++ is not for a group; {group}=CHOICE chooses a file, {group}.KEY=VALUE sets a key")
    if raw.startswith("{"):
        return Argument(text, "value", path, _parsed(raw).value())
    name = raw.strip().strip("'\"")
    if not name or name[0] == "[":
        raise UnreadableError(f"a group takes one choice, as in {group}=NAME")
    return Argument(text, "choice", path, None if name == "null" else name)


def _value(path: Path, raw: str, model: type[Model]) -> Any:
    key = keys.lookup(model, path)
    takes_text = key is not None and (key.open_text and path != key.path if key.is_open else key.is_text)
    try:
        override = _parsed(raw)
    except UnreadableError:
        if takes_text or "${" in raw or (key is not None and _takes_a_word(key, path)):
            return raw
        raise
    if override.is_sweep_override() and not takes_text:
        raise UnreadableError("takes one value; a list is [a,b], text with a comma in it needs quotes of its own")
    value = override.value()
    return raw.strip() if takes_text and (isinstance(value, (int, float)) or override.is_sweep_override()) else value


def _takes_a_word(key: keys.Key, path: Path) -> bool:
    """Whether a word in place of the value means something: one URL of a list, a quantity, a value of the user's own keys."""
    return path != key.path if key.is_open else any(kind is str or keys.is_text_list(kind) for kind in key.types)


def _parsed(raw: str) -> Override:
    try:
        return _PARSER.parse_override(f"key={raw}")
    except (HydraException, ValueError, RecursionError) as exc:
        raise UnreadableError("the value cannot be read; text with = , : [ { or quotes in it needs its own, as in 'key=\"a=b\"'") from exc
