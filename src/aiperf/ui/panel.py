"""How a moment of the load looks: a bar and a grid of figures whose places and widths do not change. Imports rich."""

import io
from collections import Counter
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.text import Text

from aiperf.results import Outlook
from aiperf.ui.progress import Standing

LATE_MS, FULL, BEHIND, SILENT_S = 1.0, 0.9, 0.98, 1.5
"""What is worth a colour or a line: lateness, busyness and silence above these, a rate below this share of what was asked."""

_LABELS, _VALUE, _GAP = (11, 9, 7, 6), 8, 5
_BAR, _HEAD = 8, 36
_CLASSES = 4

Cell = tuple[str, str, str]
"""A figure: its name, its value and its style."""


class Panel:
    """Draws for one terminal: its colours, its encoding; whoever sets NO_COLOR gets none."""

    def __init__(self, encoding: str, outlook: Outlook) -> None:
        nowhere = io.TextIOWrapper(io.BytesIO(), encoding)  # rich writes nothing: what it would write is caught
        self._console = Console(file=nowhere, force_terminal=True, highlight=False, width=80, height=25)
        self._outlook = outlook

    def rows(self, at: Standing | None, columns: int) -> list[str]:
        """The moment in at most `columns` - 1 columns, as few figures as fit."""
        if at is None:
            return self._drawn([Text("waiting for the load to begin", "dim")], columns)
        number, gap, span = _grid(columns - 1)
        figures = _figures(at, self._outlook, is_wide=number == len(_LABELS))
        lines = (_line(cells[:number], gap) for cells in figures)
        notes = (Text(f"{label:<{_LABELS[0]}} {text}", style) for label, text, style in _notes(at))
        return self._drawn([self._headline(at, span), *lines, *notes], columns)

    def last(self, at: Standing | None, columns: int) -> list[str]:
        """What is left when the load is over: one line, none where it never began."""
        if at is None:
            return []
        pace = f" ({at.sent / at.elapsed_s:,.1f}/s)" if at.elapsed_s > 0 else ""
        failed = (f"{at.failures:,} failed", "red" if at.failures else "")
        said = Text.assemble(f"{at.phase} {clock_face(at.elapsed_s)}: {at.sent:,} sent, ", failed, f", {at.done:,} done{pace}")
        return self._drawn([said], columns)

    def _drawn(self, lines: Iterable[Text], columns: int) -> list[str]:
        self._console.width = max(1, columns - 1)
        with self._console.capture() as caught:
            for line in lines:
                line.rstrip()
                self._console.print(line, no_wrap=True, overflow="crop" if self._console.options.ascii_only else "ellipsis")
        return caught.get().splitlines()

    def _headline(self, at: Standing, span: int) -> Text:
        """Phase, bar, per cent, time gone, time left; in narrow terminals the time left goes first, then the bar."""
        name = Text(f"{at.phase[: _LABELS[0]]:<{_LABELS[0]}} ", "bold")
        share = f"{100 * at.fraction:>5.0f} %" if at.fraction is not None else ""
        tail = Text.assemble((share, "bold"), f"{clock_face(at.elapsed_s):>9}")
        left, room = f"{_left(at):>14}", span - len(name) - len(tail)
        if room - len(left) >= _BAR:
            tail.append(left, "dim")
            room -= len(left)
        return Text.assemble(name, self._bar(at, room) if room >= _BAR else "", tail)

    def _bar(self, at: Standing, width: int) -> Text:
        full, half, rest = ("#", "", ".") if self._console.options.ascii_only else ("━", "╸", "─")
        if at.fraction is None:  # a runner goes to and fro: something is going on, nobody knows for how long
            place = round(abs((at.elapsed_s / 4) % 2 - 1) * (width - 3))
            return Text.assemble((rest * place, "dim"), (full * 3, "cyan"), (rest * (width - 3 - place), "dim"))
        done, odd = divmod(int(2 * width * at.fraction), 2)
        bar = full * done + half * odd
        return Text.assemble((bar, "cyan" if at.fraction < 1 else "green"), (rest * (width - len(bar)), "dim"))


