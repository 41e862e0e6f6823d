import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from simulating import HELLO, Line, events, post, simulator

from aiperf.config.endpoint import Faults, Simulator
from aiperf.errors import ConfigError, MeasureError
from aiperf.simulator.draws import FAULTS, fault_of
from aiperf.simulator.server import serve, serve_job

RATES = {"error_event": 0.2, "truncated": 0.2, "http_500": 0.15, "reset": 0.15}


def classify(client, number, stream):
    """What a client sees go wrong with a request."""
    try:
        status, body = post(client, number, max_tokens=8, stream=stream)
    except ConnectionResetError:
        return "reset", 0
    except http.client.IncompleteRead as exc:
        return "truncated", exc.partial.count(b" word")
    if status == 500:
        assert json.loads(body)["error"]["code"] == 500
        return "500", 0
    found = events(body) if stream else [json.loads(body)]
    if isinstance(found[-1], dict) and "error" in found[-1]:
        return "error_event", body.count(b'" word"')
    assert (found[-1] == b"[DONE]") is stream
    return None, body.count(b" word")


@pytest.mark.parametrize("stream", [True, False])
def test_exactly_the_drawn_requests_fail_and_as_drawn(tmp_path, stream):
    drawn = {number: fault_of(Faults(**RATES), 9, number) for number in range(200)}
    seen = {}
    with simulator(tmp_path / "log", faults=RATES, seed=9) as running, running.client() as client:
        for number in sorted(drawn, reverse=True):
            seen[number] = classify(client, number, stream)
            if seen[number][0] in ("reset", "truncated"):
                client.close()
        for _ in range(20):
            assert classify(client, None, stream) == (None, 8)
    assert set(drawn.values()) == {*FAULTS, None}
    shown = {"http_500": "500"} | ({} if stream else {"error_event": "500"})
    assert {number: kind for number, (kind, _) in seen.items()} == {number: shown.get(fault, fault) for number, fault in drawn.items()}
    rows = {row["request"]: row for row in running.rows() if row["request"] is not None}
    assert {number: row["fault"] for number, row in rows.items()} == drawn
    assert all(row["complete"] == (row["fault"] is None) for row in rows.values())
    status = {None: 200, "truncated": 200, "http_500": 500, "reset": None, "error_event": 200 if stream else 500}
    assert all(row["status"] == status[row["fault"]] for row in rows.values())
    if stream:
        sent = {None: 8, "error_event": 4, "truncated": 4, "http_500": 0, "reset": 0}
        assert all(row["tokens"] == sent[row["fault"]] == seen[number][1] for number, row in rows.items())


def test_a_fault_comes_no_earlier_than_its_tokens(tmp_path):
    with simulator(tmp_path / "log", faults={"http_500": 1}, ttft_ms=200) as running, running.connect() as sock:
        body = json.dumps(HELLO | {"stream": True}).encode()
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nX-Request-ID: 1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        sock.settimeout(0.02)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(10)
        assert sock.recv(100).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00", b"GET nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"]
)
def test_what_is_no_http_is_told_so_and_closed(tmp_path, data):
    with simulator(tmp_path / "log") as running, running.connect() as sock:
        sock.sendall(data)
        got = b"".join(iter(lambda: sock.recv(4096), b""))
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_connection_close_is_honoured_and_a_stream_needs_1_1(tmp_path):
    with simulator(tmp_path / "log") as running:
        for version, stream, status in ((b"1.1", True, b"200"), (b"1.0", False, b"200"), (b"1.0", True, b"400")):
            body = json.dumps(HELLO | {"stream": stream}).encode()
            with running.connect() as sock:
                head = b"POST /v1/chat/completions HTTP/%s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (version, len(body))
                sock.sendall(head + body)
                assert b"".join(iter(lambda: sock.recv(4096), b"")).split()[1] == status


def test_an_answer_that_is_read_late_is_whole(tmp_path):
    tokens = 100_000
    with simulator(tmp_path / "log") as running, running.connect() as sock, running.client() as other:
        body = json.dumps(HELLO | {"stream": True, "max_tokens": tokens}).encode()
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        text = ""
        while f"tokens_total {tokens}\n" not in text:  # all of it is out of the model before a byte has been read
            other.request("GET", "/metrics")
            text = other.getresponse().read().decode()
        got = b"".join(iter(lambda: sock.recv(1 << 20), b""))
    assert got.count(b'" word"') == tokens
    assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_a_client_that_leaves_is_logged_as_it_stood(tmp_path):
    with simulator(tmp_path / "log", itl_ms=600_000) as running:
        with running.client() as client:
            client.request("POST", "/v1/chat/completions", json.dumps(HELLO | {"stream": True}), {"X-Request-ID": "1"})
            client.getresponse().readline()
        with running.client() as client:
            assert post(client, 2, max_tokens=1)[0] == 200
    gone, stayed = sorted(running.rows(), key=lambda row: row["request"])
    assert (gone["tokens"], gone["complete"], gone["fault"]) == (1, False, None)
    assert (stayed["tokens"], stayed["complete"]) == (1, True)


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("by", ["say", "hang_up"])
def test_a_job_ends_with_its_channel_or_when_told(watched, by):
    line = Line(watched=watched)
    thread = threading.Thread(target=serve_job, args=(line, Simulator()))
    thread.start()
    port = line.up.get(timeout=10)["port"]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        line.say("stop") if by == "say" else line.hang_up()
        thread.join(10)
        assert not thread.is_alive()
        assert sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    for end in line.ends:
        os.close(end)


def test_a_port_or_a_log_that_cannot_be_had_is_named(tmp_path):
    with simulator(tmp_path / "log") as running:
        with pytest.raises(MeasureError, match=rf"127\.0\.0\.1:{running.port} is in use"):
            serve(Simulator(port=running.port), ready=print)
        with pytest.raises(ConfigError, match=r"endpoint\.simulator\.log: /proc/none cannot be written"):
            serve(Simulator(log="/proc/none"), ready=print)


FOREGROUND = """
import resource, sys
from aiperf.config.endpoint import Simulator
from aiperf.simulator.server import serve
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
serve(Simulator(ttft_ms=0, itl_ms=0, log=sys.argv[1]), ready=lambda port: print(port, flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_until_a_signal_even_out_of_descriptors(tmp_path, number):
    with subprocess.Popen([sys.executable, "-c", FOREGROUND, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())
        clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(60)]
        for client in clients:
            client.connect()
        for number_of, client in enumerate(clients):
            assert post(client, number_of, max_tokens=1)[0] == 200
            client.close()
        process.send_signal(number)
        assert process.stdout.read() == "ended\n"
    assert process.returncode == 0
    assert [json.loads(line)["request"] for line in (tmp_path / "log").read_text().splitlines()] == list(range(60))
