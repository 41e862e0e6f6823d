"""The table that a person sees at the end of a run: plain text of at most 100 columns, coloured only if asked."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from aiperf.report.numbers import amount, cell, count, share
from aiperf.report.paint import Paint
from aiperf.results import MetricValue, Reason, Slo, Summary

WIDTH = 100
_STATS = ("avg", "p50", "p90", "p99", "p99.9", "max")
_LABEL, _CELL, _N = 37, 9, 9
_RATES = (
    "request_throughput", "input_token_throughput", "output_token_throughput", "total_token_throughput", "goodput", "good_request_fraction",
)  # fmt: skip
_LATENCIES = (
    "planned_time_to_first_token", "time_to_first_token", "planned_time_to_first_output_token", "time_to_first_output_token",
    "inter_token_latency", "inter_chunk_latency", "planned_request_latency", "request_latency", "queue_time", "schedule_lateness",
)  # fmt: skip
_LENGTHS = ("input_sequence_length", "output_sequence_length", "reasoning_token_count")
_HEADINGS = {"ms": "latencies in ms", "tokens": "lengths in tokens"}
_SAMPLE = 160


def final(summary: Summary, *, title: str, folder: str, colour: bool = False) -> str:
    """The whole report as text, without a last line break: distributions, rates, counts, promises, and the verdict at the end."""
    paint = Paint(colour)
    blocks = (
        [paint.bold(_cut(title))],
        _distributions(summary, paint),
        _rates(summary),
        _ledger(summary, paint),
        _promises(summary, paint),
        [*_verdict(summary, paint), f"results: {folder}"],
    )
    return "\n\n".join("\n".join(block) for lines in blocks if (block := list(lines)))


def _cut(text: str, width: int = WIDTH) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _distributions(summary: Summary, paint: Paint) -> Iterator[str]:
    known = {metric.metric: metric for metric in summary.metrics if metric.n}
    tags = [tag for tag in _LATENCIES if tag in known and _worth_a_line(tag, known, summary)]
    shown = [known[tag] for tag in (*tags, *(tag for tag in _LENGTHS if tag in known and known[tag].stats["max"]))]
    if not shown:
        return
    for unit, heading in _HEADINGS.items():
        lines = [metric for metric in shown if metric.unit == unit]
        if lines:
            yield paint.bold(heading.ljust(_LABEL) + "".join(stat.rjust(_CELL) for stat in _STATS) + "n".rjust(_N))
            yield from (_row(metric, paint) for metric in lines)
    if any(set(metric.unsupported) & set(_STATS) for metric in shown):
        yield paint.dim("~ too few samples for this percentile (p50 needs 11, p90 64, p99 662, p99.9 6,636)")


def _worth_a_line(tag: str, known: Mapping[str, MetricValue], summary: Summary) -> bool:
    """In closed loop nothing waits for a plan; without reasoning the first output token is the first token."""
    planned, plain = tag.startswith("planned_") or tag == "queue_time", tag.removeprefix("planned_")
    if planned and not summary.facts.get("open_loop", True):
        return False
    if plain != "time_to_first_output_token":
        return True
    first = known.get(tag.replace("_output", ""))
    return first is None or dict(first.stats) != dict(known[tag].stats)


def _row(metric: MetricValue, paint: Paint) -> str:
    cells = ("~" * (stat in metric.unsupported) + cell(metric.stats.get(stat)) for stat in _STATS)
    padded = (text.rjust(_CELL) for text in cells)
    painted = "".join(paint.dim(text) if "~" in text else text for text in padded)
    label = f"  {metric.metric}".ljust(_LABEL)
    return (paint.bold(label) if metric.metric.startswith("planned_") else label) + painted + count(metric.n).rjust(_N)


def _rates(summary: Summary) -> Iterator[str]:
    if not summary.facts.get("began", True):
        yield "stopped before the run began"
        return
    known, whole = ({metric.metric: metric for metric in found} for found in (summary.metrics, summary.whole))
    shown = [known[tag] for tag in _RATES if tag in known and known[tag].stats["avg"] is not None]
    if not shown:
        return
    run = whole.get("benchmark_duration")
    length = "" if run is None else f"whole run, {amount(run.stats['avg'])} s"
    yield "".ljust(_LABEL) + f"window of {amount(summary.window.seconds)} s".rjust(24) + length.rjust(24)
    for metric in shown:
        beside = whole.get(metric.metric)
        yield f"  {metric.metric}".ljust(_LABEL) + _valued(metric).rjust(24) + ("" if beside is None else _valued(beside).rjust(24))


def _valued(metric: MetricValue) -> str:
    value = metric.stats["avg"]
    return share(value) if metric.unit == "ratio" else f"{amount(value)} {metric.unit}"


def _ledger(summary: Summary, paint: Paint) -> Iterator[str]:
    counts = summary.counts
    always = [f"{name} {counts.get(name, 0):,}" for name in ("planned", "sent", "good", "failed")]
    reasons = [f"{name} {n:,}" for name, n in counts.items() if name.startswith("unsent (") and n]
    others = [f"{name} {counts[name]:,}" for name in ("abandoned", "cancelled", "waited", "late") if counts.get(name)]
    before = [f"warm-up {counts['warmup']:,}"] if counts.get("warmup") else []
    yield from _wrapped("requests: ", " · ".join((*always, *reasons, *others, *before)))
    for name, n in summary.errors.items():
        yield paint.red(f"  {name} {n:,}") + _sample(summary.samples.get(name))


def _sample(body: str | None) -> str:
    if not body:
        return ""
    one_line = " ".join(body.split())
    return "\n" + "\n".join(_wrapped("    such as ", _cut(one_line, _SAMPLE)))


def _promises(summary: Summary, paint: Paint) -> Iterator[str]:
    if not summary.slos:
        return
    yield paint.bold("promises")
    for slo in summary.slos:
        yield _promise(slo, paint)
    if not summary.gate_met:
        yield paint.red("the gate is not met (goodput.min_fraction, and what is promised over the window)")


def _promise(slo: Slo, paint: Paint) -> str:
    limit = f"  {slo.metric} {'' if slo.stat == 'each' else slo.stat + ' '}{slo.op} {amount(slo.threshold)} {slo.unit}"
    if slo.stat == "each" and slo.value is not None:
        return f"{limit.ljust(62)} kept by {share(slo.value)} of the planned"
    seen = "no value" if slo.value is None else f"{amount(slo.value)} {slo.unit}"
    return f"{limit.ljust(62)} {seen.rjust(20)}  {paint.green('met') if slo.met else paint.red('not met')}"


def _verdict(summary: Summary, paint: Paint) -> Iterator[str]:
    verdict = summary.verdict
    if verdict.valid:
        yield paint.green(verdict.word)
    else:
        yield paint.red(verdict.word) + ": these numbers must not be believed, because"
    for reason in verdict.reasons:
        yield from _explained(reason, paint)
    for reason in verdict.ignored:
        yield from _wrapped(f"ignored: {reason.reason}: ", reason.detail)
    for note in verdict.notes:
        yield from _wrapped("note: ", note)


def _explained(reason: Reason, paint: Paint) -> Iterator[str]:
    yield from _wrapped(f"  {reason.reason}: ", reason.detail, head=paint.bold(f"  {reason.reason}: "))
    yield from _wrapped("    to change: ", reason.advice)


def _wrapped(lead: str, text: str, *, head: str | None = None) -> Sequence[str]:
    """Text behind a lead, its further lines as far in as the lead is, at most eight columns; `head` is the lead as it is painted."""
    lines = textwrap.wrap(lead + text, WIDTH, subsequent_indent=" " * min(len(lead), 8), break_on_hyphens=False)
    return lines if head is None else [head + lines[0][len(lead) :], *lines[1:]]
