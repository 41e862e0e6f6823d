"""The table that a person sees at the end of a run: plain text of at most 100 columns, coloured only if asked, narrower if it has to be."""

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aiperf.metrics.intervals import why_none
from aiperf.report.grid import cut
from aiperf.results import MetricValue, Slo, Summary, Timeline

_RATES = (
    "request_throughput", "input_token_throughput", "output_token_throughput", "total_token_throughput", "goodput", "good_request_fraction",
)  # fmt: skip
_LATENCIES = (
    "planned_time_to_first_token", "time_to_first_token", "planned_time_to_first_output_token", "time_to_first_output_token",
    "inter_token_latency", "inter_chunk_latency", "planned_request_latency", "request_latency", "queue_time", "schedule_lateness",
)  # fmt: skip
_LENGTHS = ("input_sequence_length", "output_sequence_length", "reasoning_token_count")
_HEADLINE = (
    "request_throughput", "output_token_throughput", "planned_time_to_first_token", "time_to_first_token", "inter_token_latency",
    "planned_request_latency", "request_latency",
)  # fmt: skip
_OURS = (*_RATES, *_LATENCIES, *_LENGTHS)
_MOST_OTHERS = 12
_HEADINGS = {"ms": "latencies in ms", "tokens": "lengths in tokens"}
_SAMPLE = 160
_PROMISE, _FOUND, _UNEVEN = 62, 30, 2
"""Columns of a promise and of what was found; a stretch with this many times the mean of failures is pointed at."""
WIDTH = 100
STATS = ("avg", "p50", "p90", "p99", "p99.9", "max")
LABEL, CELL, COUNT, VALUE = 37, 9, 9, 24
_NARROWEST, _LEAST_VALUE, _INDENT = 30, 20, 2
_GIVEN_UP = ("p99.9", "p90", "avg", "max")
"""Statistics that go, the first one first, where there is no room for all; the files have them."""
_BOLD, _DIM, _RED, _GREEN = 1, 2, 31, 32
_DIGITS = ((1, 3), (100, 2), (10_000, 1))
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """Colours and columns: the width of all, of names, of a value and the one beside it; `name_above`: names have lines of their own."""

    colour: bool
    width: int = WIDTH
    label: int = LABEL
    stats: tuple[str, ...] = STATS
    value: int = VALUE
    name_above: bool = False

    def paint(self, code: int, text: str) -> str:
        """Text in an ANSI code where `colour` is on; for pipes and files it is off and the text stays as it is."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def named(self, name: str, rest: str, *, bold: bool = False) -> str:
        """A name and what is said of it, on one line where it fits."""
        label = name.ljust(0 if self.name_above else self.label)
        label = self.paint(_BOLD, label) if bold else label
        return f"{label}\n{' ' * self.label}{rest}" if self.name_above else label + rest


def page(colour: bool, columns: int | None, names: Collection[str]) -> Page:
    """The page for a terminal of so many columns (None: no terminal) and the names that stand at its left."""
    if columns is None or columns >= WIDTH:
        return Page(colour)
    width = max(columns, _NARROWEST)
    label = min(LABEL, _INDENT + 1 + max(map(len, names), default=0))
    if name_above := (width - label) // 2 < _LEAST_VALUE:
        label = _INDENT
    gone = _GIVEN_UP[: max(0, len(STATS) - (width - label - COUNT) // CELL)]
    return Page(colour, width, label, tuple(stat for stat in STATS if stat not in gone), min(VALUE, (width - label) // 2), name_above)


def final(summary: Summary, *, title: str, folder: str, colour: bool = False, columns: int | None = None) -> str:
    """The whole report as text, without a last line break, the verdict at its end; `columns` are the terminal's, where one is looked at."""
    shown = {*_OURS, *_plugged(summary)}
    on = page(colour, columns, [metric.metric for metric in summary.metrics if metric.metric in shown])
    blocks = (
        [on.paint(_BOLD, cut(title, on.width))],
        _distributions(summary, on),
        _rates(summary, on),
        _intervals(summary, on),
        _ledger(summary, on),
        _promises(summary, on),
        [*_verdict(summary, on), f"results: {folder}"],
    )
    return "\n\n".join("\n".join(block) for lines in blocks if (block := list(lines)))


def _distributions(summary: Summary, on: Page) -> Iterator[str]:
    known = {metric.metric: metric for metric in summary.metrics if metric.n}
    tags = [tag for tag in _LATENCIES if tag in known and _worth_a_line(tag, known, summary)]
    shown = [known[tag] for tag in (*tags, *(tag for tag in _LENGTHS if tag in known and known[tag].stats["max"]))]
    others = [known[tag] for tag in _plugged(summary) if tag in known and len(known[tag].stats) > 1]
    blocks = {heading: [metric for metric in shown if metric.unit == unit] for unit, heading in _HEADINGS.items()}
    for heading, lines in (blocks | {"of plugins": others[:_MOST_OTHERS]}).items():
        if lines:
            yield on.paint(_BOLD, on.named(heading, "".join(stat.rjust(CELL) for stat in on.stats) + "n".rjust(COUNT)))
            yield from (_row(metric, on) for metric in lines)
    if len(others) > _MOST_OTHERS:
        yield f"  and {len(others) - _MOST_OTHERS} more, which are in the files"
    if any(set(metric.unsupported) & set(on.stats) for metric in (*shown, *others)):
        said = "too few independent samples for this percentile (p50 needs 11, p90 64, p99 662, p99.9 6,636)"
        yield from (on.paint(_DIM, line) for line in _wrapped("~ ", said, on))


