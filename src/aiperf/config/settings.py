"""What the command line sets, put into nested values; each argument can be refused for itself."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from aiperf.config import arguments as grammar
from aiperf.config import references
from aiperf.config.arguments import Argument
from aiperf.config.base import Model
from aiperf.config.files import opened, replacing
from aiperf.config.keys import Path
from aiperf.config.mistakes import Check, M, at, line, without
from aiperf.errors import ConfigError


def apply(settings: Sequence[Argument], values: dict[str, Any], model: type[Model]) -> list[str]:
    """Set and take away; a stop rule that is given alone replaces the other one. Returns a line for what cannot be taken away."""
    problems = []
    given: dict[str, Any] = {}
    for argument in settings:
        if argument.kind == "delete":
            problems += [f"{grammar.shown(argument.text, model)}: {problem}" for problem in _delete(argument, values)]
        else:
            merge(given, opened(_nested(argument)))
    merge(values, replacing(given))
    return problems


def _delete(argument: Argument, values: dict[str, Any]) -> list[str]:
    found = at(values, argument.path)
    if found is None:
        return ["there is nothing to take away"]
    if argument.value is not None and str(found) != argument.value:
        return ["the value is another one, and stays"]
    without(values, argument.path)
    return []


def _nested(argument: Argument) -> dict[str, Any]:
    nested: Any = argument.value
    for name in reversed(argument.path):
        nested = {name: nested}
    found: dict[str, Any] = nested
    return found


def merge(into: dict[Any, Any], values: Mapping[Any, Any]) -> None:
    """Put values over others, group by group."""
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = copy.deepcopy(value)


def load_part(model: type[M], arguments: Sequence[str]) -> M:
    """A model by itself from `key=value`, with the same care as an experiment. Raises ConfigError with every mistake."""
    settings, unread = grammar.read(arguments, model)
    check = Check(model, {}, tuple(unread))
    problems = [*unread.values(), *apply(settings, check.values, model)]
    check.unknown_keys()
    check.missing()
    check.groups()
    references.resolve(check)
    found = check.validated()

    def place(path: Path) -> str:
        typed = (argument.text for argument in reversed(settings) if all(a == b for a, b in zip(argument.path, path)))
        return next((grammar.shown(text, model) for text in typed), "")

    problems += [line(mistake, place) for mistake in check.mistakes]
    if problems or found is None:
        raise ConfigError(problems)
    return found
