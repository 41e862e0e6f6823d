"""Are the answers what was asked for, and their stamps what they seem? Each check gives a reason for which the run is void, or None."""

import math
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aiperf.config.slos import Limit
from aiperf.metrics.case import Case
from aiperf.metrics.columns import ours
from aiperf.metrics.events import server_counts
from aiperf.metrics.flight import peak_in_flight
from aiperf.metrics.latency import inter_token_latency, time_to_first_token
from aiperf.metrics.rates import rate_bounds, request_throughput
from aiperf.metrics.rows import by_class, good, numbers, stamps
from aiperf.metrics.statistics import PERCENTILES, floor, statistic
from aiperf.metrics.wording import counted, listed, percent
from aiperf.results import MetricValue, Reason

_INTERVALS = 0.01
_TTFT_SHARE = 0.01


def no_results(case: Case) -> Reason | None:
    """Not one request of the run succeeded."""
    if len(good(case.view.judged)):
        return None
    if len(case.good):
        length, window = case.facts.window.seconds, case.limits.window
        stretch = f"from {window.start_s or 0:g} to {length if window.end_s is None else window.end_s:.4g} s"
        return Reason("no_results", f"no good request was sent {stretch} of a run of {length:.4g} s", "mend verdict.window")
    classes = listed(by_class(case.run)) or "nothing was sent"
    return Reason("no_results", f"no request succeeded ({classes})", "see the errors and their samples; check endpoint.url, model and key")


def errors(case: Case) -> Reason | None:
    """Too large a share of the requests failed; unsent, abandoned and cancelled ones are no failures."""
    if not case.too_many_failed:
        return None
    failed, over = case.failed, len(case.failed) + len(case.good)
    share = f"{len(failed):,} of {over:,} requests failed ({percent(len(failed) / over)}), over {percent(case.limits.max_error_rate)}"
    advice = "see the samples, mend the server or lower the load, or raise verdict.max_error_rate"
    return Reason("errors", f"{share}: {listed(by_class(failed))}", advice)


def no_tokens(case: Case) -> Reason | None:
    """Too many answers that succeeded were streams without a token, though tokens were asked for."""
    asked = pc.fill_null(pc.greater(case.good["asked_output_tokens"], 0), fill_value=False)
    over, silent = (int(pc.sum(rows).as_py() or 0) for rows in (asked, pc.and_(asked, case.silent)))
    if not over or silent / over <= case.limits.max_error_rate:
        return None
    share = f"{silent:,} of {over:,} good answers held no token ({percent(silent / over)}), over {percent(case.limits.max_error_rate)}"
    advice = "see what the server answers (output.level=raw): its log, its limit on lengths, the model's template; they have no latency"
    return Reason("no_tokens", f"{share}, though tokens were asked for", advice)


def input_length(case: Case) -> Reason | None:
    """Prompts were promised to be of a length, and the server counts another."""
    if not case.facts.input_promised or (off := case.input_length_error) is None or off <= case.limits.max_length_error:
        return None
    template = f" less {case.template_tokens} for the chat template" if case.template_tokens else ""
    detail = f"prompts, by the server's usage{template}, differ from what was asked for by {percent(off)}, over {_allowed(case)}"
    advice = (
        "its tokenizer splits our words differently, or its chat template is another: name its own (tokenizer.name), or go by its "
        "counts and raise verdict.max_length_error"
    )
    return Reason("input_length", detail, advice)


def output_length(case: Case) -> Reason | None:
    """Answers were promised to be of a length, and are not."""
    if not case.facts.output_promised or (off := case.output_length_error) is None or off <= case.limits.max_length_error:
        return None
    detail = f"answers differ from the length that was asked for by {percent(off)}, over {_allowed(case)}"
    advice = "the server must honour min_tokens, max_tokens and ignore_eos (dataset.output_tokens.exact), or raise verdict.max_length_error"
    return Reason("output_length", detail, advice)


def _allowed(case: Case) -> str:
    return f"{percent(case.limits.max_length_error)} on average"


def coalesced_first_tokens(case: Case) -> Reason | None:
    """Too many first tokens are known only within an interval wider than a token's time, so TTFT and ITL are void."""
    widths = case.first_token_widths_ms
    if not case.facts.streaming or not len(widths):
        return None
    allowed = _token_time_ms(case)
    share = float(np.count_nonzero(widths > allowed)) / len(widths)
    if share <= _INTERVALS:
        return None
    detail = (
        f"{percent(share)} of first tokens are known only within an interval wider than {allowed:.2f} ms, the time of a token: "
        "time_to_first_token and inter_token_latency are void"
    )
    advice = "leave the generator a core to itself or lower the load, so that it reads before more comes"
    return Reason("coalesced_first_tokens", detail, advice)


def _token_time_ms(case: Case) -> float:
    """The median ITL; where answers have no second token, 1 % of the median TTFT."""
    median = statistic(numbers(ours(case.good, inter_token_latency)), "p50")
    if median is not None:
        return median
    return _TTFT_SHARE * (statistic(numbers(ours(case.good, time_to_first_token)), "p50") or 0.0)


def too_few_samples(case: Case) -> Reason | None:
    """A promise is about a percentile that the run has too few samples for."""
    if not len(case.good):
        return None
    short = [(limit, found) for limit in case.promised if limit.stat in (found := case.distributions[limit.metric]).unsupported]
    if not short:
        return None
    detail = "; ".join(f"{limit.stat} of {limit.metric} has {_samples(found, limit.stat)}" for limit, found in short)
    advice = "; ".join(
        f"needs {counted(_missing(found, limit.stat), 'more ' + _sample(case, limit))} for {limit.stat}" for limit, found in short
    )
    return Reason("too_few_samples", detail, advice)


def _missing(found: MetricValue, stat: str) -> int:
    """How many more samples it takes, if they hang together as those that are there."""
    effective = found.effective.get(stat, found.n)
    return math.ceil((floor(PERCENTILES[stat]) - effective) * (found.n / effective if effective else 1))


def _samples(found: MetricValue, stat: str) -> str:
    effective = found.effective.get(stat, found.n)
    return counted(found.n, "sample") + (f", as much as {effective:,.0f} independent ones" if effective < found.n else "")


def _sample(case: Case, limit: Limit) -> str:
    return "gap" if pa.types.is_list(case.run[limit.metric].type) else "request"


def invariant(case: Case) -> Reason | None:
    """Something that cannot be, whatever the server does: then our own stamps or counts are wrong."""
    broken = list(_broken(case))
    advice = "do not use these numbers; keep the run (output.level=raw) and report it"
    return Reason("invariant", "; ".join(broken), advice) if broken else None


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
    if n := sum(_miscounted(batch) for batch in _counts(case.good)):
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


def _counts(records: pa.Table) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = records.select(["chunk_channel", "chunk_tokens", "output_tokens"]).to_batches()
    return batches


def _miscounted(batch: pa.RecordBatch) -> int:
    by_event = server_counts(batch)
    said = pc.cast(batch["output_tokens"], pa.float64()).to_numpy(zero_copy_only=False)
    return int(np.count_nonzero((by_event != said) & ~np.isnan(by_event) & ~np.isnan(said)))
