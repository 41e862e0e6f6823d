"""Where each value comes from, an argument or a line of a file, and what a composition did that a person may not have meant."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

from aiperf.config import arguments as grammar
from aiperf.config import expected as words
from aiperf.config import roots
from aiperf.config.arguments import Argument
from aiperf.config.base import Model
from aiperf.config.experiment import Experiment
from aiperf.config.files import RULES, STOP_RULES, Layer, Reading, line_of
from aiperf.config.keys import Path, lookup
from aiperf.config.mistakes import at, leaves
from aiperf.config.secrets import hidden


class Origins(NamedTuple):
    """The layers of one composition, the strongest last in each tuple: files of groups, experiments, arguments."""

    layers: Sequence[Layer]
    arguments: Sequence[Argument]
    model: type[Model] = Experiment

    def of(self, path: Path) -> str:
        """The strongest source of the value at a path; of a whole group, everything that has a say in it."""
        key = lookup(self.model, path)
        if not path or (key is not None and key.nested is not None):
            return ", ".join(dict.fromkeys([*(roots.shown(layer.file) for layer in self._layers(path)), *self._typed(path)]))
        if typed := self._typed(path):
            return typed[-1]
        if not (layers := self._layers(path)):
            return ""
        file, group, _ = layers[-1]
        number = line_of(file, path[1:] if group else path)
        return roots.shown(file) + (f":{number}" if number else "")

    def file_of(self, path: Path) -> str:
        """The strongest file that sets a path, empty if none does."""
        layers = self._layers(path)
        return roots.shown(layers[-1].file) if layers else ""

    def _layers(self, path: Path) -> list[Layer]:
        return [layer for layer in sorted(self.layers, key=lambda it: not it.at) if _touches(layer, path)]

    def _typed(self, path: Path) -> list[str]:
        given = (argument for argument in self.arguments if not argument.is_choice and _related(argument.path, path))
        return [grammar.shown(argument.text, self.model) for argument in given]


def _touches(layer: Layer, path: Path) -> bool:
    return any(_related(found, path) for found, value in leaves(layer.values) if value is not None or found == path)


def _related(one: Path, other: Path) -> bool:
    """Whether one path is, or lies above or below, the other."""
    return all(a == b for a, b in zip(one, other))


def notes(current: Reading, settings: Sequence[Argument], before: Mapping[str, Any], origins: Origins) -> tuple[str, ...]:
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
    return f"{'.'.join(path)}={shown if isinstance(shown, str) else words.typed(shown)}"


def _replaced(layers: Sequence[Layer]) -> Iterator[str]:
    """Rules of groups that an experiment's own rule replaced."""
    for experiment in (layer for layer in layers if not layer.at):
        for rule, other in _rules():
            is_alone = at(experiment.values, rule) is not None and other[-1] not in at(experiment.values, other[:-1])
            below = next((layer for layer in layers if layer.at and at(layer.values, other) is not None), None)
            if is_alone and below is not None:
                rules = f"{_setting(rule, at(experiment.values, rule))} replaces {_setting(other, at(below.values, other))}"
                yield f"{roots.shown(experiment.file)}: {rules} of {roots.shown(below.file)}"


def _overruled(settings: Sequence[Argument], before: Mapping[str, Any], origins: Origins) -> Iterator[str]:
    """Rules of files that the command line's replaced."""
    given = [leaf for argument in settings if argument.kind == "value" for leaf in leaves(argument.value, argument.path)]
    values = {path: value for path, value in given if value is not None}
    for path, gone in _rules():
        if path in values and gone not in values and at(before, gone) is not None:
            yield f"{_setting(path, values[path])} replaces {_setting(gone, at(before, gone))} of {origins.file_of(gone)}"


def _rules() -> Iterator[tuple[Path, Path]]:
    """Every rule, and the one that it replaces."""
    for stop in STOP_RULES:
        for rule, other in permutations(RULES):
            yield (*stop, rule), (*stop, other)
