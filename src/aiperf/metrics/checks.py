"""Was the load the one that was planned, are the answers what was asked for, are the stamps what they seem?

A check for each of results.REASONS, by its name: what was seen and what to change, where the run is void for it, or None.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aiperf.config.slos import Limit
from aiperf.metrics.columns import ours
from aiperf.metrics.rates import rate_bounds, request_throughput
from aiperf.metrics.requests import server_counts
from aiperf.metrics.rows import Rows, batches, good, is_good, is_list, numbers, reasons, stamps
from aiperf.metrics.statistics import PERCENTILES, floor, statistic
from aiperf.metrics.timeline import mean_in_flight, peak_in_flight
from aiperf.metrics.view import Case
from aiperf.records import STOP_RULES
from aiperf.results import MetricValue

Found = tuple[str, str] | None
"""What was seen, and what to change."""
GRACE = "grace"
"""In the reason of what was abandoned at the end of the plan, and not by the user or with a generator."""

_LATENCY_SHARE, _TTFT_SHARE, _INTERVALS = 0.01, 0.01, 0.01
_BUSY, _STEP_NS = 0.9, 1_000_000


def percent(share: float) -> str:
    """A share as percent, three digits: `25 %`, `1.23 %`."""
    return f"{100 * share:.3g} %" if share < 1 else f"{100 * share:.0f} %"


def counted(n: int, noun: str) -> str:
    """`1 frame`, `2,000 frames`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def listed(counts: Mapping[str, int]) -> str:
    """Counts by name: `http_5xx 12, reset 4`."""
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def _too_many(case: Case, n: int, of: int, *, what: str, more: str, advice: str) -> Found:
    """How many of how many, where that is more than `verdict.max_error_rate` allows."""
    limit = case.limits.max_error_rate
    return (f"{n:,} of {of:,} {what} ({percent(n / of)}), over {percent(limit)}{more}", advice) if of and n / of > limit else None


def no_results(case: Case) -> Found:
    """Not one request of the run succeeded."""
    if len(good(case.view.judged)):
        return None
    if len(case.good):
        length, window = case.facts.window.seconds, case.limits.window
        stretch = f"from {window.start_s or 0:g} to {length if window.end_s is None else window.end_s:.4g} s"
        return f"no good request was sent {stretch} of a run of {length:.4g} s", "mend verdict.window"
    classes = listed(case.classes) or "nothing was sent"
    return f"no request succeeded ({classes})", "see the errors and their samples; check endpoint.url, model and key"


def late_generator(case: Case) -> Found:
    """We sent later than we could have: p99 of schedule_lateness above the limit, or 1 % of the median latency if that is more."""
    late, median = statistic(numbers(ours(case.run, "schedule_lateness")), "p99"), case.median_latency_ms or 0.0
    allowed = max(case.limits.max_lateness_ms, _LATENCY_SHARE * median)
    if late is None or late <= allowed:
        return None
    detail = f"p99 of schedule_lateness is {late:.2f} ms, over {allowed:.2f} ms (max_lateness_ms, or 1 % of the median request_latency)"
    return detail, "keep other work off the machine, lower timing.rate or timing.concurrency, or raise verdict.max_lateness_ms"


def plan_not_met(case: Case) -> Found:
    """Too few of the plan's arrivals due in the window were sent in it, with one mean gap of slack."""
    if not case.facts.open_loop:
        return None
    window, planned = case.facts.window, case.facts.planned
    if planned is None:
        planned = int(np.count_nonzero(stamps(case.run["due_ns"]) <= window.end_ns))
    sent = min(planned, int(np.count_nonzero(stamps(case.run["sent_ns"]) <= window.end_ns + case.facts.mean_gap_ns)))
    if not planned or sent / planned >= case.limits.min_achieved:
        return None
    detail = f"{sent} of {planned} arrivals were sent in time ({percent(sent / planned)}), under {percent(case.limits.min_achieved)}"
    return detail, _room(case)


