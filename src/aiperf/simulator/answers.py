"""How tokens become an answer: as a stream, in one piece, or without end."""

from dataclasses import replace
from functools import partial

from aiperf.clock import now_ns
from aiperf.simulator.exchange import Exchange
from aiperf.simulator.faults import INSTEAD, finish
from aiperf.simulator.model import Emit
from aiperf.simulator.script import (
    ENDLESS_HEAD,
    ERROR_BODY,
    STREAM_HEAD,
    Script,
    endless_answer,
    endless_words,
    http_answer,
    whole_answer,
)

_BLOCK = 65536


class Streamed:
    """Sends tokens as they come out, the role with the first one and the end with the last."""

    __slots__ = ("_chunk", "_edge", "_exchange", "_last", "_name", "_script")

    def __init__(self, exchange: Exchange, name: bytes) -> None:
        self._exchange, self._name = exchange, name
        self._script = Script(exchange.plan, exchange.serial, exchange.created_s, name)
        self._last = exchange.plan.brought_forth
        self._chunk, self._edge = b"", 0
        if exchange.fault == "slow_headers":
            self._script.role = STREAM_HEAD + self._script.role
        else:
            exchange.status = 200
            exchange.connection.send(STREAM_HEAD)

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
            exchange.status, exchange.first_ns, data = 200, exchange.last_ns, script.role + data
        if after < self._last:
            self._chunk, self._edge = (script.thought, reasoning) if after < reasoning else (script.word, self._last)
            exchange.connection.send(data)
            return
        finish(exchange, data + script.end, self._resume)

    def _resume(self) -> None:
        """What was held back, all at once."""
        exchange = self._exchange
        exchange.fault, plan = None, replace(exchange.plan, fault=None)
        self._last, self._script = plan.tokens, Script(plan, exchange.serial, exchange.created_s, self._name)
        self._turn(plan.tokens - exchange.tokens)


class Whole:
    """Sends the answer in one piece when its last token has come out, or what its fault leaves of it."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def emit(self, count: int) -> None:
        """The model's word that all tokens are out."""
        exchange = self._exchange
        body = whole_answer(exchange.plan, exchange.serial, exchange.created_s, exchange.model)
        if exchange.fault in ("error_event", "error_named"):
            body = ERROR_BODY
        elif exchange.fault == "malformed":
            body = body[: len(body) // 2]
        data = http_answer(200, body)
        cut = len(data) - (len(body) // 2 if exchange.fault in ("truncated", "reset_mid", "stall") else 0)
        exchange.status, exchange.tokens = 200, count
        exchange.first_ns = exchange.last_ns = now_ns()
        finish(exchange, data[:cut], partial(self._resume, data[cut:]))

    def _resume(self, rest: bytes) -> None:
        exchange = self._exchange
        exchange.fault, exchange.tokens, exchange.last_ns = None, exchange.plan.tokens, now_ns()
        finish(exchange, rest, partial(self._resume, b""))


class Endless:
    """Sends tokens without end, as fast as the client takes them."""

    __slots__ = ("_block", "_exchange", "_opening", "_tokens")

    def __init__(self, exchange: Exchange, name: bytes) -> None:
        self._exchange = exchange
        plan = exchange.plan
        if plan.streamed:
            script = Script(plan, exchange.serial, exchange.created_s, name)
            exchange.status = 200
            exchange.connection.send(STREAM_HEAD)
            self._opening, self._tokens = script.role, max(1, _BLOCK // len(script.word))
            self._block = script.word * self._tokens
        else:
            self._opening = ENDLESS_HEAD + endless_answer(plan, exchange.serial, exchange.created_s, exchange.model)
            self._tokens = _BLOCK // len(endless_words(1))
            self._block = endless_words(self._tokens)

    def emit(self, _: int) -> None:
        """The model's word that the first token is out."""
        exchange = self._exchange
        exchange.status, exchange.first_ns = 200, now_ns()
        exchange.connection.send(self._opening)
        exchange.connection.pour(self._more)

    def _more(self) -> bytes:
        self._exchange.tokens += self._tokens
        self._exchange.last_ns = now_ns()
        return self._block


def speaker(exchange: Exchange, name: bytes) -> Emit:
    """What the model is to call for this request; a stream's head goes out here, if it is not late. `name` is the model's, in JSON."""
    fault = exchange.fault
    if fault in INSTEAD:
        return partial(INSTEAD[fault], exchange)
    if fault == "endless":
        return Endless(exchange, name).emit
    return (Streamed(exchange, name) if exchange.plan.streamed else Whole(exchange)).emit
