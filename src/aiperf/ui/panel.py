"""How a moment of the load looks, and how it is drawn again and again as a terminal's last lines. Imports rich.

No mode is switched that would have to be switched back: whoever ends us, and however, finds the terminal as it was, the cursor visible.
"""

import os
import re
import select
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TextIO

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from aiperf.ui.progress import Standing

LATE_MS, FULL, SILENT_S = 1.0, 0.9, 1.5
"""Lateness, busyness and silence of the load generator that are worth a line."""

_STYLE = re.compile(r"\x1b\[[\d;]*m")


class Panel:
    """Draws on the terminal behind a stream, by its colours (NO_COLOR: none), past any buffer: a thread that hangs in it holds no lock."""

    def __init__(self, stream: TextIO) -> None:
        self._fd, self._encoding = stream.fileno(), stream.encoding
        self._console = Console(file=stream, force_terminal=True, highlight=False, width=80, height=25)  # what it would write is caught
        self._drawn: Sequence[str] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines; the usual ones where the terminal does not say."""
        columns = lines = 0
        with suppress(OSError):
            columns, lines = os.get_terminal_size(self._fd)
        return columns or 80, lines or 24

    def rows(self, at: Standing | None, columns: int) -> list[str]:
        """The moment in at most `columns` - 1 columns."""
        self._console.width = max(1, columns - 1)
        parts = [Text("waiting for the load to begin", "dim")] if at is None else _parts(at)
        with self._console.capture() as caught:
            self._console.print(Group(*parts), no_wrap=True, overflow="crop")
        return caught.get().splitlines()

    def draw(self, rows: Sequence[str], above: Sequence[str] = ()) -> None:
        """Replace what was drawn; `above` are lines that stay. While another program has the terminal only they are written."""
        columns, lines = self.size
        is_ours = True
        with suppress(OSError):  # where it cannot be known
            is_ours = os.tcgetpgrp(self._fd) == os.getpgrp()
        back = sum(max(1, -(-len(_STYLE.sub("", row)) // columns)) for row in self._drawn)  # also where a narrower terminal has folded them
        start = "\r" + (f"\x1b[{back}A" if back else "") + "\x1b[J"
        self._drawn = rows[: max(1, lines - 1)] if is_ours else ()
        text = "".join(f"{line}\n" for line in (*above, *self._drawn))
        rest = ((start if is_ours else "") + text).encode(self._encoding, "replace")
        with suppress(OSError):  # a terminal that is gone is left alone
            while rest:
                select.select((), (self._fd,), ())
                rest = rest[os.write(self._fd, rest) :]


def _parts(at: Standing) -> Iterator[RenderableType]:
    share, left = f"{100 * at.fraction:.0f} %" if at.fraction is not None else "", ""
    if at.left_s is not None and not at.is_over:
        left = f"{timedelta(seconds=int(at.left_s + 1))} left" if at.left_s > 0 else "finishing"
    head = Table.grid("", Column(ratio=1), Column(no_wrap=True, overflow="crop"), padding=(0, 1), expand=True)
    bar = ProgressBar(1 if share else None, at.fraction or 0, animation_time=at.elapsed_s)
    phase = Text(at.phase, "bold", no_wrap=True, overflow="crop")
    head.add_row(phase, bar, Text(f"{share:>5}  {timedelta(seconds=int(at.elapsed_s))}  {left:<12}"))
    yield head
    yield Columns(_figures(at), padding=(0, 3))
    yield from _notes(at)


def _figures(at: Standing) -> Iterator[Text]:
    """Each is as wide as the others, so that they stay in their places; as many are in a row as fit."""
    figures = [
        ("sent", f"{at.sent:,}", ""),
        ("in flight", f"{at.in_flight:,}", ""),
        ("done", f"{at.done:,}", ""),
        ("failed", f"{at.failures:,}", "bold red" if at.failures else ""),
        ("asked", "-" if at.asked is None else f"{at.asked:,.1f}/s", ""),
        ("reached", "-" if at.reached is None else f"{at.reached:,.1f}/s", ""),
        ("first event", "-" if at.first_ms is None else f"{at.first_ms:,.2f} ms", "cyan"),
    ]
    for label, value, style in figures:
        yield Text.assemble((f"{label:<11} ", "dim"), (f"{value:>12}", style), no_wrap=True, overflow="crop")


def _notes(at: Standing) -> Iterator[Text]:
    """Lines that are only there when there is something to say: of failures, and of how the load generator fares."""
    if at.failures:
        yield Text(f"failures    {', '.join(f'{name} {number:,}' for name, number in Counter(at.failed).most_common())}", "red")
    own = [f"at its limit ({100 * at.busy:.0f} % busy)"] if at.busy > FULL else []
    own += [f"{at.late_ms:,.1f} ms late"] if at.late_ms > LATE_MS else []
    own += [f"silent for {at.silent_s:.0f} s"] if at.silent_s >= SILENT_S and not at.is_over else []
    if own:
        yield Text(f"generator   {', '.join(own)}", "yellow")