def _room(case: Case) -> str:
    sent, ended = stamps(case.run["sent_ns"]), stamps(case.good["end_ns"])
    lasted = (float(ended.max() - sent.min()) / 1e9) if len(ended) else 0.0
    carried = f": {len(ended) / lasted:.3g} requests/s were answered" if lasted > 0 else ""
    slots = "" if case.facts.concurrency is None else f"raise or unset timing.concurrency ({counted(case.facts.concurrency, 'slot')}), or "
    return f"{slots}lower timing.rate (of a trace, timing.speedup) to what is carried{carried}"


def level_not_held(case: Case) -> Found:
    """Closed loop: fewer requests were in flight, on average over the window, than the level and the plan allow."""
    level = case.level
    if level is None or case.too_short_for_level:
        return None
    mean, wanted = mean_in_flight(case.records, case.facts.window), case.limits.min_achieved
    if mean >= wanted * level:
        return None
    detail = f"{mean:.3g} of {level} requests were in flight on average ({percent(mean / level)}), under {percent(wanted)}"
    advice = "send many more requests than the level (timing.stop), lower timing.concurrency, or ask for longer answers"
    return detail, _errors_first(case, advice)


def generator_saturated(case: Case) -> Found:
    """The generator's thread had no time to spare in some second."""
    if case.facts.busiest_second <= _BUSY:
        return None
    detail = f"the generator's thread was busy for {percent(case.facts.busiest_second)} of a second, over {percent(_BUSY)}"
    return detail, _errors_first(case, "lower timing.rate or timing.concurrency, or use a faster core")


def _errors_first(case: Case, advice: str) -> str:
    """Requests that fail at once leave their slots empty and are made again and again: then the errors are to be mended first."""
    return f"failing requests may be the cause, so see the errors first; else {advice}" if errors(case) else advice


def unsent(case: Case) -> Found:
    """Arrivals that were never sent, other than by the stop rule."""
    causes = {why: n for why, n in reasons(case.run, "unsent").items() if not why.startswith(("stop", *STOP_RULES))}
    if not causes:
        return None
    detail = f"{sum(causes.values())} of {len(case.run)} arrivals were never sent ({listed(causes)})"
    return detail, "remove the cause that is named and run again; what the stop rule leaves unsent does not count"


def abandoned(case: Case) -> Found:
    """Too large a share of what was sent in the window was cut off when the grace was over: percentiles are of those that were quicker."""
    sent = Rows(case.view.judged, pc.is_valid(case.view.judged["sent_ns"]))
    cut = sum(n for why, n in reasons(sent, "abandoned").items() if GRACE in why)
    what, more = "requests sent were abandoned when the grace was over", ": they are the slowest, and no percentile holds them"
    advice = "raise timing.stop.grace_s above the longest answer, ask for less or for shorter answers, or raise verdict.max_error_rate"
    return _too_many(case, cut, len(sent), what=what, more=more, advice=advice)


def errors(case: Case) -> Found:
    """Too large a share of the requests failed; unsent, abandoned and cancelled ones are no failures."""
    failed = sum(case.failures.values())
    advice = "see the samples, mend the server or lower the load, or raise verdict.max_error_rate"
    return _too_many(case, failed, failed + len(case.good), what="requests failed", more=f": {listed(case.failures)}", advice=advice)


def no_tokens(case: Case) -> Found:
    """Too many answers that succeeded were streams without a token, though tokens were asked for."""
    asked = pc.fill_null(pc.greater(case.good["asked_output_tokens"], 0), fill_value=False)
    over, silent = (int(pc.sum(rows).as_py() or 0) for rows in (asked, pc.and_(asked, pc.is_null(case.good["last_token_ns"]))))
    advice = "see what the server answers (output.level=raw): its log, its limit on lengths, the model's template; they have no latency"
    return _too_many(case, silent, over, what="good answers held no token", more=", though tokens were asked for", advice=advice)


