"""Requests on plain sockets: a pool of kept-alive connections without a limit, and a deadline for every wait."""

import re
import socket
from collections.abc import Sequence
from itertools import islice

from aiperf import clock
from aiperf.config.endpoint import Endpoint as Options
from aiperf.config.endpoint import Timeouts
from aiperf.seams import Flights, Sockets
from aiperf.spool import PART_NS, Exchange
from aiperf.transports import stamps
from aiperf.transports.connection import Connection
from aiperf.transports.home import Home
from aiperf.transports.origin import Origin

_SWEPT, _SHARE = 64, 50


class WireTransport:
    """Requests over sockets of our own, watched by the loop and stamped by the kernel.

    `hint` finds a streamed event with a token; None where answers are not streamed, and whole reads will do.
    """

    def __init__(self, options: Options, origins: Sequence[Origin], *, hint: bytes | None, sockets: Sockets) -> None:
        self._timeouts, self._keep = options.timeout_s, options.connection == "pooled"
        pattern = re.compile(hint) if hint is not None else None
        self._home = Home(sockets, pattern, options.max_answer_bytes, over=self._over, again=self._again)
        self.reopened = 0
        """Requests that went out on a new connection since the server had closed the pooled one before it took them in."""
        self._origins = tuple(origins)
        self._idle: list[list[Connection]] = [[] for _ in origins]
        self._busy: dict[int, Connection] = {}
        self._swept = 0
        limits = options.timeout_s
        self._silence_ns = min(limits.connect, limits.first_byte, limits.idle) * clock.SECOND
        self._total_ns = limits.total * clock.SECOND
        self._keeper = socket.socket()  # open throughout, so that the kernel has begun to stamp and does not cease
        stamps.switch_on(self._keeper)

    def tell(self, flights: Flights) -> None:
        """Say from now on what lands to this load."""
        self._home.flights = flights

    def send(self, exchange: Exchange, number: bytes, body: bytes) -> None:
        """Begin on a request; whatever happens to it is told to `Flights`."""
        made = self._origins[exchange.url]
        head = b"%b%b\r\nContent-Length: %d\r\n\r\n" % (made.head, number, len(body))
        self._busy[id(exchange)] = connection = self._take(exchange.url) or Connection(self._home, made)
        connection.begin(exchange, head, body)

    def sweep(self) -> None:
        """Look at the deadlines of 64 requests or a fiftieth of them, going round; and cut parts that wait too long."""
        now = self._home.now()
        busy = self._busy
        if self._swept >= len(busy):
            self._swept = 0
        seen = list(islice(busy.values(), self._swept, self._swept + max(_SWEPT, len(busy) // _SHARE)))
        self._swept += len(seen)
        for connection in seen:
            exchange = connection.exchange
            if exchange is None:
                continue
            late = None
            if now - connection.heard > self._silence_ns or now - (exchange.started or now) > self._total_ns:
                late = overdue(exchange, self._timeouts, now=now, heard=connection.heard, connecting=connection.connecting)
            if late is not None:
                connection.fail(*late)
            elif exchange.stamps and now - exchange.stamps[0] > PART_NS:
                connection.cut()

    def abandon(self, error: str, reason: str) -> None:
        """End whatever is in flight with this class and reason."""
        for connection in list(self._busy.values()):
            connection.fail(error, reason)

    def close(self) -> None:
        """Close every connection."""
        for connection in (*self._busy.values(), *(c for pool in self._idle for c in pool)):
            connection.close()
        self._keeper.close()

    def _take(self, url: int) -> Connection | None:
        pool = self._idle[url]
        while pool:
            connection = pool.pop()
            if connection.idle:
                return connection
        return None

    def _again(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        self.reopened += 1
        self._busy[id(exchange)] = connection = Connection(self._home, self._origins[exchange.url])
        connection.begin(exchange, head, body)

    def _over(self, connection: Connection, exchange: Exchange) -> None:
        del self._busy[id(exchange)]
        if connection.idle:
            if self._keep:
                self._idle[exchange.url].append(connection)
            else:
                connection.close()
        self._home.flights.landed(exchange)


def overdue(exchange: Exchange, limits: Timeouts, *, now: int, heard: int, connecting: bool) -> tuple[str, str] | None:
    """Class and reason of the deadline that a request has missed, if it has; all times in nanoseconds."""
    started = exchange.started if exchange.started is not None else now
    if connecting and now - started > limits.connect * clock.SECOND:
        return "timeout_connect", f"no connection within {limits.connect:g} s"
    if now - started > limits.total * clock.SECOND:
        return "timeout_total", f"not over within {limits.total:g} s"
    is_first = exchange.first_byte is None
    limit = limits.first_byte if is_first else limits.idle
    if connecting or now - heard <= limit * clock.SECOND:
        return None
    return ("timeout_first_byte", f"no answer within {limit:g} s") if is_first else ("timeout_idle", f"silent for {limit:g} s")