def count(n: int) -> str:
    """A count in at most eight columns."""
    return f"{n:,}" if n < 1_000_000 else f"{n / 1_000_000:,.3f}M"


def rate(per_s: float | None) -> str:
    """Arrivals a second."""
    return "-" if per_s is None else f"{per_s:,.{1 if per_s < 1000 else 0}f}/s"


def time_ms(ms: float | None) -> str:
    """A duration with three digits that mean something."""
    if ms is None:
        return "-"
    if ms >= 10_000:
        return f"{ms / 1000:,.1f} s"
    return f"{ms:,.{2 if ms < 10 else 1 if ms < 100 else 0}f} ms"


def clock_face(seconds: float) -> str:
    """Minutes and seconds, from an hour on hours too."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _grid(width: int) -> tuple[int, int, int]:
    """How many columns of figures fit, the gap between them, and how wide the whole is."""
    for number in range(len(_LABELS), 1, -1):
        bare = sum(_LABELS[:number]) + number * (_VALUE + 1)
        gap = min(_GAP, (width - bare) // (number - 1))
        if gap > 0:
            return number, gap, bare + (number - 1) * gap
    return 1, 0, min(width, _HEAD)


def _left(at: Standing) -> str:
    if at.left_s is None:
        return ""
    if at.left_s > 0:
        return f"{clock_face(at.left_s + 1)} left"
    return "done" if at.is_over else "finishing"


def _line(cells: Iterable[Cell], gap: int) -> Text:
    line = Text()
    for (label, value, style), width in zip(cells, _LABELS):
        line.append(f"{label:<{width}} ", "dim").append(f"{value:>{_VALUE}}", style).append(" " * gap)
    return line


def _figures(at: Standing, outlook: Outlook, *, is_wide: bool) -> Iterator[list[Cell]]:
    """The rows of figures; the last two are one where there is room, how the load generator fares at its end."""
    failed = ("failed", count(at.failures), "bold red" if at.failures else "")
    yield [("sent", count(at.sent), ""), ("in flight", count(at.in_flight), ""), ("done", count(at.done), ""), failed]
    yield list(_rates(at, outlook))
    first, p99 = at.first_ms
    firsts = [("first event", time_ms(first), "cyan"), ("its p99", time_ms(p99), "cyan")]
    is_late, is_full = at.late_ms > LATE_MS, at.busy > FULL
    own = [
        ("busy", f"{'! ' if is_full else ''}{100 * at.busy:.0f} %", "bold yellow" if is_full else ""),
        ("late", time_ms(at.late_ms) if is_late else "< 1 ms", "bold yellow" if is_late else "dim"),
    ]
    yield from [[*firsts, *own]] if is_wide else [firsts, own]


def _rates(at: Standing, outlook: Outlook) -> Iterator[Cell]:
    is_open = outlook.rate is not None
    if is_open:
        yield "asked", rate(at.asked), ""
    is_behind = is_open and at.asked is not None and at.reached is not None and at.reached < BEHIND * at.asked
    yield "reached", rate(at.reached), "yellow" if is_behind else ""
    if is_open:
        yield "planned", rate(outlook.rate), ""
    if outlook.concurrency is not None:
        yield "cap" if is_open else "level", count(outlook.concurrency), ""


def _notes(at: Standing) -> Iterator[Cell]:
    """Lines that are only there when there is something to say."""
    if at.failures:
        named = [f"{name} {number:,}" for name, number in Counter(at.failed).most_common(_CLASSES)]
        named += ["..."] * (len(at.failed) > _CLASSES)
        yield "failures", f"{at.failures:,}: {', '.join(named)}", "red"
    if at.busy > FULL:
        yield "full", "generator at its limit", "yellow"
    if at.silent_s >= SILENT_S and not at.is_over:
        yield "silent", f"generator, for {at.silent_s:.0f} s", "yellow"
