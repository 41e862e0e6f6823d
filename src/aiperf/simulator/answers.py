"""How tokens become an answer: as a stream, in one piece, or without end."""

from dataclasses import replace
from functools import partial

from aiperf.simulator.ask import Emit
from aiperf.simulator.exchange import Exchange
from aiperf.simulator.faults import INSTEAD, finish
from aiperf.simulator.script import (
    ENDLESS_HEAD,
    ERROR_BODY,
    OPEN_ENDED,
    STREAM_HEAD,
    WORD,
    Script,
    chunk,
    http_answer,
    whole_answer,
)

_BLOCK = 65536


class Streamed:
    """Sends tokens as they come out, the role with the first one and the end with the last."""

    __slots__ = ("_chunk", "_edge", "_exchange", "_last", "_script")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._script = Script(exchange.plan, exchange.serial, exchange.created_s, exchange.options.model)
        self._last = exchange.plan.brought_forth
        self._chunk, self._edge = b"", 0
        if exchange.fault == "slow_headers":
            self._script.role = STREAM_HEAD + self._script.role
        else:
            exchange.status = 200
            exchange.line.send(STREAM_HEAD)

    def emit(self, count: int) -> None:
        """The model's word that `count` more tokens are out."""
        exchange = self._exchange
        tokens = exchange.tokens + count
        if tokens < self._edge and count == 1:  # neither the first nor the last, and no change from reasoning to content
            exchange.tokens, exchange.last_ns = tokens, exchange.now()
            exchange.line.send(self._chunk)
            return
        self._turn(count)

    def _turn(self, count: int) -> None:
        exchange, script = self._exchange, self._script
        before, after, reasoning = exchange.tokens, exchange.tokens + count, min(exchange.plan.reasoning, self._last)
        thoughts = max(0, min(after, reasoning) - before)
        data = script.tokens(thoughts, count - thoughts)
        exchange.tokens, exchange.last_ns = after, exchange.now()
        if not before:
            exchange.status, exchange.first_ns, data = 200, exchange.last_ns, script.role + data
        if after < self._last:
            self._chunk, self._edge = (script.thought, reasoning) if after < reasoning else (script.word, self._last)
            exchange.line.send(data)
            return
        finish(exchange, data + script.end, self._resume)

    def _resume(self) -> None:
        """What was held back, all at once."""
        exchange = self._exchange
        exchange.fault, plan = None, replace(exchange.plan, fault=None, joined=False)
        self._last, self._script = plan.tokens, Script(plan, exchange.serial, exchange.created_s, exchange.options.model)
        self._turn(plan.tokens - exchange.tokens)


def _whole(exchange: Exchange, count: int) -> None:
    """Sends the answer in one piece when its last token has come out, or what its fault leaves of it."""
    body = whole_answer(exchange.plan, exchange.serial, exchange.created_s, exchange.options.model)
    if exchange.fault in ("error_event", "error_named"):
        body = ERROR_BODY
    elif exchange.fault == "malformed":
        body = body[: len(body) // 2]
    data = http_answer(200, body)
    cut = len(data) - (len(body) // 2 if exchange.fault in OPEN_ENDED else 0)

    def resume() -> None:
        exchange.fault, exchange.tokens, exchange.last_ns = None, exchange.plan.tokens, exchange.now()
        finish(exchange, data[cut:], resume)

    exchange.status, exchange.tokens = 200, count
    exchange.first_ns = exchange.last_ns = exchange.now()
    finish(exchange, data[:cut], resume)


def _endless(exchange: Exchange) -> Emit:
    """Sends tokens without end, as fast as the client takes them."""
    plan, line, made = exchange.plan, exchange.line, (exchange.serial, exchange.created_s, exchange.options.model)
    if plan.streamed:
        script = Script(plan, *made)
        exchange.status = 200
        line.send(STREAM_HEAD)
        opening, tokens = script.role, max(1, _BLOCK // len(script.word))
        block = script.word * tokens
    else:
        opening, tokens = ENDLESS_HEAD + chunk(whole_answer(plan, *made).partition(WORD)[0]), _BLOCK // len(chunk(WORD))
        block = chunk(WORD * tokens)

    def emit(_: int) -> None:
        exchange.status, exchange.first_ns = 200, exchange.now()
        line.send(opening)
        line.pour(more)

    def more() -> bytes:
        exchange.tokens += tokens
        exchange.last_ns = exchange.now()
        return block

    return emit


def speaker(exchange: Exchange) -> Emit:
    """What the model is to call for this request; a stream's head goes out here, if it is not late."""
    fault = exchange.fault
    if fault in INSTEAD:
        return partial(INSTEAD[fault], exchange)
    if fault == "endless":
        return _endless(exchange)
    return Streamed(exchange).emit if exchange.plan.streamed else partial(_whole, exchange)
