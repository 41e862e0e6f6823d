"""How tokens become an answer on a line: as a stream, in one piece or without end, and what goes wrong with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from aiperf.clock import MILLISECOND, SECOND, Now
from aiperf.config.simulator import Simulator
from aiperf.simulator.bodies import ERROR_BODY, OPEN_ENDED, UNCUT, WORD, Plan, Refusal, Script, chunk, http_answer, refused, whole_answer
from aiperf.simulator.model import Ask, Emit

_BLOCK = 65536
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
_STREAM_HEAD, _ENDLESS_HEAD = _HEAD % b"text/event-stream; charset=utf-8\r\nCache-Control: no-cache", _HEAD % b"application/json"
_PAGE = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>\n"
_INSTEAD: Mapping[str | None, tuple[int | None, bytes]] = {
    "http_500": (500, http_answer(500, ERROR_BODY)),
    "rate_limited": (429, refused(Refusal(429, "too many requests", "RateLimitError"), extra=b"Retry-After: 1\r\n")),
    "http_400": (400, refused(Refusal(400, "the simulated server does not take this request"))),
    "http_404_empty": (404, http_answer(404, b"")),
    "http_503_empty": (503, http_answer(503, b"")),
    "wrong_content_type": (200, http_answer(200, _PAGE, b"text/html; charset=utf-8")),
    "garbage": (None, b"\x15\x03\x03\x00\x02\x02\x46"),  # what a server that speaks TLS says to one that does not
    "reset": (None, b""),
}
"""Where the first token was due: what comes in its stead."""


class Line(Protocol):
    """What a request came on and its answer goes out on: a connection, or one in memory. `busy` is the exchange under way."""

    busy: Any

    def send(self, data: bytes) -> None:
        """Bytes of the answer."""

    def cork(self) -> None:
        """Hold back what is sent from now on, until the line is closed."""

    def pour(self, spring: Callable[[], bytes]) -> None:
        """What `spring` gives, over and over, as fast as it is taken."""

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` in some time, unless the line is closed or turns to another request before."""

    def done(self, *, keep_alive: bool, unannounced: bool = False) -> None:
        """The answer has been handed over; `unannounced`: close, once it is written, what the client takes for kept."""

    def leave_if_idle(self) -> None:
        """Close what the client takes for kept, unless it is in use."""

    def reset(self) -> None:
        """Break off."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has come whole. `arrived_ns` (CLOCK_REALTIME) is its last segment's stamp by the kernel, or the time it was read."""

    method: bytes
    path: bytes
    number: int | None
    body: bytes
    arrived_ns: int
    keep_alive: bool = True
    version: str = "1.1"


@dataclass(slots=True, eq=False)
class Exchange:
    """What is known of a request under way. Stamps are CLOCK_REALTIME, taken just before the send; `tokens` are those sent, of each choice.

    `over` is told once, when it has ended, and whether the answer went out whole and good. `fault` is what is still to go
    wrong; `offset_ns` is CLOCK_REALTIME minus CLOCK_MONOTONIC, which the ask's times are on.
    """

    line: Line
    request: Request
    plan: Plan
    over: Callable[["Exchange", bool], None]
    serial: int
    options: Simulator
    now: Now
    fault: str | None
    ask: Ask
    offset_ns: int = 0
    status: int | None = None
    tokens: int = 0
    first_ns: int | None = None
    last_ns: int | None = None

    @property
    def made(self) -> tuple[int, int, str]:
        """What the answer says of itself: its number, its time, its model."""
        return self.serial, self.request.arrived_ns // SECOND, self.options.model

    def end(self, *, complete: bool, keep_alive: bool = True, unannounced: bool = False) -> None:
        """Log it and hand the line back."""
        if self.line.busy is self:
            self.over(self, complete)
            self.line.done(keep_alive=keep_alive and self.request.keep_alive, unannounced=unannounced)

    def finish(self, data: bytes, resume: Callable[[], None]) -> None:
        """Send the last of what comes before the end or the fault; `resume` is called if that passes."""
        line, fault, options = self.line, self.fault, self.options.faults
        if fault == "close_after":  # nothing can cross the end, since that of the answer comes with it
            line.cork()
        line.send(data)
        if fault == "reset_mid":  # closing ends the exchange
            line.reset()
        elif fault == "stall":
            line.later(options.stall_s, resume)
        else:
            if fault == "close_idle":
                line.later(options.idle_close_ms * MILLISECOND / SECOND, line.leave_if_idle)
            self.end(complete=fault in UNCUT, keep_alive=fault != "truncated", unannounced=fault == "close_after")


class Streamed:
    """Sends tokens as they come out, the role with the first one and the end with the last."""

    __slots__ = ("_chunk", "_edge", "_exchange", "_last", "_script")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._last = exchange, exchange.plan.brought_forth
        self._script = Script(exchange.plan, *exchange.made)
        self._chunk, self._edge = b"", 0
        if exchange.fault == "slow_headers":
            self._script.role = _STREAM_HEAD + self._script.role
        else:
            exchange.status = 200
            exchange.line.send(_STREAM_HEAD)

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
        exchange.finish(data + script.end, self._resume)

    def _resume(self) -> None:
        """What was held back, all at once."""
        exchange = self._exchange
        exchange.fault, plan = None, replace(exchange.plan, fault=None, joined=False)
        self._last, self._script = plan.tokens, Script(plan, *exchange.made)
        self._turn(plan.tokens - exchange.tokens)


def _whole(exchange: Exchange, count: int) -> None:
    """Sends the answer in one piece when its last token has come out, or what its fault leaves of it."""
    body = whole_answer(exchange.plan, *exchange.made)
    if exchange.fault in ("error_event", "error_named"):
        body = ERROR_BODY
    elif exchange.fault == "malformed":
        body = body[: len(body) // 2]
    data = http_answer(200, body)
    cut = len(data) - (len(body) // 2 if exchange.fault in OPEN_ENDED else 0)

    def resume() -> None:
        exchange.fault, exchange.tokens, exchange.last_ns = None, exchange.plan.tokens, exchange.now()
        exchange.finish(data[cut:], resume)

    exchange.status, exchange.tokens = 200, count
    exchange.first_ns = exchange.last_ns = exchange.now()
    exchange.finish(data[:cut], resume)


def _endless(exchange: Exchange) -> Emit:
    """Sends tokens without end, as fast as the client takes them."""
    plan, line = exchange.plan, exchange.line
    if plan.streamed:
        script = Script(plan, *exchange.made)
        exchange.status = 200
        line.send(_STREAM_HEAD)
        opening, tokens = script.role, max(1, _BLOCK // len(script.word))
        block = script.word * tokens
    else:
        opening, tokens = _ENDLESS_HEAD + chunk(whole_answer(plan, *exchange.made).partition(WORD)[0]), _BLOCK // len(WORD)
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


def _instead(exchange: Exchange, _: int) -> None:
    exchange.status, data = _INSTEAD[exchange.fault]
    if exchange.fault == "reset":  # closing ends the exchange
        exchange.line.reset()
        return
    exchange.line.send(data)
    exchange.end(complete=False, keep_alive=exchange.fault != "garbage")


def speaker(exchange: Exchange) -> Emit:
    """What the model is to call for this request; a stream's head goes out here, if it is not late."""
    if exchange.fault in _INSTEAD:
        return partial(_instead, exchange)
    if exchange.fault == "endless":
        return _endless(exchange)
    return Streamed(exchange).emit if exchange.plan.streamed else partial(_whole, exchange)
