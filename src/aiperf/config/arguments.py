"""Hydra's override grammar for one argument at a time, so that every mistake on a command line is found at once."""

import re
from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from aiperf.config import keys, roots
from aiperf.config.base import Model
from aiperf.config.files import Layer, named, opened, replacing
from aiperf.config.keys import Path, at
from aiperf.config.mistakes import Check, M, without
from aiperf.config.secrets import redacted
from aiperf.errors import ConfigError

_KEY = re.compile(r"(?P<sign>~|\+{0,2})(?P<key>[A-Za-z_$][\w$-]*(?:[./][\w$-]+)*)")
_PARSER = OverridesParser.create()


class Argument(NamedTuple):
    """One argument as it was meant: `choice` of a group's file (None for none), `value` of a key, or `delete` of a key."""

    shown: str  # in a message: as typed, without its secret
    kind: Literal["choice", "value", "delete"]
    path: Path
    value: Any = None

    @property
    def layer(self) -> Layer:
        """What it sets, at its place."""
        value: Any = named(self.value) if self.kind == "value" else None
        return Layer(reduce(lambda inner, name: {name: inner}, reversed(self.path), value), typed=self.shown)


def split(key: str) -> Path:
    """A dotted key as a path; the statistic of a promise may hold a point itself (`goodput.slos.request_latency.p99.9`)."""
    parts = tuple(key.split("."))
    return (*parts[:3], ".".join(parts[3:])) if parts[:2] == ("goodput", "slos") and len(parts) > 4 else parts


def read(arguments: Sequence[str], model: type[Model], *, groups: Sequence[str] = ()) -> tuple[list[Argument], dict[Path, str]]:
    """The arguments that can be read, and a line for each that cannot, by its path. `groups` are the names that choose a file."""
    found: list[Argument] = []
    problems: dict[Path, str] = {}
    for text in arguments:
        shown = f"argument {redacted(text, model)!r}"
        try:
            found.append(_read(text, model, groups, shown=shown))
        except ValueError as exc:
            problems[split(text.partition("=")[0].lstrip("+~"))] = f"{shown}: {exc}"
    chosen = {argument.path[0] for argument in found if argument.kind == "choice"}
    return [_as_choice(argument) if argument.path[0] not in chosen and groups else argument for argument in found], problems


def _as_choice(argument: Argument) -> Argument:
    """`timing.type=request_rate` where `timing=request_rate` is meant: other values of the group's file are another type's."""
    group, value = argument.path[0], argument.value
    is_type = argument.path[1:] == ("type",) and argument.kind == "value" and isinstance(value, str)
    is_meant = is_type and roots.find(group, value, (roots.packaged(),)) is not None
    return argument._replace(kind="choice", path=(group,)) if is_meant else argument


def _read(text: str, model: type[Model], groups: Sequence[str], *, shown: str) -> Argument:
    """One argument. Raises ValueError if it cannot be read."""
    typed, sign, raw = text.partition("=")
    match = _KEY.fullmatch(typed.strip())
    if match is None or not (sign or match["sign"] == "~"):
        raise ValueError("is no key=value and no group=choice")
    path, is_group = split(match["key"]), match["key"] in groups
    if "/" in match["key"]:
        raise ValueError(f"the key {match['key']} has a slash; keys are separated by dots")
    if match["sign"] == "~":
        return Argument(shown, "choice", path) if is_group else Argument(shown, "delete", path, raw if sign else None)
    if not is_group or (raw.startswith("{") and match["sign"] != "++"):
        return Argument(shown, "value", path, _value(path, raw, model))
    if match["sign"] == "++":
        raise ValueError(f"++ is not for a group; {path[0]}=CHOICE chooses a file, {path[0]}.KEY=VALUE sets a key")
    name = raw.strip().strip("'\"")
    if not name or name[0] == "[":
        raise ValueError(f"a group takes one choice, as in {path[0]}=NAME")
    return Argument(shown, "choice", path, None if name == "null" else name)


def _value(path: Path, raw: str, model: type[Model]) -> Any:
    key = keys.lookup(model, path)
    kinds = () if key is None else (key.below,) if path != key.path else key.types
    takes_text = bool(kinds) and all(kind is str or get_origin(kind) is Literal for kind in kinds)
    takes_a_word = any(kind in (str, Any) or keys.is_text_list(kind) for kind in kinds)
    try:
        override = _PARSER.parse_override(f"key={raw}")
    except (HydraException, ValueError, RecursionError) as exc:
        if takes_text or takes_a_word or "${" in raw:
            return raw
        raise ValueError("the value cannot be read; text with = , : [ { or quotes in it needs its own, as in 'key=\"a=b\"'") from exc
    if override.is_sweep_override() and not takes_text:
        raise ValueError("takes one value; a list is [a,b], text with a comma in it needs quotes of its own")
    value = override.value()
    return raw.strip() if takes_text and (isinstance(value, (int, float)) or override.is_sweep_override()) else value


def apply(settings: Sequence[Argument], values: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Set and take away, and return a line for what cannot be taken away, and what was set; a stop rule alone replaces the other one."""
    problems: list[str] = []
    given: dict[str, Any] = {}
    for argument in settings:
        found = at(values, argument.path)
        if argument.kind == "value":
            merge(given, opened(argument.layer.values))
        elif found is None:
            problems.append(f"{argument.shown}: there is nothing to take away")
        elif argument.value not in (None, str(found)):
            problems.append(f"{argument.shown}: the value is another one, and stays")
        else:
            without(values, argument.path)
    merge(values, replacing(given))
    return problems, given


def merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    """Put values over others, group by group."""
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = named(value)


def load_part(model: type[M], arguments: Sequence[str]) -> M:
    """A model by itself from `key=value`, with the same care as an experiment. Raises ConfigError with every mistake."""
    settings, unread = read(arguments, model)
    values: dict[str, Any] = {}
    problems = [*unread.values(), *apply(settings, values)[0]]
    check = Check(model, values, unread)
    found = check.made()
    if problems := [*problems, *check.lines([argument.layer for argument in settings])]:
        raise ConfigError(problems)
    return found