def _worth_a_line(tag: str, known: Mapping[str, MetricValue], summary: Summary) -> bool:
    """In closed loop nothing waits for a plan; without reasoning the first output token is the first token."""
    planned, plain = tag.startswith("planned_") or tag == "queue_time", tag.removeprefix("planned_")
    if planned and not summary.facts.get("open_loop", True):
        return False
    if plain != "time_to_first_output_token":
        return True
    first = known.get(tag.replace("_output", ""))
    return first is None or dict(first.stats) != dict(known[tag].stats)


def _row(metric: MetricValue, on: Page) -> str:
    cells = ("~" * (stat in metric.unsupported) + cell(metric.stats.get(stat)) for stat in on.stats)
    painted = "".join(on.paint(_DIM, text) if "~" in text else text for text in (text.rjust(CELL) for text in cells))
    n = cell(metric.n) if metric.n >= _MILLION else f"{metric.n:,}"
    return on.named(_named(metric, on), painted + n.rjust(COUNT), bold=metric.metric.startswith("planned_"))


def _plugged(summary: Summary) -> list[str]:
    """Metrics of other packages, and what endpoints said besides."""
    return [tag for tag in summary.facts.get("plugged", ()) if tag not in _OURS]


def _named(metric: MetricValue, on: Page) -> str:
    """A name, with its unit where nothing else says it; cut at its front if need be. Servers may have put anything into it."""
    is_said = metric.metric in _OURS or len(metric.stats) == 1 or metric.metric.endswith(f"_{metric.unit}")
    name = "".join(letter if letter.isprintable() else "?" for letter in metric.metric)
    label = name if is_said or not metric.unit else f"{name} ({metric.unit})"
    return "  " + cut(label[::-1], (on.width if on.name_above else on.label) - 3)[::-1]


def _rates(summary: Summary, on: Page) -> Iterator[str]:
    if not summary.facts.get("began", True):
        yield "stopped before the run began"
        return
    known, whole = ({metric.metric: metric for metric in found} for found in (summary.metrics, summary.whole))
    tags = (tag for tag in (*_RATES, *_plugged(summary)) if tag in known and (tag in _RATES or len(known[tag].stats) == 1))
    shown = [known[tag] for tag in tags if known[tag].stats["avg"] is not None]
    if not shown:
        return
    length = f"whole run, {amount(run.stats['avg'])} s" if (run := whole.get("benchmark_duration")) else ""
    yield " " * on.label + f"window of {amount(summary.window.seconds)} s".rjust(on.value) + length.rjust(on.value)
    for metric in shown:
        beside = filter(None, (metric, whole.get(metric.metric)))
        yield on.named(_named(metric, on), "".join(_valued(one).rjust(on.value) for one in beside))


def _intervals(summary: Summary, on: Page) -> Iterator[str]:
    """How sure the headline is: 95 % intervals with the samples behind them, or why there is none."""
    known = {metric.metric: metric for metric in summary.metrics if metric.effective}
    promised = {slo.metric: slo.stat for slo in summary.slos if slo.stat != "each"}
    tags = [tag for tag in dict.fromkeys((*_HEADLINE, *promised)) if tag in known and _worth_a_line(tag, known, summary)]
    lines = [line for tag in tags for line in _bounded(known[tag], {slo.stat for slo in summary.slos if slo.metric == tag}, on)]
    if lines:
        yield on.paint(_BOLD, "95 % intervals")
        yield from lines


def _bounded(metric: MetricValue, promised: Collection[str], on: Page) -> Iterator[str]:
    """A line a statistic that has an interval or a promise; one for all where none of them has one."""
    stats = [stat for stat in metric.stats if stat in ("p50", "p99") or (stat in promised and stat in metric.effective)] or ["avg"]
    if metric.intervals.keys().isdisjoint(stats):
        stats = stats[:1]
    for stat in stats:
        name, bounds, effective = _named(metric, on) + f" {stat}" * (stat != "avg"), metric.intervals.get(stat), metric.effective[stat]
        said = why_none(metric, stat)
        if bounds is not None:
            behind = f"n={metric.n:,}" + (f" (effective {effective:,.0f})" if round(effective) < metric.n else "")
            said = f"{amount(metric.stats[stat])} {metric.unit} [{amount(bounds[0])}, {amount(bounds[1])}] {behind}"
        painted = on.paint(_DIM, said) if bounds is None else said
        beside = name.ljust(on.label) + " "
        yield (beside if len(beside) + len(said) <= on.width else f"{name}\n    ") + painted


