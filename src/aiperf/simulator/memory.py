"""The same server in this process, on a clock that jumps: bodies, model and answers are those of the sockets, without them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import httptools

from aiperf.clock import MILLISECOND, SECOND
from aiperf.config.endpoint import Endpoint as Options
from aiperf.config.simulator import Simulator
from aiperf.errors import MeasureError
from aiperf.seams import Flights, Loop, Response
from aiperf.simulator.answers import Request
from aiperf.simulator.draws import refused_places
from aiperf.simulator.service import Service
from aiperf.spool import PART_BYTES, VIRTUAL, Exchange
from aiperf.transports.origin import Origin
from aiperf.transports.response import Response as Parsed
from aiperf.transports.wire import overdue

URL = "memory://simulator"
_AFTER_NS = 100 * MILLISECOND
_LOOKS = 50


class MemoryServer:
    """A simulator on a virtual loop, for as long as a run: it is probed, loaded and asked for its metrics on one clock."""

    def __init__(self, options: Simulator, loop: Loop) -> None:
        self.loop = loop
        self.service = Service(options, self._wake, now=loop.now_ns, monotonic=loop.monotonic_ns)
        every, self._refused = refused_places(options.faults, options.seed)
        self.urls = (URL,) * every
        self._armed = math.inf
        self.close = self.service.close

    def __call__(self, url: str, body: bytes | None = None, *, timeout_s: float = 5.0) -> Response:
        """A GET or POST, a tenth of a virtual second after the one before. Raises MeasureError where no answer comes in time."""
        said, method, path = Exchange(-1), b"GET" if body is None else b"POST", url.removeprefix(URL).encode()

        def ask() -> None:
            line, late = MemoryLine(self, said, 1 << 24), f"no answer in time ({timeout_s:g} s)"
            self.loop.at(self.loop.monotonic_ns() + round(timeout_s * SECOND), lambda: line.land("timeout_total", late))
            self.begin(line, Request(method, path, None, body or b"", line.heard))

        self.loop.at(self.loop.monotonic_ns() + _AFTER_NS, ask)
        self.loop.run(lambda: said.end is not None)
        if said.error is not None or said.status is None:
            raise MeasureError(f"{url}: {said.reason}")
        return said.status, {"content-type": said.content_type or ""}, b"".join(said.bodies)

    def watched(self, url: str, body: bytes, *, timeout_s: float) -> tuple[Response, bool]:
        """The same; there is no connection that it could close."""
        return self(url, body, timeout_s=timeout_s), False

    def begin(self, line: "MemoryLine", request: Request, place: int = 0) -> None:
        """Bring a request before the service; `place` is that of its address among `urls`."""
        if place in self._refused:
            line.land("connect", f"{URL}: Connection refused")
        else:
            self.service.serve(line, request)

    def _wake(self, due_ns: int | None) -> None:
        if due_ns is not None and due_ns < self._armed:
            self._armed = due_ns
            self.loop.at(due_ns, self._pump)

    def _pump(self) -> None:
        if self._armed <= self.loop.monotonic_ns():
            self._armed = math.inf
            self.service.pump()


class MemoryTransport:
    """Requests to a server in this process; `sockets` is that server. Nothing connects, and what is sent arrives at once."""

    def __init__(self, options: Options, origins: Sequence[Origin], *, hint: bytes | None, sockets: MemoryServer) -> None:  # noqa: ARG002 - a stamp in memory is exact as it is
        self._server, self._most = sockets, options.max_answer_bytes
        self._path = origins[0].head.removeprefix(b"POST ")
        self._lines: dict[int, MemoryLine] = {}
        limits = self._limits = options.timeout_s
        self._every_ns = round(min(limits.first_byte, limits.idle, limits.total) * SECOND) // _LOOKS
        self._swept = 0

    def tell(self, flights: Flights) -> None:
        """Say from now on what lands to this load."""
        self._flights = flights
        self.part = flights.part

    def send(self, exchange: Exchange, number: bytes, body: bytes) -> None:
        """Begin on a request; what comes of it is told to `Flights`."""
        line = MemoryLine(self._server, exchange, self._most, self)
        self._lines[id(exchange)] = line
        request = Request(b"POST", self._path, int(number), body, line.heard)
        self._server.begin(line, request, exchange.url)

    def landed(self, exchange: Exchange) -> None:
        """A line's word that its request is over."""
        del self._lines[id(exchange)]
        self._flights.landed(exchange)

    def sweep(self) -> None:
        """Look at all deadlines, as often as the shortest of them needs."""
        now = self._server.loop.now_ns()
        if now - self._swept < self._every_ns:
            return
        self._swept = now
        for line in list(self._lines.values()):
            late = overdue(line.exchange, self._limits, now=now, heard=line.heard, connecting=False)
            if late is not None:
                line.land(*late)

    def abandon(self, error: str, reason: str) -> None:
        """End whatever is in flight with this class and reason."""
        for line in list(self._lines.values()):
            line.land(error, reason)

    def close(self) -> None:
        """Nothing is open."""


