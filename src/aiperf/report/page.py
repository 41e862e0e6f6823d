"""How wide the final table may be, and what of it is left where that is less than it would like."""

from collections.abc import Collection
from dataclasses import dataclass

from aiperf.report.paint import Paint

WIDTH = 100
STATS = ("avg", "p50", "p90", "p99", "p99.9", "max")
LABEL, CELL, COUNT, VALUE = 37, 9, 9, 24
_NARROWEST, _LEAST_VALUE, _INDENT = 30, 20, 2
_GIVEN_UP = ("p99.9", "p90", "avg", "max")
"""Statistics that go, the first one first, where there is no room for all; the files have them."""


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
    return Page(paint, width, label, _kept(width - label - COUNT), _value(width, label), name_above)


def _value(width: int, label: int) -> int:
    return min(VALUE, (width - label) // 2)


def _kept(room: int) -> tuple[str, ...]:
    """The statistics for which there is room."""
    gone = _GIVEN_UP[: max(0, len(STATS) - room // CELL)]
    return tuple(stat for stat in STATS if stat not in gone)
