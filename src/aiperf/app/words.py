"""The plan as a person reads it, before anything is sent."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from aiperf import clock
from aiperf.app.plan import Plan, conversations
from aiperf.app.stopping import precision_of
from aiperf.config.experiment import Experiment
from aiperf.config.slos import limits
from aiperf.plugin import plugins
from aiperf.plugin.metrics import metric
from aiperf.workload import Phase


def lines(experiment: Experiment, plan: Plan) -> list[str]:
    """The plan as a person reads it."""
    endpoint, dataset = experiment.endpoint, experiment.dataset
    where = "the packaged simulator" if endpoint.simulator is not None else ", ".join(endpoint.url)
    how = "streamed" if endpoint.streaming else "not streamed"
    tokenizer = (
        [f"tokenizer {_tokenizer(plan, applied=experiment.tokenizer.apply_chat_template)}"] if plan.counting.name is not None else []
    )
    return [
        f"endpoint  {_whose(endpoint.type)} at {where}, {how}; {_sampling(endpoint.extra)}",
        f"dataset   {dataset.path or dataset.type}: {_lengths(plan, salt=dataset.salt, exact=dataset.output_tokens.exact)}",
        *tokenizer,
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


def _tokenizer(plan: Plan, *, applied: bool) -> str:
    template = plan.counting.template_tokens
    if template is None:
        return f"{plan.counting.name}; what the chat template adds is asked of the server"
    return (
        f"{plan.counting.name}; its chat template adds {template} tokens to a prompt, {'within' if applied else 'beyond'} the asked length"
    )


def _sampling(extra: dict[str, Any]) -> str:
    return f"every body carries {', '.join(sorted(extra))}" if extra else "no sampling parameters are sent"


def _salted(salt: str) -> str:
    return {"run": "unique to this run", "none": "the same in every run"}.get(salt, f"salted with {salt!r}")


def _lengths(plan: Plan, *, salt: str, exact: bool) -> str:
    run = plan.schedule.run
    lengths = plan.source.lengths(conversations(run, min(plan.planned or 1000, 100_000)))
    return f"{_prompts(lengths.input_tokens, salt)}; answers {_answers(lengths.output_tokens, exact=exact)}"


def _prompts(sizes: np.ndarray[Any, np.dtype[np.int32]], salt: str) -> str:
    """Lengths of what is drawn; what stands in the data has a length that nobody knows."""
    drawn = sizes[sizes > 0]
    if not len(drawn):
        return "prompts as they stand in the data"
    others = "" if len(drawn) == len(sizes) else f" ({len(sizes) - len(drawn):,} others stand in the data)"
    return f"prompts of {_span(drawn)} tokens{others}, text {_salted(salt)}"


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
