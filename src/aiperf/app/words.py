"""The plan as a person reads it, before anything is sent, and the room that it needs on the disk."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aiperf import clock
from aiperf.app.conduct import precision_of
from aiperf.app.plan import Plan, conversations
from aiperf.config.experiment import Experiment
from aiperf.config.slos import limits
from aiperf.errors import ConfigError
from aiperf.plugin import plugins
from aiperf.plugin.plugins import metric
from aiperf.workload import Phase

_RATES, _RATES_AS_LINES = (400, 45), (2_400, 85)
"""A request's and a token's bytes of spool, records and plan together, and of JSON too, with a margin: half of either was seen."""
_UNKNOWN_TOKENS, _MOST_LOOKED_AT, _SPARE_BYTES = 512, 1_000_000, 16 * 1024 * 1024


def lines(experiment: Experiment, plan: Plan) -> list[str]:
    """The plan as a person reads it."""
    endpoint, dataset = experiment.endpoint, experiment.dataset
    where = "the packaged simulator" if endpoint.simulator is not None else ", ".join(endpoint.url)
    how = "streamed" if endpoint.streaming else "not streamed"
    sampling = f"every body carries {', '.join(sorted(endpoint.extra))}" if endpoint.extra else "no sampling parameters are sent"
    return [
        f"endpoint  {_whose(endpoint.type)} at {where}, {how}; {sampling}",
        f"dataset   {dataset.path or dataset.type}: {_lengths(plan, salt=dataset.salt, exact=dataset.output_tokens.exact)}",
        *_tokenizer(plan, applied=experiment.tokenizer.apply_chat_template),
        f"timing    {_timing(experiment, plan)}",
        *(f"note      {note}" for note in (*plan.notes, *_unsupported(experiment, plan))),
    ]


def _unsupported(experiment: Experiment, plan: Plan) -> Iterator[str]:
    """Promised percentiles that the plan has too few requests for, were they all independent of each other."""
    promised = [limit for limit in limits(experiment.goodput) if limit.stat[0] == "p" and not metric(limit.metric).metadata.get("list")]
    if not promised or plan.planned is None or "too_few_samples" in experiment.verdict.ignore:
        return
    from aiperf.metrics.statistics import PERCENTILES, floor  # noqa: PLC0415 - no scipy before the load, unless percentiles are promised

    for limit in promised:
        if plan.planned < (needed := floor(PERCENTILES[limit.stat])):
            said = f"goodput.slos.{limit.metric}.{limit.stat} needs {needed:,} requests, the plan holds {plan.planned:,}"
            yield f"{said}: the verdict will be INVALID (too_few_samples)"


def _whose(endpoint: str) -> str:
    """An endpoint's name, with its package where that is not ours: it may have taken the place of one of ours."""
    entry = plugins.get_entry("endpoint", endpoint)
    return endpoint if entry.is_builtin else f"{endpoint} of {entry.package}"


def _tokenizer(plan: Plan, *, applied: bool) -> Iterator[str]:
    name, template = plan.counting.name, plan.counting.template_tokens
    adds = f"its chat template adds {template} tokens to a prompt, {'within' if applied else 'beyond'} the asked length"
    if name is not None:
        yield f"tokenizer {name}; {'what the chat template adds is asked of the server' if template is None else adds}"


def _lengths(plan: Plan, *, salt: str, exact: bool) -> str:
    run = plan.schedule.run
    lengths = plan.source.lengths(conversations(run, min(plan.planned or 1000, 100_000)))
    salted = {"run": "unique to this run", "none": "the same in every run"}.get(salt, f"salted with {salt!r}")
    return f"{_prompts(lengths.input_tokens, salted)}; answers {_answers(lengths.output_tokens, exact=exact)}"


def _prompts(sizes: np.ndarray[Any, np.dtype[np.int32]], salted: str) -> str:
    """Lengths of what is drawn; what stands in the data has a length that nobody knows."""
    drawn = sizes[sizes > 0]
    if not len(drawn):
        return "prompts as they stand in the data"
    others = "" if len(drawn) == len(sizes) else f" ({len(sizes) - len(drawn):,} others stand in the data)"
    return f"prompts of {_span(drawn)} tokens{others}, text {salted}"


