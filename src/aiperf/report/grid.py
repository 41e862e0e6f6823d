"""Rows of a query as plain text: columns under their names, cut to a terminal's width where there is one."""

import json
from collections.abc import Sequence
from typing import Any

from aiperf.finite import is_finite_value

_GAP = "  "
_LEAST = 24
"""No column is cut below this many characters."""


def grid(names: Sequence[str], rows: Sequence[Sequence[Any]], *, width: int | None = None) -> str:
    """The rows under their names, numbers to the right, a dash for null; in `width` columns of text, or as wide as it is.

    Long texts are cut first; columns that then still do not fit are left out, and named in a last line.
    """
    cells = [[cell(value) for value in row] for row in rows]
    wide = [max(len(name), *(len(row[i]) for row in cells)) if cells else len(name) for i, name in enumerate(names)]
    shown = _fitted(names, wide, width)
    right = [_is_of_numbers([row[i] for row in rows]) for i in range(len(names))]
    lines = [_line([cut(row[i], size) for i, size in enumerate(shown)], shown, right) for row in (list(names), *cells)]
    lines.insert(1, _GAP.join("-" * size for size in shown))
    if len(shown) < len(names):
        lines.append(f"{len(names) - len(shown)} more columns do not fit: {', '.join(names[len(shown) :])}")
    return "\n".join(lines)


def cell(value: Any) -> str:
    """A value in a table: floats with six digits that mean something, lists and the like as JSON, in one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _short(value)
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, dict)) else str(value)
    return " ".join(text.split())


def _short(value: float) -> str:
    if not is_finite_value(value):
        return "-"
    if 1e-4 <= abs(value) < 1e15:
        rounded = float(f"{value:.6g}")
        return str(int(rounded)) if rounded.is_integer() else repr(rounded)
    return f"{value:.6g}"


def _is_of_numbers(values: Sequence[Any]) -> bool:
    there = [value for value in values if value is not None]
    return bool(there) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in there)


def _fitted(names: Sequence[str], wide: Sequence[int], width: int | None) -> list[int]:
    """The sizes of the columns that are shown, of the first as many as fit."""
    if width is None:
        return list(wide)
    least = [min(size, max(_LEAST, len(name))) for name, size in zip(names, wide)]
    count = next((n for n in range(len(least), 1, -1) if _total(least[:n]) <= width), 1)
    sizes = list(wide[:count])
    while _total(sizes) > width and any(size > floor for size, floor in zip(sizes, least)):
        widest = max(range(count), key=lambda i: sizes[i] - least[i])
        sizes[widest] -= 1
    return sizes


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + len(_GAP) * (len(sizes) - 1)


def cut(text: str, size: int) -> str:
    """A text of at most this many characters, with a sign where some are missing."""
    return text if len(text) <= size else f"{text[: size - 1]}…"


def _line(cells: Sequence[str], sizes: Sequence[int], right: Sequence[bool]) -> str:
    return _GAP.join(text.rjust(size) if to_right else text.ljust(size) for text, size, to_right in zip(cells, sizes, right)).rstrip()