def input_length(case: Case) -> Found:
    """Prompts were promised to be of a length, and the server counts another."""
    template = f" less {case.facts.template_tokens} for the chat template" if case.facts.template_tokens else ""
    advice = (
        "its tokenizer splits our words differently, or its chat template is another: name its own (tokenizer.name), or go by its "
        "counts and raise verdict.max_length_error"
    )
    return _off(case, "input_tokens", f"prompts, by the server's usage{template},", advice) if case.facts.input_promised else None


def output_length(case: Case) -> Found:
    """Answers were promised to be of a length, and are not."""
    advice = "the server must honour min_tokens, max_tokens and ignore_eos (dataset.output_tokens.exact), or raise verdict.max_length_error"
    return _off(case, "output_tokens", "answers", advice) if case.facts.output_promised else None


def _off(case: Case, column: str, what: str, advice: str) -> Found:
    off, limit = case.length_error(column), case.limits.max_length_error
    if off is None or off <= limit:
        return None
    return f"{what} differ from the length that was asked for by {percent(off)}, over {percent(limit)} on average", advice


def coalesced_first_tokens(case: Case) -> Found:
    """Too many first tokens are known only within an interval wider than a token's time, so TTFT and ITL are void."""
    widths = case.first_token_widths_ms
    if not case.facts.streaming or not len(widths):
        return None
    allowed = statistic(numbers(ours(case.good, "inter_token_latency")), "p50")
    if allowed is None:  # answers have no second token
        allowed = _TTFT_SHARE * (statistic(numbers(ours(case.good, "time_to_first_token")), "p50") or 0.0)
    share = float(np.count_nonzero(widths > allowed)) / len(widths)
    if share <= _INTERVALS:
        return None
    detail = (
        f"{percent(share)} of first tokens are known only within an interval wider than {allowed:.2f} ms, the time of a token: "
        "time_to_first_token and inter_token_latency are void"
    )
    return detail, "leave the generator a core to itself or lower the load, so that it reads before more comes"


def too_few_samples(case: Case) -> Found:
    """A promise is about a percentile that the run has too few samples for."""
    promised = [(limit, case.distributions[limit.metric]) for limit in case.promised] if len(case.good) else []
    short = [_short(case, limit, found) for limit, found in promised if limit.stat in found.unsupported]
    return ("; ".join(seen for seen, _ in short), "; ".join(more for _, more in short)) if short else None


def _short(case: Case, limit: Limit, found: MetricValue) -> tuple[str, str]:
    """What a percentile has, and how many more samples it needs, if they hang together as those that are there."""
    stat, effective = limit.stat, found.effective.get(limit.stat, found.n)
    worth = f", as much as {effective:,.0f} independent ones" if effective < found.n else ""
    more = math.ceil((floor(PERCENTILES[stat]) - effective) * (found.n / effective if effective else 1))
    noun = "more gap" if is_list(case.run, limit.metric) else "more request"
    return f"{stat} of {limit.metric} has {counted(found.n, 'sample')}{worth}", f"needs {counted(more, noun)} for {stat}"


def clock_step(case: Case) -> Found:
    """The clock of the stamps moved against the clock of the due times."""
    if abs(case.facts.clock_step_ns) <= _STEP_NS:
        return None
    detail = f"CLOCK_REALTIME moved by {case.facts.clock_step_ns / 1e6:.2f} ms against CLOCK_MONOTONIC between two frames"
    return detail, "let the clock be slewed, not stepped, while a run lasts (chrony: no makestep), and run again"


def generator_died(case: Case) -> Found:
    """A process that makes the load ended before its time."""
    if not case.facts.dead_generators:
        return None
    advice = "see why it ended (memory, a signal) and run again; what was measured until then is whole"
    return f"died during the run: {', '.join(case.facts.dead_generators)}", advice


