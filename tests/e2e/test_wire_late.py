"""A connection that was ended between the loop's poll and its turn: what was ready then is nobody's any more."""

import re
import select
import socket

from aiperf.load.loop import EpollLoop
from aiperf.spool import Exchange
from aiperf.transports.connection import Connection
from aiperf.transports.home import Home
from aiperf.transports.origin import Origin

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
TOKEN = b"7\r\ntoken\n\n\r\n"


class Ended:
    """The load's side: what is over."""

    def __init__(self) -> None:
        self.parts, self.over = list[Exchange](), list[Exchange]()

    def part(self, exchange: Exchange) -> None:
        self.parts.append(exchange)

    def landed(self, exchange: Exchange) -> None:
        self.over.append(exchange)


def test_a_word_of_readiness_that_comes_after_the_end_is_not_heard() -> None:
    told, loop = Ended(), EpollLoop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        home = Home(loop, re.compile(b"token"), 1 << 20, over=lambda _, exchange: told.landed(exchange), again=lambda *_: None)
        home.flights = told
        connection = Connection(home, Origin("http://here", "127.0.0.1", listener.getsockname(), socket.AF_INET, b""))
        exchange = Exchange(1)
        connection.begin(exchange, b"POST / HTTP/1.1\r\n\r\n", b"")
        loop.turn()
        server, _ = listener.accept()
        with server:
            server.sendall(HEAD)
            for tokens in range(1, 4):
                server.sendall(TOKEN)
                while b"".join(exchange.bodies).count(b"token") < tokens:
                    loop.turn()
            server.sendall(TOKEN)
            connection.fail("timeout_idle", "a deadline was met while others were read")
            connection.ready(select.EPOLLIN, 0)
    assert told.over == [exchange]
    assert (exchange.error, len(exchange.bodies)) == ("timeout_idle", 3)
    loop.close()