def _valued(metric: MetricValue) -> str:
    value = metric.stats["avg"]
    return share(value) if metric.unit == "ratio" else f"{amount(value)} {metric.unit}"


def _ledger(summary: Summary, on: Page) -> Iterator[str]:
    counts = summary.counts
    always = [f"{name} {counts.get(name, 0):,}" for name in ("planned", "sent", "good", "failed")]
    reasons = [f"{name} {n:,}" for name, n in counts.items() if name.startswith("unsent (") and n]
    others = [f"{one} {n:,}" for one in ("abandoned", "cancelled", "waited", "late", "warm-up") if (n := counts.get(one.replace("-", "")))]
    yield from _wrapped("requests: ", " · ".join((*always, *reasons, *others)), on)
    for name, n in summary.errors.items():
        yield on.paint(_RED, f"  {name} {n:,}") + _when(name, summary.timeline)
        if body := summary.samples.get(name):
            yield from _wrapped("    such as ", cut(" ".join(body.split()), _SAMPLE), on)


def _when(name: str, timeline: Timeline | None) -> str:
    """Between which seconds of the run a class came, and where it came most if it came unevenly."""
    bins = () if timeline is None else timeline.errors.get(name, ())
    seen = [i for i, n in enumerate(bins) if n]
    if timeline is None or not seen or len(bins) < 2:
        return ""
    first, last = seen[0], seen[-1] + 1
    found = f"  between {amount(first * timeline.bin_s)} and {amount(last * timeline.bin_s)} s"
    most = max(seen, key=lambda i: bins[i])
    if bins[most] * (last - first) < _UNEVEN * sum(bins):
        return found
    return f"{found}, most between {amount(most * timeline.bin_s)} and {amount((most + 1) * timeline.bin_s)} s"


def _promises(summary: Summary, on: Page) -> Iterator[str]:
    if not summary.slos:
        return
    yield on.paint(_BOLD, "promises")
    yield from (_promise(slo, on) for slo in summary.slos)
    if not summary.gate_met:
        said = _wrapped("the gate is not met ", "(goodput.min_fraction, and what is promised over the window)", on)
        yield from (on.paint(_RED, line) for line in said)


def _promise(slo: Slo, on: Page) -> str:
    """What was promised and what was found, below it where the line ends before."""
    limit = f"  {slo.metric} {'' if slo.stat == 'each' else slo.stat + ' '}{slo.op} {amount(slo.threshold)} {slo.unit}"
    seen = "no value" if slo.value is None else f"{amount(slo.value)} {slo.unit}"
    found = f"{seen.rjust(20)}  {on.paint(_GREEN, 'met') if slo.met else on.paint(_RED, 'not met')}"
    if slo.stat == "each" and slo.value is not None:
        found = f"kept by {share(slo.value)} of the planned"
    column = min(_PROMISE, on.width - _FOUND)
    return f"{limit.ljust(column)} {found}" if len(limit) <= column else f"{limit}\n    {found.lstrip()}"


def _verdict(summary: Summary, on: Page) -> Iterator[str]:
    verdict = summary.verdict
    if verdict.valid:
        yield on.paint(_GREEN, verdict.word)
    else:
        yield from _wrapped(f"{verdict.word}: ", "these numbers must not be believed, because", on, code=_RED)
    for reason in verdict.reasons:
        yield from _wrapped(f"  {reason.reason}: ", reason.detail, on, code=_BOLD)
        yield from _wrapped("    to change: ", reason.advice, on)
    for reason in verdict.ignored:
        yield from _wrapped(f"ignored: {reason.reason}: ", reason.detail, on)
    for note in verdict.notes:
        yield from _wrapped("note: ", note, on)


def _wrapped(lead: str, text: str, on: Page, *, code: int = 0) -> Sequence[str]:
    """Text behind a lead, its further lines as far in as the lead is, at most eight columns; in `code` the lead is painted."""
    lines = textwrap.wrap(lead + text, on.width, subsequent_indent=" " * min(len(lead), 8), break_on_hyphens=False)
    return [on.paint(code, lead) + lines[0][len(lead) :], *lines[1:]] if code else lines


def cell(value: float | None) -> str:
    """A number for a narrow column: three decimals below 1, two below 100, one below 10,000, millions as such; a dash for none."""
    if not value:
        return "-" if value is None else "0"
    for below, digits in _DIGITS:
        if abs(value) < below:
            return f"{value:,.{digits}f}"
    if round(abs(value)) < _MILLION:
        return f"{value:,.0f}"
    millions = value / _MILLION
    return f"{millions:,.{0 if abs(millions) >= 1000 else 1}f}M"


def amount(value: float | None) -> str:
    """A number in a sentence: four digits that mean something, no zeros at its end."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def share(value: float | None) -> str:
    """A share as percent, cut off and not rounded up to 100."""
    if value is None:
        return "-"
    return f"{min(100 * value, 99.99):.2f} %" if value < 1 else "100 %"
