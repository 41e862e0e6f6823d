"""What the command line sets, put into nested values; each argument can be refused for itself."""

import copy
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from aiperf.config import arguments as grammar
from aiperf.config.arguments import Argument
from aiperf.config.base import Model
from aiperf.config.files import opened, replacing
from aiperf.config.mistakes import M, at, line, without
from aiperf.config.origins import Origins
from aiperf.config.references import looked_at
from aiperf.errors import ConfigError


def apply(settings: Sequence[Argument], values: dict[str, Any], model: type[Model]) -> list[str]:
    """Set and take away; a stop rule that is given alone replaces the other one. Returns a line for what cannot be taken away."""
    problems = []
    given: dict[str, Any] = {}
    for argument in settings:
        if argument.kind == "delete":
            if (problem := _delete(argument, values)) is not None:
                problems.append(f"{grammar.shown(argument.text, model)}: {problem}")
        else:
            merge(given, opened(reduce(lambda inner, name: {name: inner}, reversed(argument.path), argument.value)))
    merge(values, replacing(given))
    return problems


def _delete(argument: Argument, values: dict[str, Any]) -> str | None:
    found = at(values, argument.path)
    if found is None:
        return "there is nothing to take away"
    if argument.value is not None and str(found) != argument.value:
        return "the value is another one, and stays"
    without(values, argument.path)
    return None


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
    values: dict[str, Any] = {}
    problems = [*unread.values(), *apply(settings, values, model)]
    check = looked_at(model, values, unread)
    found = check.validated()
    problems += [line(mistake, Origins((), settings, model).of) for mistake in check.mistakes]
    if problems or found is None:
        raise ConfigError(problems)
    return found