def _answers(sizes: np.ndarray[Any, np.dtype[np.int32]], *, exact: bool) -> str:
    if not sizes.any():
        return "as long as the server likes"
    return f"of {_span(sizes)} tokens asked for{', exactly (min_tokens, ignore_eos)' if exact else ''}"


def _span(values: np.ndarray[Any, np.dtype[np.int32]]) -> str:
    low, high = int(values.min(initial=2**31 - 1)), int(values.max(initial=0))
    return f"{low:,}" if low == high else f"{low:,} to {high:,} (mean {values.mean():,.0f})"


def _timing(experiment: Experiment, plan: Plan) -> str:
    timing, run = experiment.timing, plan.schedule.run
    load = {
        "concurrency": f"{timing.concurrency} in flight (closed loop)",
        "request_rate": f"{timing.rate:g} arrivals a second, {timing.arrival}" if timing.rate else "",
        "fixed_schedule": f"the recorded times{f', {timing.speedup:g} times as fast' if timing.speedup != 1 else ''}",
    }.get(timing.type, timing.type)
    cap = f", at most {timing.concurrency} in flight" if plan.open_loop and timing.concurrency is not None else ""
    return f"{load}{cap}; {_stop(experiment, plan, run)}{_warmup(timing.warmup.requests, timing.warmup.duration_s)}"


def _stop(experiment: Experiment, plan: Plan, run: Phase) -> str:
    rules, stop = [], experiment.timing.stop
    if plan.planned is not None:
        rules.append(f"{plan.planned:,} requests")
    if run.duration_ns is not None:
        seconds = run.duration_ns / clock.SECOND
        rules.append(f"{seconds:,.{'0f' if seconds >= 100 else '3g'}} s")
    sooner = [f"known to {100 * stop.precision:g} %: {', '.join(precision_of(experiment))}"] if stop.precision is not None else []
    sooner += [f"failed: more than {stop.max_errors:,}"] if stop.max_errors is not None else []
    return (" in " if plan.open_loop else " or ").join(rules) + (f", or sooner ({'; '.join(sooner)})" if sooner else "")


def _warmup(requests: int | None, seconds: float | None) -> str:
    if requests is None and seconds is None:
        return "; no warm-up"
    return f"; warm-up {f'of {requests:,} requests' if requests is not None else f'of {seconds:g} s'} before it"


def expected_bytes(plan: Plan, rates: tuple[int, int] = _RATES) -> int | None:
    """The most that the run's folder will hold, while spool and records are both there; None where the load alone shows how many come."""
    (a_request, a_token), count = rates, plan.planned
    if count is None:
        return None
    looked = min(count, _MOST_LOOKED_AT)
    outputs = plan.source.lengths(conversations(plan.schedule.run, looked)).output_tokens
    asked = int(outputs.sum(dtype="int64")) + int((outputs == 0).sum()) * _UNKNOWN_TOKENS
    return count * a_request + round(asked * (count / max(1, looked))) * a_token


def room(experiment: Experiment, plan: Plan, folder: Path) -> list[str]:
    """A word on the bytes that are expected. Raises ConfigError where the disk has fewer."""
    rates = _RATES_AS_LINES if "jsonl" in experiment.output.formats else _RATES
    needed, free = expected_bytes(plan, rates), shutil.disk_usage(folder).free
    if needed is None:
        a_request, a_token = (size(1000 * rate) for rate in rates)
        return [f"disk      up to {a_request} for 1,000 requests, {a_token} for 1,000 tokens of answers; {size(free)} are free"]
    if needed + _SPARE_BYTES > free:
        raise ConfigError(
            f"output.dir={experiment.output.dir}: up to {size(needed)} are expected of {plan.planned:,} requests, and {size(free)} are "
            "free there; ask for fewer requests or shorter answers, or give a folder on another disk"
        )
    return [f"disk      up to {size(needed)} are expected, {size(free)} are free"]


def size(count: float) -> str:
    """A number of bytes as a person reads it."""
    power = min(4, (len(f"{count:.0f}") - 1) // 3)
    return f"{count / 1000**power:,.{1 if power and count < 10 * 1000**power else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
