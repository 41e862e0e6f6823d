"""Where each value comes from, an argument or a line of a file, and what a composition did that a person may not have meant."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

from aiperf.config.base import Model
from aiperf.config.files import RULES, STOP_RULES, Layer, Reading
from aiperf.config.keys import Path, at, leaves, lookup, typed
from aiperf.config.secrets import hidden


def origin(layers: Sequence[Layer], model: type[Model], path: Path) -> str:
    """The strongest source, the last of `layers`, of the value at a path; of a whole group, everything that has a say in it."""
    key = lookup(model, path)
    found = [layer for layer in layers if _touches(layer, path)]
    if not path or (key is not None and key.nested is not None):
        return ", ".join(dict.fromkeys(layer.shown for layer in found))
    return found[-1].place(path) if found else ""


def _touches(layer: Layer, path: Path) -> bool:
    """Whether a layer says something at a path, above or below it; a null of a file is about itself alone."""
    said = ((found, value is not None or layer.typed) for found, value in leaves(layer.values))
    return any(all(a == b for a, b in zip(found, path)) and (is_said or found == path) for found, is_said in said)


def notes(current: Reading, layers: Sequence[Layer]) -> Iterator[str]:
    """Every line, in the order in which things happen; the last of `layers` is the command line as a whole."""
    for layer in current.chosen:
        if said := " ".join(f"{group}={name}" for group, name in layer.values.items() if name is not None):
            yield f"{layer.shown} chooses {said}"
    for layer in current.dropped:
        for path, value in leaves(layer.values):
            yield f"dropped {_setting(path, value)} of {layer.shown}: {path[0]} was chosen on the command line"
    for number, layer in enumerate(layers):
        yield from _replaced(layer, layers[number - 1 :: -1] if number else ())


def _setting(path: Path, value: Any) -> str:
    shown = hidden(value, path)
    return f"{'.'.join(path)}={shown if isinstance(shown, str) else typed(shown)}"


def _replaced(layer: Layer, below: Sequence[Layer]) -> Iterator[str]:
    """Rules of the layers below, the nearest first, that a layer's own rule replaced."""
    for stop in STOP_RULES:
        rules = at(layer.values, stop) or {}
        for rule, other in permutations(RULES):
            nearest = next((it for it in below if any(at(it.values, (*stop, one)) is not None for one in RULES)), None)
            gone = at(nearest.values, (*stop, other)) if nearest else None
            if nearest and gone is not None and at(rules, (rule,)) is not None and other not in rules:
                replaces = f"{_setting((*stop, rule), rules[rule])} replaces {_setting((*stop, other), gone)} of {nearest.shown}"
                yield replaces if layer.typed else f"{layer.shown}: {replaces}"
