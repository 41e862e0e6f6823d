"""A chat request that is being answered: what becomes of its tokens, on the wire and in the log."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiperf.clock import SECOND, now_ns
from aiperf.simulator.chat import Plan
from aiperf.simulator.connection import Connection, Request
from aiperf.simulator.model import Ask, Emit
from aiperf.simulator.script import FAILED, STREAM_HEAD, Script, http_answer, refused, whole_answer

Over = Callable[["Exchange", bool], None]
"""Is told of each request that is over, and whether its answer went out whole and good."""


@dataclass(slots=True, eq=False)
class Exchange:
    """What is known of a request under way. Stamps are CLOCK_REALTIME, taken just before the send; `tokens` are those sent."""

    connection: Connection
    request: Request
    plan: Plan
    over: Over
    serial: int
    model: str
    status: int | None = None
    tokens: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    ask: Ask | None = None

    def end(self, *, complete: bool, keep_alive: bool = True) -> None:
        """Log it and hand the connection back."""
        if self.connection.busy is self:
            self.over(self, complete)
            self.connection.done(keep_alive=keep_alive and self.request.keep_alive)


class Streamed:
    """Sends tokens as they come out, the role with the first one and the end with the last."""

    __slots__ = ("_chunk", "_edge", "_exchange", "_last", "_script")

    def __init__(self, exchange: Exchange, script: Script) -> None:
        self._exchange, self._script = exchange, script
        self._last = exchange.plan.brought_forth
        self._chunk, self._edge = b"", 0

    def emit(self, count: int) -> None:
        """The model's word that `count` more tokens are out."""
        exchange = self._exchange
        tokens = exchange.tokens + count
        if tokens < self._edge:  # neither the first nor the last, and no change from reasoning to content
            exchange.tokens = tokens
            exchange.connection.send(self._chunk if count == 1 else self._chunk * count)
            return
        self._turn(count)

    def _turn(self, count: int) -> None:
        exchange, script = self._exchange, self._script
        before, after, reasoning = exchange.tokens, exchange.tokens + count, min(exchange.plan.reasoning, self._last)
        thoughts = max(0, min(after, reasoning) - before)
        data = script.thought * thoughts + script.word * (count - thoughts)
        exchange.tokens, exchange.last_ns = after, now_ns()
        if not before:
            exchange.first_ns, data = exchange.last_ns, script.role + data
        if after < self._last:
            self._chunk, self._edge = (script.thought, reasoning) if after < reasoning else (script.word, self._last)
            exchange.connection.send(data)
            return
        exchange.connection.send(data + script.end)
        exchange.end(complete=exchange.plan.fault is None, keep_alive=exchange.plan.fault != "truncated")


class Whole:
    """Sends the answer in one piece when its last token has come out; an error event or half of it, if that is its fault."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def emit(self, count: int) -> None:
        """The model's word that all tokens are out."""
        exchange = self._exchange
        plan = exchange.plan
        if plan.fault == "error_event":
            fail(exchange)
            return
        body = whole_answer(plan, exchange.serial, exchange.request.arrived_ns // SECOND, exchange.model)
        data = http_answer(200, body)
        exchange.status, exchange.tokens = 200, count
        exchange.first_ns = exchange.last_ns = now_ns()
        exchange.connection.send(data[: len(data) - len(body) // 2] if plan.fault == "truncated" else data)
        exchange.end(complete=plan.fault is None, keep_alive=plan.fault is None)


def fail(exchange: Exchange, _: int = 1) -> None:
    """Answer 500."""
    exchange.status = FAILED.status
    exchange.connection.send(refused(FAILED))
    exchange.end(complete=False)


def break_off(exchange: Exchange, _: int = 1) -> None:
    """Reset the connection; closing it ends the exchange."""
    exchange.connection.reset()


def speaker(exchange: Exchange, model: bytes) -> Emit:
    """What the model is to call for this request; a stream's head goes out here."""
    if exchange.plan.fault == "http_500":
        return partial(fail, exchange)
    if exchange.plan.fault == "reset":
        return partial(break_off, exchange)
    if not exchange.plan.streamed:
        return Whole(exchange).emit
    exchange.status = 200
    exchange.connection.send(STREAM_HEAD)
    script = Script(exchange.plan, exchange.serial, exchange.request.arrived_ns // SECOND, model)
    return Streamed(exchange, script).emit
