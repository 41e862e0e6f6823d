"""Where each value comes from: which argument, or which line of which file."""

from collections.abc import Sequence
from pathlib import Path as File
from typing import NamedTuple

from aiperf.config import arguments as grammar
from aiperf.config import roots
from aiperf.config.arguments import Argument
from aiperf.config.experiment import Experiment
from aiperf.config.files import Layer, line_of
from aiperf.config.keys import Path, lookup
from aiperf.config.mistakes import leaves


class Origins(NamedTuple):
    """The layers of one composition, the strongest last in each tuple: files of groups, experiments, arguments."""

    layers: Sequence[Layer]
    arguments: Sequence[Argument]

    def of(self, path: Path) -> str:
        """The strongest source of the value at a path; of a whole group, everything that has a say in it."""
        key = lookup(Experiment, path)
        if not path or (key is not None and key.nested is not None):
            return ", ".join(dict.fromkeys([*map(self._file, self._files(path)), *map(_typed, self._typed(path))]))
        if typed := self._typed(path):
            return _typed(typed[-1])
        if files := self._files(path):
            return self.line(files[-1], path)
        return ""

    def file_of(self, path: Path) -> str:
        """The strongest file that sets a path, empty if none does."""
        files = self._files(path)
        return self._file(files[-1]) if files else ""

    def line(self, layer: Layer, path: Path) -> str:
        """A file and the line on which a key stands."""
        inside = path[1:] if layer.at else path
        number = line_of(File(layer.file), inside)
        return roots.shown(layer.file) + (f":{number}" if number else "")

    def _file(self, layer: Layer) -> str:
        return roots.shown(layer.file)

    def _files(self, path: Path) -> list[Layer]:
        return [layer for layer in sorted(self.layers, key=lambda it: not it.at) if _touches(layer, path)]

    def _typed(self, path: Path) -> list[Argument]:
        return [argument for argument in self.arguments if not argument.is_choice and _related(argument.path, path)]


def _typed(argument: Argument) -> str:
    return grammar.shown(argument.text, Experiment)


def _touches(layer: Layer, path: Path) -> bool:
    return any(_related(found, path) for found, value in leaves(layer.values) if value is not None or found == path)


def _related(one: Path, other: Path) -> bool:
    """Whether one path is, or lies above or below, the other."""
    return all(a == b for a, b in zip(one, other))
