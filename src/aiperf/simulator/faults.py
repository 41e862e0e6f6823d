"""What goes wrong with an answer: instead of it, where its first token was due, or where it would have gone on."""

from collections.abc import Callable, Mapping
from functools import partial

from aiperf.clock import MILLISECOND, SECOND
from aiperf.simulator.exchange import Exchange
from aiperf.simulator.plan import Refusal
from aiperf.simulator.script import FAILED, http_answer, refused

Resume = Callable[[], None]

_PAGE = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>\n"
_TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x46"
"""What a server that speaks TLS says to one that does not."""


def _instead(status: int | None, data: bytes, *, keep_alive: bool = True) -> Callable[[Exchange, int], None]:
    def answer(exchange: Exchange, _: int) -> None:
        exchange.status = status
        exchange.line.send(data)
        exchange.end(complete=False, keep_alive=keep_alive)

    return answer


def _break(exchange: Exchange, _: int) -> None:
    """Closing the connection ends the exchange."""
    exchange.line.reset()


INSTEAD: Mapping[str | None, Callable[[Exchange, int], None]] = {
    "http_500": _instead(500, refused(FAILED)),
    "rate_limited": _instead(429, refused(Refusal(429, "too many requests", "RateLimitError"), extra=b"Retry-After: 1\r\n")),
    "http_400": _instead(400, refused(Refusal(400, "the simulated server does not take this request"))),
    "http_404_empty": _instead(404, http_answer(404, b"")),
    "http_503_empty": _instead(503, http_answer(503, b"")),
    "wrong_content_type": _instead(200, http_answer(200, _PAGE, b"text/html; charset=utf-8")),
    "garbage": _instead(None, _TLS_ALERT, keep_alive=False),
    "reset": _break,
}
"""Where the first token was due: what comes in its stead."""


def _end(exchange: Exchange, data: bytes, _: Resume, *, complete: bool = False, keep_alive: bool = True) -> None:
    exchange.line.send(data)
    exchange.end(complete=complete, keep_alive=keep_alive)


def _break_off(exchange: Exchange, data: bytes, _: Resume) -> None:
    exchange.line.send(data)
    exchange.line.reset()


def _stall(exchange: Exchange, data: bytes, resume: Resume) -> None:
    exchange.line.send(data)
    exchange.line.later(exchange.options.faults.stall_s, resume)


def _close_after(exchange: Exchange, data: bytes, _: Resume) -> None:
    """Nothing can cross the end, since that of the answer comes with it."""
    exchange.line.cork()
    exchange.line.send(data)
    exchange.end(complete=True, unannounced=True)


def _close_idle(exchange: Exchange, data: bytes, _: Resume) -> None:
    line = exchange.line
    line.send(data)
    line.later(exchange.options.faults.idle_close_ms * MILLISECOND / SECOND, line.leave_if_idle)
    exchange.end(complete=True)


_ENDINGS: Mapping[str | None, Callable[[Exchange, bytes, Resume], None]] = {
    None: partial(_end, complete=True),
    "error_event": _end,
    "error_named": _end,
    "malformed": _end,
    "truncated": partial(_end, keep_alive=False),
    "reset_mid": _break_off,
    "stall": _stall,
    "close_after": _close_after,
    "close_idle": _close_idle,
}


def finish(exchange: Exchange, data: bytes, resume: Resume) -> None:
    """Send the last of what comes before the end or the fault; `resume` is called if that passes."""
    _ENDINGS.get(exchange.fault, _ENDINGS[None])(exchange, data, resume)
