"""What a connection must survive: a second try, an early answer, words of TLS itself, and names with several addresses."""

import socket
import ssl
import struct
import threading
import time
from pathlib import Path

import pytest
from wired import END, EVENT, HEAD, Scripted, against, body, chunk, read_request

from aiperf import clock
from aiperf.errors import ConfigError
from aiperf.transports.fetch import HttpFetch
from aiperf.transports.origin import reached

STREAM = HEAD + chunk(EVENT) + chunk(END) + b"0\r\n\r\n"


def once_then_silent(sock: socket.socket, number: int) -> None:
    assert read_request(sock)
    if number:
        sock.recv(1)
        return
    sock.sendall(STREAM)


def gone(server: Scripted) -> None:
    """Wait until the first connection is closed by the server; the loop has not looked yet."""
    server.threads[0].join(60)
    time.sleep(0.05)


def test_a_request_that_goes_out_again_still_has_its_deadline() -> None:
    with against(once_then_silent, timeout_s={"first_byte": 0.2}) as (client, server):
        client.send(0)
        client.reach(lambda: len(client.over) == 1)
        gone(server)
        again = client.send(1)
        client.reach(lambda: client.wire.reopened == 1)
        client.until(2)
        assert client.wire.reopened == 1
        assert (again.error, again.reused) == ("timeout_first_byte", False)


def test_a_request_that_went_out_again_can_be_abandoned() -> None:
    with against(once_then_silent) as (client, server):
        client.send(0)
        client.until(1)
        gone(server)
        began = clock.now_ns()
        again = client.send(1)
        client.reach(lambda: (client.wire.reopened, server.connections) == (1, 2) and again.sent is not None)
        client.wire.abandon("abandoned", "because")
        assert again in client.over
        assert again.error == "abandoned"
        assert began <= again.started <= again.sent


def test_a_pooled_tls_connection_that_was_closed_is_opened_anew_once(certificate: tuple[Path, ssl.SSLContext]) -> None:
    def script(sock: socket.socket, _: int) -> None:
        assert read_request(sock)
        sock.sendall(STREAM)

    with against(script, certificate[1], scheme="https", ca_path=str(certificate[0])) as (client, server):
        client.send(0)
        client.until(1)
        gone(server)
        second = client.send(1)
        client.until(2)
        assert second.error is None, second.reason
        assert client.wire.reopened == 1


def test_session_tickets_are_no_first_byte(certificate: tuple[Path, ssl.SSLContext]) -> None:
    def script(sock: socket.socket, _: int) -> None:
        assert read_request(sock)
        time.sleep(0.05)
        sock.sendall(STREAM)

    with against(script, certificate[1], scheme="https", ca_path=str(certificate[0])) as (client, _):
        exchange = client.ask(0)
        assert exchange.error is None
        assert body(exchange) == EVENT + END
        assert exchange.first_byte - exchange.sent > 45_000_000


def test_a_body_that_is_refused_before_it_has_come_keeps_its_answer() -> None:
    read = threading.Event()

    def script(sock: socket.socket, _: int) -> None:
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large")
        read.wait(60)  # and closes with most of the body unread: RST

    with against(script) as (client, _):
        exchange = client.ask(0, b"x" * 20_000_000)
        read.set()
        assert (exchange.status, exchange.error) == (413, None)
        assert body(exchange) == b"too large"
        assert exchange.body_sent is None


@pytest.mark.parametrize("linger", [True, False])
def test_an_answer_that_breaks_off_ends_when_it_does_and_not_with_its_last_bytes(linger: bool) -> None:
    def script(sock: socket.socket, _: int) -> None:
        assert read_request(sock)
        sock.sendall(HEAD + chunk(EVENT))
        time.sleep(0.1)
        if linger:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with against(script) as (client, _):
        exchange = client.ask(0)
        assert exchange.error == ("reset" if linger else "truncated")
        assert exchange.end - exchange.stamps[-1] > 90_000_000


def test_the_wait_for_a_first_byte_begins_when_the_request_is_sent() -> None:
    def script(sock: socket.socket, _: int) -> None:
        while read_request(sock):
            sock.sendall(STREAM)

    with against(script, timeout_s={"first_byte": 1}) as (client, _):
        client.send(0)
        client.reach(lambda: len(client.over) == 1)
        time.sleep(1.2)  # the connection is idle for longer than that
        second = client.send(1)
        client.wire.sweep()
        client.reach(lambda: len(client.over) == 2)
        assert (second.error, second.reused) == (None, True)


def test_of_several_addresses_the_first_that_takes_a_connection_counts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nobody = closed.getsockname()[1]
        places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", n)) for n in (nobody, port)]
        assert reached(places) == places[1]
        assert reached(places[:1]) == places[0]
        assert reached([places[0], places[0]]) == places[0]


def test_a_file_without_certificates_is_a_mistake_of_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for path in (tmp_path / "ca.pem", tmp_path / "nowhere.pem"):
        with pytest.raises(ConfigError, match=r"endpoint\.ca_path"):
            HttpFetch({}, str(path))("https://127.0.0.1:9/")
