"""How a moment of the load looks: a bar and a grid of figures whose places and widths do not change. Imports rich."""

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from aiperf.results import Outlook
from aiperf.ui.progress import Standing
from aiperf.ui.region import Row

LATE_MS, FULL, BEHIND = 1.0, 0.9, 0.98
"""What is worth a colour: lateness and busyness above these, a rate below this share of what was asked."""
SILENT_S = 1.5

_MILLION, _HOUR_S, _MINUTE_S = 1_000_000, 3600, 60
_LABELS = (11, 9, 7, 6)
_VALUE = 8
_GAP = 5
_BAR = (8, 60)
_CLASSES = 4
_WIDEST = 1000


class Cell(NamedTuple):
    """A figure with its name."""

    label: str
    value: str
    style: str = ""


Rows = Sequence[Sequence[Cell]]


class Panel:
    """Draws for one terminal: its colours, its encoding; whoever sets NO_COLOR gets none."""

    def __init__(self, encoding: str, outlook: Outlook) -> None:
        nowhere = io.TextIOWrapper(io.BytesIO(), encoding)  # rich writes nothing: what it would write is caught
        self._console = Console(file=nowhere, force_terminal=True, highlight=False, markup=False, emoji=False, width=_WIDEST)
        self._outlook = outlook

    @property
    def is_dumb(self) -> bool:
        """Whether this terminal cannot draw in place, or says that it cannot."""
        return self._console.is_dumb_terminal

    def rows(self, at: Standing | None, columns: int) -> list[Row]:
        """The moment in at most `columns` - 1 columns, as few figures as fit."""
        width = columns - 1
        if at is None:
            return [self._row(Text("waiting for the load to begin", "dim"), width)]
        count, gap = _grid(width)
        span = sum(_LABELS[:count]) + count * (_VALUE + 1) + (count - 1) * gap
        lines = [self._headline(at, max(span, min(width, _least(count))))]
        lines += [_line(cells[:count], gap) for cells in _cells(at, self._outlook, count == len(_LABELS))]
        return [self._row(line, width) for line in (*lines, *_notes(at))]

    def last(self, at: Standing, columns: int) -> list[Row]:
        """What is left when the load is over: one line."""
        pace = f" ({at.sent / at.elapsed_s:,.1f}/s)" if at.elapsed_s > 0 else ""
        failed = (f"{at.failures:,} failed", "red" if at.failures else "")
        said = Text.assemble(f"{at.phase} {clock_face(at.elapsed_s)}: {at.sent:,} sent, ", failed, f", {at.done:,} done{pace}")
        return [self._row(said, columns - 1)]

    def _row(self, text: Text, width: int) -> Row:
        text.truncate(width, overflow="ellipsis" if not self._console.options.ascii_only else "crop")
        text.rstrip()
        with self._console.capture() as caught:
            self._console.print(text, end="", no_wrap=True, overflow="ignore")
        return Row(caught.get(), text.cell_len)

    def _headline(self, at: Standing, span: int) -> Text:
        """Phase, bar, per cent, time gone, time left; in narrow terminals the time left goes first, then the bar."""
        fraction, left = at.fraction, _left(at)
        name = Text(f"{at.phase[: _LABELS[0]]:<{_LABELS[0]}} ", "bold")
        tail = Text(f"{clock_face(at.elapsed_s):>9}")
        if fraction is not None:
            tail = Text.assemble((f"{100 * fraction:>5.0f} %", "bold"), tail)
        if span - len(name) - len(tail) - len(left) >= _BAR[0]:
            tail.append(left, "dim")
        room = span - len(name) - len(tail)
        return Text.assemble(name, self._bar(fraction, at.elapsed_s, room) if room >= _BAR[0] else "", tail)

    def _bar(self, fraction: float | None, elapsed_s: float, width: int) -> Text:
        full, half, rest = ("#", "", ".") if self._console.options.ascii_only else ("━", "╸", "─")
        if fraction is None:  # a runner goes to and fro: something is going on, nobody knows for how long
            place = round(abs((elapsed_s / 4) % 2 - 1) * (width - 3))
            return Text.assemble((rest * place, "dim"), (full * 3, "cyan"), (rest * (width - 3 - place), "dim"))
        halves = int(2 * width * fraction)
        done = full * (halves // 2) + (half if halves % 2 else "")
        return Text.assemble((done, "cyan" if fraction < 1 else "green"), (rest * (width - len(done)), "dim"))


def count(n: int) -> str:
    """A count in at most eight columns."""
    return f"{n:,}" if n < _MILLION else f"{n / _MILLION:,.3f}M"


def rate(per_s: float | None) -> str:
    """Arrivals a second."""
    if per_s is None:
        return "-"
    return f"{per_s:,.1f}/s" if per_s < 1000 else f"{per_s:,.0f}/s"


def time_ms(ms: float | None) -> str:
    """A duration with three digits that mean something."""
    if ms is None:
        return "-"
    if ms >= 10_000:
        return f"{ms / 1000:,.1f} s"
    return f"{ms:,.{2 if ms < 10 else 1 if ms < 100 else 0}f} ms"


def clock_face(seconds: float) -> str:
    """Minutes and seconds, from an hour on hours too."""
    whole = int(seconds)
    minutes = f"{whole % _HOUR_S // _MINUTE_S}" if whole < _HOUR_S else f"{whole // _HOUR_S}:{whole % _HOUR_S // _MINUTE_S:02d}"
    return f"{minutes}:{whole % _MINUTE_S:02d}"


def _grid(width: int) -> tuple[int, int]:
    """How many columns of figures fit, and the gap between them."""
    for number in range(len(_LABELS), 1, -1):
        spare = width - sum(_LABELS[:number]) - number * (_VALUE + 1)
        if spare >= number - 1:
            return number, min(_GAP, spare // (number - 1))
    return 1, 0


def _least(number: int) -> int:
    return _LABELS[0] + 1 + _BAR[0] + 16 if number == 1 else 0


def _left(at: Standing) -> str:
    if at.left_s is None:
        return f"{'':>14}"
    if at.left_s <= 0:
        return f"{'done' if at.is_over else 'finishing':>14}"
    return f"{clock_face(at.left_s + 1):>9} left"


def _line(cells: Sequence[Cell], gap: int) -> Text:
    line = Text()
    for place, cell in enumerate(cells):
        line.append(" " * gap if place else "")
        line.append(f"{cell.label:<{_LABELS[place]}} ", "dim")
        line.append(f"{cell.value:>{_VALUE}}", cell.style)
    return line


def _cells(at: Standing, outlook: Outlook, is_wide: bool) -> Rows:
    failed = Cell("failed", count(at.failures), "bold red" if at.failures else "")
    counts = (Cell("sent", count(at.sent)), Cell("in flight", count(at.in_flight)), Cell("done", count(at.done)), failed)
    firsts = tuple(Cell(label, time_ms(ms), "cyan") for label, ms in zip(("first event", "its p99"), at.first_ms))
    own = _own(at)
    if is_wide:
        return counts, _rates(at, outlook), (*firsts, *own)
    return counts, _rates(at, outlook), firsts, own


def _rates(at: Standing, outlook: Outlook) -> tuple[Cell, ...]:
    reached = Cell("reached", rate(at.reached))
    name = "level" if outlook.rate is None else "cap"
    level = (Cell(name, count(outlook.concurrency)),) if outlook.concurrency is not None else ()
    if outlook.rate is None:
        return (reached, *level)
    is_behind = at.asked is not None and at.reached is not None and at.reached < BEHIND * at.asked
    seen = reached._replace(style="yellow" if is_behind else "")
    return (Cell("asked", rate(at.asked)), seen, Cell("planned", rate(outlook.rate)), *level)


def _own(at: Standing) -> tuple[Cell, Cell]:
    """How the load generator fares."""
    is_late, is_full = at.late_ms > LATE_MS, at.busy > FULL
    busy = Cell("busy", ("! " if is_full else "") + f"{100 * at.busy:.0f} %", "bold yellow" if is_full else "")
    return busy, Cell("late", time_ms(at.late_ms) if is_late else "< 1 ms", "bold yellow" if is_late else "dim")


def _notes(at: Standing) -> Iterator[Text]:
    """Lines that are only there when there is something to say."""
    if at.failures:
        classes = sorted(at.failed.items(), key=lambda item: -item[1])
        named = [f"{name} {number:,}" for name, number in classes[:_CLASSES]]
        rest = ", ..." if len(classes) > _CLASSES else ""
        yield _note("failures", f"{at.failures:,}: {', '.join(named)}{rest}", "red")
    if at.busy > FULL:
        yield _note("full", "generator at its limit", "yellow")
    if at.silent_s >= SILENT_S and not at.is_over:
        yield _note("silent", f"generator, for {at.silent_s:.0f} s", "yellow")


def _note(label: str, text: str, style: str) -> Text:
    return Text(f"{label:<{_LABELS[0]}} {text}", style)
