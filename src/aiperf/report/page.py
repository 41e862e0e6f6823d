"""The page that the final table is on: its colours, its width, and what is left where that is less than it would like."""

from collections.abc import Collection
from dataclasses import dataclass

WIDTH = 100
STATS = ("avg", "p50", "p90", "p99", "p99.9", "max")
LABEL, CELL, COUNT, VALUE = 37, 9, 9, 24
_NARROWEST, _LEAST_VALUE, _INDENT = 30, 20, 2
_GIVEN_UP = ("p99.9", "p90", "avg", "max")
"""Statistics that go, the first one first, where there is no room for all; the files have them."""


@dataclass(frozen=True, slots=True)
class Paint:
    """Wraps text in ANSI codes where `colour` is on; for pipes and files it is off and the text stays as it is."""

    colour: bool

    def bold(self, text: str) -> str:
        """What is looked for first."""
        return self._in(text, 1)

    def dim(self, text: str) -> str:
        """What means less."""
        return self._in(text, 2)

    def red(self, text: str) -> str:
        """What is wrong."""
        return self._in(text, 31)

    def green(self, text: str) -> str:
        """What is as it should be."""
        return self._in(text, 32)

    def _in(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


@dataclass(frozen=True, slots=True)
class Page:
    """Colours and columns: the width of all, of names, of a value and the one beside it; `name_above`: names have lines of their own."""

    paint: Paint
    width: int = WIDTH
    label: int = LABEL
    stats: tuple[str, ...] = STATS
    value: int = VALUE
    name_above: bool = False

    def named(self, name: str, rest: str, *, bold: bool = False) -> str:
        """A name and what is said of it, on one line where it fits."""
        label = name.ljust(0 if self.name_above else self.label)
        label = self.paint.bold(label) if bold else label
        return f"{label}\n{' ' * self.label}{rest}" if self.name_above else label + rest


def page(paint: Paint, columns: int | None, names: Collection[str]) -> Page:
    """The page for a terminal of so many columns (None: no terminal) and the names that stand at its left."""
    if columns is None or columns >= WIDTH:
        return Page(paint)
    width = max(columns, _NARROWEST)
    label = min(LABEL, _INDENT + 1 + max(map(len, names), default=0))
    name_above = _value(width, label) < _LEAST_VALUE
    label = _INDENT if name_above else label
    gone = _GIVEN_UP[: max(0, len(STATS) - (width - label - COUNT) // CELL)]
    return Page(paint, width, label, tuple(stat for stat in STATS if stat not in gone), _value(width, label), name_above)


def _value(width: int, label: int) -> int:
    return min(VALUE, (width - label) // 2)