def lost_frames(case: Case) -> Found:
    """Part of what came in could not be kept."""
    if not (lost := case.facts.lost_frames):
        return None
    return f"{counted(lost, 'frame')} of stamps could not be written to disk", "make room in output.dir, or set it to a disk that works"


def invariant(case: Case) -> Found:
    """Something that cannot be, whatever the server does: then our own stamps or counts are wrong."""
    broken = "; ".join(_broken(case))
    return (broken, "do not use these numbers; keep the run (output.level=raw) and report it") if broken else None


def _broken(case: Case) -> Iterator[str]:
    first, low, last = (case.good[name] for name in ("first_token_ns", "first_token_low_ns", "last_token_ns"))
    orders = {
        "a first token before its request": pc.less(first, case.good["sent_ns"]),
        "a first token after the last": pc.greater(first, last),
        "an interval of the first token that ends before it begins": pc.greater(low, first),
    }
    for what, wrong in orders.items():
        if n := int(pc.sum(wrong).as_py() or 0):
            yield f"{counted(n, 'answer')} with {what}"
    if case.facts.concurrency is not None and (peak := peak_in_flight(case.records)) > case.facts.concurrency:
        yield f"{peak} requests in flight at once, over timing.concurrency={case.facts.concurrency}"
    yield from _against_little(case)
    if n := sum(_miscounted(batch) for batch in batches(case.run, ("error", "chunk_channel", "chunk_tokens", "output_tokens"))):
        yield f"{counted(n, 'answer')} whose tokens, as the server counted them event by event, do not add up to its usage"


def _against_little(case: Case) -> Iterator[str]:
    """Little's law: in flight until the last token is rate × latency, within their intervals and what crosses the window's borders."""
    view, window = case.view, case.view.window
    rate = rate_bounds(view, "request_throughput", request_throughput(view) or 0.0)
    latency = case.distributions["request_latency"].intervals.get("avg") if "request_latency" in case.distributions else None
    if rate is None or latency is None or view.good["last_token_ns"].null_count:
        return
    sent, last = (stamps(view.good[name]) for name in ("sent_ns", "last_token_ns"))
    within = np.maximum(np.minimum(last, window.end_ns) - np.maximum(sent, window.start_ns), 0)
    crossing = (within > 0) & ((sent < window.start_ns) | (stamps(view.good["end_ns"]) > window.end_ns))
    mean, slack = (view.a_second(float(ns.sum()) / 1e9) or 0.0 for ns in (within, (last - sent)[crossing]))
    low, high = rate[0] * latency[0] / 1000, rate[1] * latency[1] / 1000
    if not low - slack <= mean <= high + slack:
        yield f"{mean:.4g} requests in flight on average, though rate × latency is {low:.4g} to {high:.4g} (Little's law)"


def _miscounted(batch: pa.RecordBatch) -> int:
    by_event = server_counts(batch)
    said = pc.cast(batch["output_tokens"], pa.float64()).to_numpy(zero_copy_only=False)
    of_good = is_good(batch).to_numpy(zero_copy_only=False)
    return int(np.count_nonzero(of_good & (by_event != said) & ~np.isnan(by_event) & ~np.isnan(said)))


def trend(case: Case) -> Found:
    """Latency, or what is in flight, rises or falls over the whole of the window: then its numbers depend on how long one looked."""
    seen = {name: line for name, line in case.trends.items() if line.found}
    if not seen:
        return None
    units = {"request_latency": " ms", "in flight": ""}
    said = (f"{name} went from {line.start:,.1f} to {line.end:,.1f}{units[name]}" for name, line in seen.items())
    advice = "raise timing.warmup if it settles later (see the timeline), or judge a part of the run (verdict.window)"
    if case.facts.open_loop and any(line.end > line.start for line in seen.values()):
        advice = f"if the server falls behind, {_room(case)}; else {advice}"
    return f"{', and '.join(said)} over {case.view.window.seconds:.3g} s", _errors_first(case, advice)
