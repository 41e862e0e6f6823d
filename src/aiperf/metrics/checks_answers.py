"""Are the answers what was asked for, and their stamps what they seem? Each check gives a reason for which the run is void, or None."""

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
from aiperf.metrics.rows import by_class, numbers
from aiperf.metrics.statistics import PERCENTILES, floor, statistic
from aiperf.metrics.wording import counted, listed, percent
from aiperf.results import Reason

_INTERVALS = 0.01
_TTFT_SHARE = 0.01


def no_results(case: Case) -> Reason | None:
    """Not one request of the run succeeded."""
    if len(case.good):
        return None
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
    short = {limit: missing for limit in case.promised if (missing := _missing(case, limit)) > 0}
    if not short:
        return None
    detail = "; ".join(f"{limit.stat} of {limit.metric} has {floor(PERCENTILES[limit.stat]) - n:,} samples" for limit, n in short.items())
    advice = "; ".join(f"needs {counted(n, 'more ' + _sample(case, limit))} for {limit.stat}" for limit, n in short.items())
    return Reason("too_few_samples", detail, advice)


def _missing(case: Case, limit: Limit) -> int:
    percentile = PERCENTILES.get(limit.stat)
    if percentile is None:
        return 0
    return floor(percentile) - len(numbers(case.run[limit.metric]))


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
    if n := sum(_miscounted(batch) for batch in _counts(case.good)):
        yield f"{counted(n, 'answer')} whose tokens, as the server counted them event by event, do not add up to its usage"


def _counts(records: pa.Table) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = records.select(["chunk_channel", "chunk_tokens", "output_tokens"]).to_batches()
    return batches


def _miscounted(batch: pa.RecordBatch) -> int:
    by_event = server_counts(batch)
    said = pc.cast(batch["output_tokens"], pa.float64()).to_numpy(zero_copy_only=False)
    return int(np.count_nonzero((by_event != said) & ~np.isnan(by_event) & ~np.isnan(said)))