class MemoryLine:
    """One request's line to the service: what is sent on it is parsed as if it had come over a socket, and stamped at once."""

    __slots__ = ("_cut", "_flights", "_known", "_most", "_parsed", "_piece", "_server", "_size", "busy", "exchange", "heard")

    def __init__(self, server: MemoryServer, exchange: Exchange, most_bytes: int, flights: Flights | None = None) -> None:
        self._server, self.exchange, self._most, self._flights = server, exchange, most_bytes, flights
        self._parsed: Parsed | None = Parsed()
        self._known = self._piece = b""
        self._size = self._cut = 0
        self.busy: Any = None
        self.heard = exchange.started = exchange.sent = exchange.body_sent = server.loop.now_ns()

    def send(self, data: bytes) -> None:
        """Take in bytes of the answer."""
        parsed = self._parsed
        if parsed is None:
            return
        self.heard = now = self._server.loop.now_ns()
        if data is self._known:  # the same token again: whole chunks leave the parser where it was
            self._keep(self._piece, now)
            return
        try:
            piece = parsed.feed(data)
        except httptools.HttpParserError:
            self.land("malformed", "the answer is no HTTP")
            return
        exchange = self.exchange
        exchange.status, exchange.content_type = parsed.status, parsed.content_type
        if exchange.first_byte is None:
            exchange.first_byte = now
        if piece:
            self._known, self._piece = (data, piece) if not parsed.complete and exchange.first_body is not None else (b"", b"")
            self._keep(piece, now)

    def pour(self, spring: Callable[[], bytes]) -> None:
        """An answer without end is taken in until it is too large; that costs no time here."""
        while self._parsed is not None:
            self.send(spring())

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` in some time, unless the request is over before."""
        loop = self._server.loop
        loop.at(loop.monotonic_ns() + round(seconds * SECOND), lambda: act() if self._parsed is not None else None)

    def done(self, *, keep_alive: bool, unannounced: bool = False) -> None:  # noqa: ARG002 - no other request comes on this line
        """The answer is good if it is whole."""
        self.busy = None
        if self._parsed is not None and self._parsed.complete:
            self.land()
        else:
            self._lost("closed", "truncated")

    def cork(self) -> None:
        """Nothing can cross an end in memory, since each request has a line of its own."""

    leave_if_idle = cork

    def reset(self) -> None:
        """Break off."""
        self._lost("reset", "reset")

    def land(self, error: str | None = None, reason: str | None = None) -> None:
        """End the request, with this class if it failed; nothing if it is over already."""
        parsed, exchange, self._parsed = self._parsed, self.exchange, None
        if parsed is None:
            return
        parsed.release()
        exchange.error, exchange.reason, exchange.end = error, reason, self._server.loop.now_ns()
        self._server.service.gone(self)
        if self._flights is not None:
            self._flights.landed(exchange)

    def _keep(self, piece: bytes, now: int) -> None:
        exchange = self.exchange
        if exchange.first_body is None:
            exchange.first_body = now
            exchange.marks = [0, VIRTUAL, now]
        exchange.stamps.append(now)
        exchange.bodies.append(piece)
        self._size += len(piece)
        if self._size > self._most:
            self.land("too_large", f"more than {self._most} bytes")
        elif self._flights is not None and self._size - self._cut >= PART_BYTES:
            self._cut = self._size
            self._flights.part(exchange)

    def _lost(self, how: str, error: str) -> None:
        early = self.exchange.first_byte is None
        self.land("reset" if early else error, f"{how} before the first byte" if early else f"{how} in the middle of the answer")
