"""What every transport over sockets must keep. A new one is declared in plugins.yaml and is tried here, on real ones."""

import gc
import os
import re
import socket
import struct
import time
from collections import Counter
from itertools import pairwise
from statistics import median

import pytest
from running import soon
from wired import END, EVENT, HEAD, ROLE, Client, against, chunk, read_request

from aiperf.plugin.plugins import iter_entries
from aiperf.records import ERRORS
from aiperf.spool import Exchange

REST = chunk(ROLE) + chunk(EVENT) + chunk(EVENT)
WHOLE = HEAD + REST + chunk(END) + b"0\r\n\r\n"


OVER_SOCKETS = [entry.name for entry in iter_entries("transport") if entry.is_builtin and "http" in entry.metadata["url_schemes"]]


@pytest.fixture(params=OVER_SOCKETS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a Path would hold one open


def trouble(sock: socket.socket, _: int) -> None:
    """Answers by the request's number; a connection ends where an answer is no good."""
    while request := read_request(sock):
        found = re.search(rb"X-Request-ID: abc-(\d+)\r\n", request)
        assert found is not None
        kind = int(found[1]) % 8
        if kind == 5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        if kind == 7:
            sock.recv(1)
            return
        sock.sendall(ANSWERS[kind])
        if kind not in (0, 1, 2):
            return


ANSWERS = {
    0: WHOLE,
    1: b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    2: b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
    3: HEAD + REST,
    4: b"220 mail.example.org ESMTP\r\n",
    6: b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + EVENT + END,
}
EXPECTED = {0: None, 1: None, 2: None, 3: "truncated", 4: "malformed", 5: "reset", 6: None, 7: "timeout_first_byte"}


def in_order(exchange: Exchange) -> bool:
    known = [exchange.started, exchange.connect, exchange.sent, exchange.first_byte, *exchange.stamps, exchange.end]
    return all(a <= b for a, b in pairwise(stamp for stamp in known if stamp is not None))


class TestEveryTransport:
    def test_each_request_lands_once_with_its_class_and_its_stamps_in_order(self, transport: str) -> None:
        with against(trouble, transport=transport, timeout_s={"first_byte": 0.3}) as (client, _):
            sent = [client.send(number) for number in range(80)]
            client.reach(lambda: len(client.over) == 70)  # all but the silent ones, whose deadline counts from now on
            client.until(80)
            client.turn(0.1)
        assert Counter(exchange.request for exchange in client.over) == dict.fromkeys(range(80), 1)
        assert all(exchange in client.over for exchange in sent)
        assert {exchange.request: exchange.error for exchange in sent} == {number: EXPECTED[number % 8] for number in range(80)}
        assert {exchange.error for exchange in sent} - {None} <= set(ERRORS)
        assert all(exchange.reason for exchange in sent if exchange.error is not None)
        assert all(in_order(exchange) for exchange in sent)
        assert all(exchange.started is not None and exchange.end is not None for exchange in sent)

    def test_what_is_told_on_landing_may_send_the_next(self, transport: str) -> None:
        with against(trouble, transport=transport) as (client, server):
            landed = client.landed

            def next_one(exchange: Exchange) -> None:
                landed(exchange)
                if exchange.request < 400:
                    client.send(exchange.request + 8)

            client.landed = next_one  # type: ignore[method-assign]
            client.send(0)
            client.until(51)
            assert [exchange.request for exchange in client.over] == list(range(0, 401, 8))
            assert {exchange.error for exchange in client.over} == {None}
            assert server.connections == 1

    def test_deadlines_hold_however_many_are_in_flight(self, transport: str) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as deaf:
            client = Client(deaf.getsockname()[1], transport=transport, timeout_s={"first_byte": 0.3})
            sent = [client.send(number) for number in range(600)]
            client.reach(lambda: all(exchange.sent is not None for exchange in sent))
            times = []
            for _ in range(100):
                began = time.perf_counter()
                client.wire.sweep()
                times.append(time.perf_counter() - began)
            time.sleep(0.4)
            for _ in range(20):  # in a run a fifth of a second
                client.wire.sweep()
            client.close()
        assert len(client.over) == 600
        assert {exchange.error for exchange in client.over} == {"timeout_first_byte"}
        assert median(times) < 0.005

    def test_whatever_is_in_flight_can_be_abandoned(self, transport: str) -> None:
        with against(trouble, transport=transport) as (client, _):
            sent = [client.send(7 + 8 * i) for i in range(20)]
            client.turn(0.1)
            client.wire.abandon("abandoned", "because")
            client.wire.abandon("abandoned", "and again")
            client.turn(0.05)
            assert sorted(exchange.request for exchange in client.over) == [exchange.request for exchange in sent]
            assert {(exchange.error, exchange.reason) for exchange in sent} == {("abandoned", "because")}
            assert all(in_order(exchange) for exchange in sent)

    def test_closing_gives_every_descriptor_back(self, transport: str) -> None:
        with against(trouble, transport=transport) as (client, server):
            before = descriptors()
            for number in range(16):
                client.send(number)
            client.reach(lambda: (len(client.over), server.connections, len(server.threads)) == (14, 16, 16))
            assert descriptors() > before
            client.wire.close()
            soon(lambda: not any(thread.is_alive() for thread in server.threads))
            assert descriptors() <= before

    def test_requests_leave_nothing_for_a_garbage_collector(self, transport: str) -> None:
        """The load runs without one."""

        def script(sock: socket.socket, _: int) -> None:
            assert read_request(sock)
            sock.sendall(WHOLE)

        with against(script, transport=transport, connection="new") as (client, _):
            client.ask(0)
            gc.collect()
            gc.disable()
            try:
                for number in range(1, 101):
                    client.ask(number)
                client.over.clear()
                found = gc.collect()
            finally:
                gc.enable()
        assert found < 50
