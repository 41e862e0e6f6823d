"""The page of metrics: what a model and its requests went through, under the names that vLLM has for it."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from aiperf.clock import SECOND
from aiperf.simulator.ask import Ask, Model

_FAMILIES = (
    ("Gauge", "vllm:num_requests_running", "Requests in the batch.", "running"),
    ("Gauge", "vllm:num_requests_waiting", "Requests in the queue.", "waiting"),
    ("Gauge", "vllm:kv_cache_usage_perc", "Share of the KV blocks that are held, 0 to 1.", "kv_usage"),
    ("Counter", "vllm:prefix_cache_queries", "Prompt tokens that were looked for in the prefix cache.", "queried_tokens"),
    ("Counter", "vllm:prefix_cache_hits", "Prompt tokens that were found there.", "hit_tokens"),
    ("Counter", "vllm:num_preemptions", "Requests that lost their KV blocks to others.", "preemptions"),
    ("Counter", "vllm:prompt_tokens", "Tokens of prompts.", "prompt_tokens"),
    ("Counter", "vllm:generation_tokens", "Tokens brought forth.", "generated_tokens"),
)
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560)
_WHOLE = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_HISTOGRAMS = {  # the bounds are those of vllm/v1/metrics/loggers.py
    "vllm:time_to_first_token_seconds": ("From arrival to the first token.", _FIRST),
    "vllm:e2e_request_latency_seconds": ("From arrival to the last token.", _WHOLE),
    "vllm:request_queue_time_seconds": ("From arrival to the first step.", _WHOLE),
    "vllm:request_generation_tokens": ("Tokens of an answer.", [figure * 10**power for power in range(6) for figure in (1, 2, 5)]),
}


class Exposition:
    """Gathers what requests went through; `name` is the model's, the label of everything."""

    def __init__(self, name: str, model: Model) -> None:
        self._name, self._model = name, model
        self._ends: Counter[str] = Counter()
        self._counts = [[0] * (len(bounds) + 1) for _, bounds in _HISTOGRAMS.values()]
        self._sums = [0.0] * len(_HISTOGRAMS)

    def over(self, ask: Ask, *, first_ns: int | None, last_ns: int | None, tokens: int, complete: bool) -> None:
        """A request has ended; the times are on the clock of `ask.arrived_ns`, None where there was no such moment."""
        self._ends["abort" if not complete else "length" if ask.limited else "stop"] += 1
        since = [
            None if ns is None else (ns - ask.arrived_ns) / SECOND for ns in (first_ns, last_ns if complete else None, ask.admitted_ns)
        ]
        for place, (value, (_, bounds)) in enumerate(zip((*since, tokens), _HISTOGRAMS.values())):
            if value is not None:
                self._counts[place][bisect_left(bounds, value)] += 1
                self._sums[place] += value

    def text(self) -> bytes:
        """The page, as Prometheus reads it."""
        from prometheus_client import generate_latest  # noqa: PLC0415 - a tenth of every start, for a page that few ask for

        return generate_latest(self)

    def collect(self) -> Iterator[Any]:
        """Every family, as prometheus_client asks for it."""
        from prometheus_client import core  # noqa: PLC0415 - as above

        load, labels = self._model.load(), ["model_name"]
        for kind, name, what, key in _FAMILIES:
            family = getattr(core, f"{kind}MetricFamily")(name, what, labels=labels)
            family.add_metric([self._name], getattr(load, key))
            yield family
        ends = core.CounterMetricFamily("vllm:request_success", "Requests that have ended, and why.", labels=[*labels, "finished_reason"])
        for reason in ("stop", "length", "abort"):
            ends.add_metric([self._name, reason], self._ends[reason])
        yield ends
        for (name, (what, bounds)), counts, total in zip(_HISTOGRAMS.items(), self._counts, self._sums):
            histogram = core.HistogramMetricFamily(name, what, labels=labels)
            uppers = [*(str(float(bound)) for bound in bounds), "+Inf"]
            histogram.add_metric([self._name], list(zip(uppers, accumulate(counts))), total)
            yield histogram
