"""What the server does with requests, whoever brings them: plans, the model's tokens, the log, pages, one of them of metrics."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec

from aiperf import clock
from aiperf.clock import SECOND, Now
from aiperf.config.simulator import Simulator
from aiperf.errors import ConfigError, MeasureError
from aiperf.simulator.answers import Exchange, Line, Request, speaker
from aiperf.simulator.bodies import Api, Plan, Refusal, http_answer, planned, refused
from aiperf.simulator.draws import RACED, Fates, refused_places
from aiperf.simulator.engine import Engine, Replicas
from aiperf.simulator.model import Ask, Model, TimedModel

_APIS: dict[bytes, Api] = {b"/v1/chat/completions": "chat", b"/v1/completions": "completions"}
_LOADING = Refusal(503, "the model is still loading", "ServiceUnavailableError")
_UNKNOWN = {
    "admitted_ns": None, "first_ns": None, "last_ns": None, "tokens": 0, "prompt_tokens": None, "cached_tokens": 0, "preemptions": 0,
    "fault": None, "status": None, "complete": False,
}  # fmt: skip
"""In the log of a request that was refused, or lost with its connection."""

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


def made(options: Simulator) -> Model:
    """The model of the preset."""
    if options.preset in ("fixed", "textbook"):
        return TimedModel(options)
    return Engine(options) if options.replicas == 1 else Replicas(options)


class Exposition:
    """The page of metrics, under the names that vLLM has: what requests and the model went through, whose `name` is on everything."""

    def __init__(self, name: str, model: Model) -> None:
        self._name, self._model = name, model
        self._ends = dict.fromkeys(("stop", "length", "abort"), 0)
        self._counts = [[0] * (len(bounds) + 1) for _, bounds in _HISTOGRAMS.values()]
        self._sums = [0.0] * len(_HISTOGRAMS)

    def over(self, ask: Ask, *, first_ns: int | None, last_ns: int | None, tokens: int, complete: bool) -> None:
        """A request has ended; the times are on the clock of `ask.arrived_ns`, None where there was no such moment."""
        self._ends["abort" if not complete else "length" if ask.limited else "stop"] += 1
        ends = (first_ns, last_ns if complete else None, ask.admitted_ns)
        since = [None if ns is None else (ns - ask.arrived_ns) / SECOND for ns in ends]
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
        for reason, count in self._ends.items():
            ends.add_metric([self._name, reason], count)
        yield ends
        for (name, (what, bounds)), counts, total in zip(_HISTOGRAMS.items(), self._counts, self._sums):
            histogram = core.HistogramMetricFamily(name, what, labels=labels)
            uppers = [*(str(float(bound)) for bound in bounds), "+Inf"]
            histogram.add_metric([self._name], list(zip(uppers, accumulate(counts))), total)
            yield histogram


class Service:
    """Answers requests that come on lines; `wake` is told when the model has to be looked at again (CLOCK_MONOTONIC; None: never).

    Logs a JSON line a request with the simulator's own stamps. Raises ConfigError if the log cannot be made, MeasureError when it is full.
    """

    def __init__(
        self, options: Simulator, wake: Callable[[int | None], None], *, now: Now = clock.now_ns, monotonic: Now = clock.monotonic_ns
    ) -> None:
        self._options, self._wake, self._now, self._monotonic = options, wake, now, monotonic
        self._model = made(options)
        self._fates = Fates(options.faults, options.seed)
        self._rows: list[dict[str, Any]] = []
        try:
            self._log = None if options.log is None else Path(options.log).expanduser().open("wb")
        except OSError as exc:
            raise ConfigError(f"endpoint.simulator.log: {options.log} cannot be written: {exc.strerror}") from exc
        every, places = refused_places(options.faults, options.seed)
        if places and self._log is not None:  # who never gets here
            self._rows.append({"refused": {"every": every, "places": places}})
        self._loaded_ns = monotonic() + round(options.load_s * SECOND)
        self._pumping, self._requests = False, 0
        self._exposition = Exposition(options.model, self._model)

    def serve(self, line: Line, request: Request) -> None:
        """Answer a page now; a request for tokens when they come out."""
        if request.path in _APIS and request.method == b"POST":
            self._generate(line, request)
            return
        line.send(self._page(request))
        line.done(keep_alive=request.keep_alive and request.method != b"HEAD")  # a HEAD's body would be taken for the next answer

    def crossed(self, request: Request) -> None:
        """Log a request that is lost with the connection that it came on."""
        if request.path in _APIS and request.method == b"POST":
            self._note(request, fault=RACED)

    def flush(self) -> None:
        """Write what has gathered in the log."""
        if self._log is not None:
            try:
                self._log.write(msgspec.json.Encoder().encode_lines(self._rows))
                self._log.flush()
            except OSError as exc:
                log, self._log = self._log, None
                log.raw.close()  # what it still holds cannot be written either
                raise MeasureError(f"endpoint.simulator.log: {self._options.log} cannot be written: {exc.strerror}") from exc
            self._rows.clear()

    def close(self) -> None:
        """Write the rest of the log."""
        self.flush()
        if self._log is not None:
            self._log.close()

    def gone(self, line: Line) -> None:
        """Log what was under way on a line that is closed, as it stands."""
        exchange: Exchange | None = line.busy
        if exchange is not None:
            self._model.leave(exchange.ask)
            self._over(exchange, False)

    def pump(self) -> None:
        """Let the model tell of what is due."""
        if self._pumping:  # an answer that ended has let the next request of its line in; the outer call goes on with it
            return
        self._pumping = True
        due_ns = self._model.advance(self._monotonic())
        self._pumping = False
        self._wake(due_ns)

    def _generate(self, line: Line, request: Request) -> None:
        self._requests += 1
        options = self._options
        plan = _LOADING if self._loading() else planned(_APIS[request.path], request.body, options, self._fates.of(request.number))
        if isinstance(plan, Plan) and plan.streamed and request.version == "1.0":
            plan = Refusal(400, "a stream needs HTTP/1.1")
        if isinstance(plan, Refusal):
            self._note(request, status=plan.status)
            line.send(refused(plan))
            line.done(keep_alive=request.keep_alive)
            return
        offset_ns = clock.offset_ns(self._now, self._monotonic)
        late_ns = round(options.faults.stall_s * SECOND) if plan.fault == "slow_headers" else 0
        ask = Ask(
            request.number, plan.prompt_tokens, plan.brought_forth, request.arrived_ns - offset_ns + late_ns, plan.streamed, plan.blocks,
            plan.limited, plan.choices,
        )  # fmt: skip
        line.busy = exchange = Exchange(line, request, plan, self._over, self._requests, options, self._now, plan.fault, ask, offset_ns)
        emit = speaker(exchange)
        if line.busy is exchange:  # else the client went away while the head was sent
            self._model.arrive(ask, emit)
            self.pump()

    def _note(self, request: Request, **known: Any) -> None:
        if self._log is not None:
            self._rows.append({"request": request.number, "arrived_ns": request.arrived_ns, **_UNKNOWN, **known})

    def _over(self, exchange: Exchange, complete: bool) -> None:
        exchange.line.busy = None
        plan, ask, offset_ns = exchange.plan, exchange.ask, exchange.offset_ns
        first_ns, last_ns, tokens = exchange.first_ns, exchange.last_ns, exchange.tokens * plan.choices
        self._note(
            exchange.request, admitted_ns=None if ask.admitted_ns is None else ask.admitted_ns + offset_ns, first_ns=first_ns,
            last_ns=last_ns, tokens=tokens, prompt_tokens=plan.prompt_tokens, cached_tokens=ask.cached_tokens,
            preemptions=ask.preemptions, fault=plan.fault, status=exchange.status, complete=complete,
        )  # fmt: skip
        since = [None if ns is None else ns - offset_ns for ns in (first_ns, last_ns)]
        self._exposition.over(ask, first_ns=since[0], last_ns=since[1], tokens=tokens, complete=complete)

    def _page(self, request: Request) -> bytes:
        if request.path != b"/metrics" and self._loading():
            return refused(_LOADING)
        allowed = "POST" if request.path in _APIS else "GET" if request.path in (b"/v1/models", b"/health", b"/metrics") else None
        if allowed is None:
            return refused(Refusal(404, f"there is nothing at {request.path.decode('ascii', 'replace')}", "NotFoundError"))
        if request.method != b"GET" or allowed == "POST":
            return refused(Refusal(405, f"only {allowed} is allowed here", "MethodNotAllowedError"))
        if request.path == b"/metrics":
            return http_answer(200, self._exposition.text(), b"text/plain; version=0.0.4; charset=utf-8")
        model = {"id": self._options.model, "object": "model", "created": 0, "owned_by": "aiperf"}
        return http_answer(200, b"{}" if request.path == b"/health" else msgspec.json.encode({"object": "list", "data": [model]}))

    def _loading(self) -> bool:
        return self._monotonic() < self._loaded_ns
