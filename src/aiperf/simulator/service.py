"""What the server does with requests, whoever brings them: pages, plans, the model's tokens, the log."""

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from aiperf import clock
from aiperf.clock import SECOND, Now
from aiperf.config.simulator import Simulator
from aiperf.errors import ConfigError, MeasureError
from aiperf.simulator.answers import speaker
from aiperf.simulator.ask import Ask, Model
from aiperf.simulator.draws import RACED, Fates, refused_places
from aiperf.simulator.engine import Engine, Replicas
from aiperf.simulator.exchange import Exchange, Line, Request
from aiperf.simulator.exposition import Exposition
from aiperf.simulator.plan import Api, Plan, Refusal, planned
from aiperf.simulator.script import http_answer, refused
from aiperf.simulator.timed import TimedModel

_APIS: dict[bytes, Api] = {b"/v1/chat/completions": "chat", b"/v1/completions": "completions"}


def made(options: Simulator) -> Model:
    """The model of the preset."""
    if options.preset in ("fixed", "textbook"):
        return TimedModel(options)
    return Engine(options) if options.replicas == 1 else Replicas(options)


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
        if places:  # who never gets here
            self._note({"refused": {"every": every, "places": places}})
        self._loaded_ns = monotonic() + round(options.load_s * SECOND)
        self._pumping = False
        self._requests = 0
        self._exposition = Exposition(options.model, self._model)
        self._pages = {b"/v1/models": self._models, b"/health": lambda: http_answer(200, b"{}"), b"/metrics": self._metrics}

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
            self._note(_row(request, fault=RACED))

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
            if exchange.ask is not None:
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
        plan = self._plan(request)
        if isinstance(plan, Refusal):
            self._note(_row(request, status=plan.status))
            line.send(refused(plan))
            line.done(keep_alive=request.keep_alive)
            return
        line.busy = exchange = Exchange(line, request, plan, self._over, self._requests, self._options, self._now, plan.fault)
        emit = speaker(exchange)
        if line.busy is not exchange:  # the client went away while the head was sent
            return
        exchange.offset_ns = clock.offset_ns(self._now, self._monotonic)
        arrived_ns = request.arrived_ns - exchange.offset_ns
        if plan.fault == "slow_headers":
            arrived_ns += round(self._options.faults.stall_s * SECOND)
        exchange.ask = Ask(
            request.number, plan.prompt_tokens, plan.brought_forth, arrived_ns, plan.streamed, plan.blocks, plan.limited, plan.choices
        )  # fmt: skip
        self._model.arrive(exchange.ask, emit)
        self.pump()

    def _plan(self, request: Request) -> Plan | Refusal:
        if self._loading():
            return _LOADING
        plan = planned(_APIS[request.path], request.body, self._options, self._fates.of(request.number))
        if isinstance(plan, Plan) and plan.streamed and request.version == "1.0":
            return Refusal(400, "a stream needs HTTP/1.1")
        return plan

    def _note(self, row: dict[str, Any]) -> None:
        if self._log is not None:
            self._rows.append(row)

    def _over(self, exchange: Exchange, complete: bool) -> None:
        exchange.line.busy = None
        plan, first_ns, last_ns, ask = exchange.plan, exchange.first_ns, exchange.last_ns, exchange.ask
        tokens = exchange.tokens * plan.choices
        row = _row(
            exchange.request, status=exchange.status, fault=plan.fault, complete=complete, first_ns=first_ns, last_ns=last_ns,
            tokens=tokens, prompt_tokens=plan.prompt_tokens,
        )  # fmt: skip
        if ask is not None:
            offset_ns = exchange.offset_ns
            admitted_ns = None if ask.admitted_ns is None else ask.admitted_ns + offset_ns
            row |= {"admitted_ns": admitted_ns, "cached_tokens": ask.cached_tokens, "preemptions": ask.preemptions}
            since = [None if ns is None else ns - offset_ns for ns in (first_ns, last_ns)]
            self._exposition.over(ask, first_ns=since[0], last_ns=since[1], tokens=tokens, complete=complete)
        self._note(row)

    def _page(self, request: Request) -> bytes:
        page = self._pages.get(request.path)
        if self._loading() and request.path != b"/metrics":
            return refused(_LOADING)
        if page is None and request.path not in _APIS:
            return refused(Refusal(404, f"there is nothing at {request.path.decode('ascii', 'replace')}", "NotFoundError"))
        if page is None or request.method != b"GET":
            allowed = "POST" if request.path in _APIS else "GET"
            return refused(Refusal(405, f"only {allowed} is allowed here", "MethodNotAllowedError"))
        return page()

    def _loading(self) -> bool:
        return self._monotonic() < self._loaded_ns

    def _models(self) -> bytes:
        model = {"id": self._options.model, "object": "model", "created": 0, "owned_by": "aiperf"}
        return http_answer(200, msgspec.json.encode({"object": "list", "data": [model]}))

    def _metrics(self) -> bytes:
        return http_answer(200, self._exposition.text(), b"text/plain; version=0.0.4; charset=utf-8")


_LOADING = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the model is still loading", "ServiceUnavailableError")
_UNKNOWN = {
    "admitted_ns": None, "first_ns": None, "last_ns": None, "tokens": 0, "prompt_tokens": None, "cached_tokens": 0, "preemptions": 0,
    "fault": None, "status": None, "complete": False,
}  # fmt: skip


def _row(request: Request, **known: Any) -> dict[str, Any]:
    """A line of the log; little is known of a request that was refused, or lost with its connection."""
    return {"request": request.number, "arrived_ns": request.arrived_ns, **_UNKNOWN, **known}
