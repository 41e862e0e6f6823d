"""https on sockets of our own: verified, stamped, one record at a time until the first token."""

import socket
import ssl
import time
from pathlib import Path

from wired import END, EVENT, HEAD, ROLE, against, body, chunk, read_request

from aiperf import spool
from aiperf.transports.fetch import HttpFetch


def stream(sock: socket.socket, _: int) -> None:
    while read_request(sock):
        sock.sendall(HEAD)
        for piece in (ROLE, EVENT, EVENT):
            sock.sendall(chunk(piece))
            time.sleep(0.005)
        sock.sendall(chunk(END) + b"0\r\n\r\n")


def test_requests_over_tls_are_verified_stamped_and_keep_their_connection(certificate: tuple[Path, ssl.SSLContext]) -> None:
    with against(stream, certificate[1], scheme="https", ca_path=str(certificate[0])) as (client, server):
        gaps: list[int] = []
        for number in range(5):
            exchange = client.ask(number, b"x" * 100_000 * number)
            assert exchange.error is None, exchange.reason
            assert body(exchange) == ROLE + EVENT + EVENT + END
            assert exchange.reused == (number > 0)
            assert (exchange.tls is None) == (number > 0)
            assert exchange.sent <= exchange.first_byte <= exchange.end
            assert set(exchange.marks[1::3]) <= {spool.DRAINED, spool.APART, spool.TOGETHER, spool.MERGED}
            gaps += [b - a for a, b in zip(exchange.stamps, exchange.stamps[1:])]
        assert max(gaps) > 4_000_000  # of one request all may have come before the first read
        assert server.connections == 1


def test_a_certificate_that_nobody_signed_is_refused(certificate: tuple[Path, ssl.SSLContext]) -> None:
    with against(stream, certificate[1], scheme="https") as (client, _):
        exchange = client.ask(0)
        assert exchange.error == "tls"
        assert "self-signed" in (exchange.reason or "")
        assert exchange.sent is None


def test_a_server_that_speaks_no_tls() -> None:
    def script(sock: socket.socket, _: int) -> None:
        sock.recv(100)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with against(script, scheme="https") as (client, _):
        assert client.ask(0).error == "tls"


def test_truncated_in_the_middle_of_tls(certificate: tuple[Path, ssl.SSLContext]) -> None:
    def script(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(HEAD + chunk(EVENT))

    with against(script, certificate[1], scheme="https", ca_path=str(certificate[0])) as (client, _):
        assert client.ask(0).error == "truncated"


def test_a_probe_over_tls(certificate: tuple[Path, ssl.SSLContext]) -> None:
    with against(stream, certificate[1], scheme="https", ca_path=str(certificate[0])) as (_, server):
        (status, headers, said), closes = HttpFetch({}, str(certificate[0])).watched(
            f"https://127.0.0.1:{server.port}/v1/chat/completions", b"{}", timeout_s=60
        )
        assert (status, closes) == (200, False)
        assert headers["content-type"] == "text/event-stream"
        assert said == ROLE + EVENT + EVENT + END
