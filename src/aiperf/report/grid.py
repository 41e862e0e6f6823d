"""Rows of a query as plain text: columns under their names, cut to a terminal's width where there is one."""

import json
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from aiperf.finite import is_finite_value

_GAP = "  "
_LEAST = 24
"""No column is cut below this many characters."""


def grid(names: Sequence[str], rows: Sequence[Sequence[Any]], *, width: int | None = None) -> str:
    """The rows under their names, in `width` columns of text: long texts are cut first, what still does not fit is named in a last line."""
    cells = [[cell(value) for value in row] for row in rows]
    wide = [max(map(len, column)) for column in zip(names, *cells)]
    shown = list(enumerate(_fitted(names, wide, width)))
    kinds = [{type(row[i]) for row in rows} - {type(None)} for i, _ in shown]
    side = [str.rjust if kind and kind <= {int, float} else str.ljust for kind in kinds]
    lines = [_GAP.join(side[i](cut(row[i], size), size) for i, size in shown).rstrip() for row in (names, *cells)]
    lines.insert(1, _GAP.join("-" * size for _, size in shown))
    if len(shown) < len(names):
        lines.append(f"{len(names) - len(shown)} more columns do not fit: {', '.join(names[len(shown) :])}")
    return "\n".join(lines)


def cell(value: Any) -> str:
    """A value in one line without what a terminal would obey: floats with six digits that mean something, lists and the like as JSON."""
    if value is None or isinstance(value, float):
        return f"{float(f'{value:.6g}'):.15g}" if is_finite_value(value) else "-"
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (bool, list, dict)) else str(value)
    plain = text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)
    return " ".join(plain.split())


def _fitted(names: Sequence[str], wide: Sequence[int], width: int | None) -> list[int]:
    """The sizes of the columns that are shown, of the first as many as fit."""
    if width is None:
        return list(wide)
    least = [min(size, max(_LEAST, len(name))) for name, size in zip(names, wide)]
    count = max(1, sum(end <= width + len(_GAP) for end in accumulate(size + len(_GAP) for size in least)))
    sizes = list(wide[:count])
    while sum(sizes) + len(_GAP) * (count - 1) > width and any(size > floor for size, floor in zip(sizes, least)):
        widest = max(range(count), key=lambda i: sizes[i] - least[i])
        sizes[widest] -= 1
    return sizes


def cut(text: str, size: int) -> str:
    """A text of at most this many characters, with a sign where some are missing."""
    return text if len(text) <= size else f"{text[: size - 1]}…"
