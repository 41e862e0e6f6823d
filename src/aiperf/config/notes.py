"""What a composition did that a person may not have meant: choices, dropped keys, replaced stop rules."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aiperf.config import expected as words
from aiperf.config import files, roots
from aiperf.config.arguments import Argument
from aiperf.config.files import RULES, STOP_RULES, Layer, Reading
from aiperf.config.keys import Path
from aiperf.config.mistakes import at, leaves
from aiperf.config.origins import Origins
from aiperf.config.secrets import hidden


def lines(current: Reading, settings: Sequence[Argument], before: Mapping[str, Any], origins: Origins) -> tuple[str, ...]:
    """Every line, in the order in which things happen; `before` are the values before the command line."""
    return (*_chosen(current.chosen), *_dropped(current.dropped), *_replaced(current.layers), *_overruled(settings, before, origins))


def _chosen(layers: Sequence[Layer]) -> Iterator[str]:
    for layer in layers:
        if said := " ".join(f"{group}={name}" for group, name in layer.values.items() if name is not None):
            yield f"{roots.shown(layer.file)} chooses {said}"


def _dropped(layers: Sequence[Layer]) -> Iterator[str]:
    for layer in layers:
        for path, value in leaves(layer.values):
            if path:
                yield f"dropped {_setting(path, value)} of {roots.shown(layer.file)}: {path[0]} was chosen on the command line"


def _setting(path: Path, value: Any) -> str:
    shown = hidden(value, path)
    return f"{words.dotted(path)}={shown if isinstance(shown, str) else words.typed(shown)}"


def _replaced(layers: Sequence[Layer]) -> Iterator[str]:
    """Rules of groups that an experiment's own rule replaced."""
    for experiment in (layer for layer in layers if not layer.at):
        for rule, other in _alone(experiment.values):
            below = next((layer for layer in layers if layer.at and at(layer.values, other) is not None), None)
            if below is not None:
                rules = f"{_setting(rule, at(experiment.values, rule))} replaces {_setting(other, at(below.values, other))}"
                yield f"{roots.shown(experiment.file)}: {rules} of {roots.shown(below.file)}"


def _overruled(settings: Sequence[Argument], before: Mapping[str, Any], origins: Origins) -> Iterator[str]:
    """Rules of files that the command line's replaced."""
    given = [leaf for argument in settings if argument.kind == "value" for leaf in leaves(argument.value, argument.path)]
    values = {path: value for path, value in given if value is not None}
    for stop in STOP_RULES:
        for rule, other in ((RULES[0], RULES[1]), (RULES[1], RULES[0])):
            path, gone = (*stop, rule), (*stop, other)
            if path in values and gone not in values and at(before, gone) is not None:
                yield f"{_setting(path, values[path])} replaces {_setting(gone, at(before, gone))} of {origins.file_of(gone)}"


def _alone(values: Mapping[str, Any]) -> Iterator[tuple[Path, Path]]:
    """A rule that stands alone in a layer, and the other one."""
    for stop in STOP_RULES:
        rules = at(values, stop)
        given = [rule for rule in RULES if isinstance(rules, Mapping) and rules.get(rule) is not None]
        if len(given) == 1 and not any(other in rules for other in RULES if other not in given):
            yield (*stop, given[0]), (*stop, next(rule for rule in files.RULES if rule not in given))
