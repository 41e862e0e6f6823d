import asyncio
import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from simulating import CHAT, COMPLETIONS, HELLO, Line, begin, events, post, request, simulator
from wired import Client

from aiperf.clock import now_ns
from aiperf.config.simulator import Faults, Simulator
from aiperf.errors import ConfigError, MeasureError
from aiperf.simulator.draws import FAULTS, RACED, Fates
from aiperf.simulator.server import Connection, serve, serve_job

PATIENT = ("stall", "slow_headers", "endless")
RATES = {name: 0.06 for name in FAULTS if name not in PATIENT}
WHOLE = (None, "close_after", "close_idle")
HALVED = ("error_event", "error_named", "truncated", "malformed", "reset_mid")
STATUS = {
    "http_500": 500, "rate_limited": 429, "http_400": 400, "http_404_empty": 404, "http_503_empty": 503, "reset": None, "garbage": None,
}  # fmt: skip


def seen(client, number, path, stream):
    """What a client sees go wrong with a request, and how much of the answer came."""
    try:
        answer = begin(client, number, path, max_tokens=8, stream=stream)
    except ConnectionResetError:
        return "reset", b""
    except http.client.BadStatusLine:
        return "garbage", b""
    try:
        body = answer.read()
    except ConnectionResetError:
        return "reset_mid", b""
    except http.client.IncompleteRead as exc:
        return "truncated", exc.partial
    return in_status(answer, body) or (in_stream(body) if stream else in_body(body), body)


def in_status(answer, body):
    if answer.status == 429:
        assert answer.headers["Retry-After"] == "1"
        assert b"RateLimitError" in body
    if answer.status in (404, 503):
        return f"http_{answer.status}_empty" if not body and answer.headers["Content-Type"] is None else "wrong", body
    if answer.status != 200:
        assert json.loads(body)["error"]["code"] == answer.status
        return {429: "rate_limited"}.get(answer.status, f"http_{answer.status}"), body
    if answer.headers["Content-Type"].startswith("text/html"):
        return "wrong_content_type", body
    return None


def in_body(body):
    try:
        return "error_event" if "error" in json.loads(body) else None
    except json.JSONDecodeError:
        return "malformed"


def in_stream(body):
    if b"event: error\n" in body:
        return "error_named"
    try:
        found = events(body)
    except json.JSONDecodeError:
        assert body.endswith(b"data: [DONE]\n\n")
        return "malformed"
    assert (found[-1] == b"[DONE]") is (b'"error"' not in body)
    return None if found[-1] == b"[DONE]" else "error_event"


def closes(client, fault):
    """Whether the connection is closed though the answer was good; a client that was told nothing would go on with it."""
    if fault in ("close_after", "close_idle"):
        return client.sock.recv(1) == b""
    return bool(select.select([client.sock], [], [], 0)[0])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_exactly_the_drawn_requests_fail_and_as_drawn(tmp_path, path, stream):
    fates = Fates(Faults(**RATES), 9)
    drawn = {number: fates.of(number) for number in range(300)}
    assert set(drawn.values()) == {*RATES, None}
    came = {}
    with simulator(tmp_path / "log", faults=RATES, seed=9) as running, running.client() as client:
        for number, fault in reversed(drawn.items()):
            came[number] = seen(client, number, path, stream)
            if fault in WHOLE and closes(client, fault) is not (fault is not None):
                came[number] = "closed", b""
            if fault in ("reset", "truncated", "reset_mid", "garbage", "close_after", "close_idle"):
                client.close()
        for _ in range(20):
            kind, body = seen(client, None, path, stream)
            assert (kind, body.count(b" word")) == (None, 8)
    shown = dict.fromkeys(WHOLE) | ({} if stream else {"error_named": "error_event"})
    assert {number: kind for number, (kind, _) in came.items()} == {number: shown.get(fault, fault) for number, fault in drawn.items()}
    rows = [row for row in running.rows() if row["request"] is not None]
    assert {row["request"]: row["fault"] for row in rows} == drawn
    assert len(rows) == len(drawn)
    assert all(row["complete"] == (row["fault"] in WHOLE) for row in rows)
    assert all(row["status"] == STATUS.get(row["fault"], 200) for row in rows)
    sent = dict.fromkeys(WHOLE, 8) | dict.fromkeys(HALVED, 4)
    assert all(row["tokens"] == sent.get(row["fault"], 0) for row in rows)
    if stream:
        tokens = {number: body.count(b' word"') for number, (_, body) in came.items() if drawn[number] != "reset_mid"}
        assert tokens == {number: sent.get(drawn[number], 0) for number in tokens}


def until_silent(sock):
    """What comes until nothing does for a while, on a connection that stays."""
    got = b""
    sock.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        while True:
            more = sock.recv(65536)
            assert more
            got += more
    return got


@pytest.mark.parametrize("stream", [True, False])
def test_a_stall_is_silence_in_the_middle_until_it_is_over_or_the_client_is(tmp_path, stream):
    with simulator(tmp_path / "log", faults={"stall": 1, "stall_s": 0.3}) as short, short.client() as client:
        began = now_ns()
        status, body = post(client, 1, max_tokens=8, stream=stream)
        assert now_ns() - began > 290_000_000
        assert (status, body.count(b" word"), in_stream(body) if stream else in_body(body)) == (200, 8, None)
        assert post(client, 2, max_tokens=1)[0] == 200
    with simulator(tmp_path / "long", faults={"stall": 1, "stall_s": 3600}) as long, long.connect() as sock:
        sock.sendall(request(3, max_tokens=8, stream=stream))
        got = b""
        while got.count(b" word") < 4 if stream else not got:
            got += sock.recv(65536)
        got += until_silent(sock)
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert not got.endswith(b"\r\n0\r\n\r\n")
        assert not stream or got.count(b' word"') == 4
    rows = [(row["request"], row["fault"], row["tokens"], row["complete"]) for row in (*short.rows(), *long.rows())]
    assert rows == [(1, "stall", 8, True), (2, "stall", 1, True), (3, "stall", 4, False)]


@pytest.mark.parametrize("stream", [True, False])
def test_slow_headers_are_silence_before_the_first_byte(tmp_path, stream):
    with simulator(tmp_path / "long", faults={"slow_headers": 1, "stall_s": 3600}) as long:
        with long.connect() as sock:
            sock.sendall(request(1, stream=stream))
            sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                sock.recv(1)
        with long.client() as client:  # who says what is running has read the request before
            client.request("GET", "/metrics")
            client.getresponse().read()
    with simulator(tmp_path / "short", faults={"slow_headers": 1, "stall_s": 0.3}) as short, short.client() as client:
        began = now_ns()
        status, body = post(client, 2, max_tokens=8, stream=stream)
        assert now_ns() - began > 290_000_000
        assert (status, body.count(b" word")) == (200, 8)
    rows = [(row["request"], row["fault"], row["status"], row["tokens"], row["complete"]) for row in (*long.rows(), *short.rows())]
    assert rows == [(1, "slow_headers", None, 0, False), (2, "slow_headers", 200, 8, True)]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_an_endless_answer_ends_with_its_client_and_leaves_time_for_others(tmp_path, path, stream):
    with simulator(tmp_path / "log", faults={"endless": 1}) as running:
        with running.client() as client, running.client() as other:
            answer = begin(client, 1, path, max_tokens=2, stream=stream)
            got = answer.read(5_000_000)
            assert post(other, max_tokens=3)[0] == 200
            got += answer.read(5_000_000)
        with running.client() as client:
            client.request("GET", "/metrics")
            assert b'vllm:prompt_tokens_total{model_name="simulator"} 6.0\n' in client.getresponse().read()
    assert got.count(b" word") > 40_000
    ours = [row for row in running.rows() if row["request"] == 1]
    assert [(row["fault"], row["status"], row["complete"]) for row in ours] == [("endless", 200, False)]
    assert ours[0]["tokens"] >= got.count(b" word")


class Watched:
    """A service that counts what crosses, with a loop of its own."""

    def __init__(self):
        self.loop, self.told, self.left = asyncio.SelectorEventLoop(), [], 0
        self.sock = None

    def come(self):
        """Wait until something has come."""
        assert select.select([self.sock], [], [], 60)[0]

    def serve(self, connection, request):
        raise AssertionError("a connection that is left serves nobody")

    def crossed(self, request):
        self.told.append((request.number, request.path, request.method))

    def gone(self, connection):
        self.left += 1


@contextlib.contextmanager
def left():
    """A client's socket, the server's end of it, and who is told."""
    host, closed = Watched(), []
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        host.sock = listener.accept()[0]
        yield client, Connection(host.sock, host.loop, host, closed=closed.append), host
    host.loop.close()
    assert len(closed) == 1


def send_again_and_again(client, data):
    for _ in range(1000):
        client.sendall(data)
        time.sleep(0.01)


@pytest.mark.parametrize("part", [1.0, 0.7])
def test_a_request_that_crosses_the_end_is_told_of_and_reset(part):
    data = request(17)
    with left() as (client, connection, host):
        client.sendall(data[: round(len(data) * part)])
        host.come()
        connection.done(keep_alive=True, unannounced=True)
        assert host.told == [(17, b"/v1/chat/completions", b"POST")]
        assert host.left == 1
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_again_and_again(client, data)


def test_nothing_is_taken_in_behind_the_end():
    with left() as (client, connection, host):
        connection.done(keep_alive=True, unannounced=True)
        assert client.recv(1) == b""
        with contextlib.suppress(OSError):
            client.sendall(request(17))
        assert (host.told, host.left) == ([], 1)
        connection.done(keep_alive=True, unannounced=True)
        connection.later(0, host.crossed)
        assert host.left == 1


@pytest.mark.parametrize("waits", [True, False])
def test_a_connection_is_left_only_if_it_is_idle(waits):
    with left() as (client, connection, host):
        if waits:
            client.sendall(b"P")
            host.come()
        connection.leave_if_idle()
        assert host.left == (0 if waits else 1)
        connection.close()


def test_many_closes_cost_no_request_that_the_log_does_not_know(tmp_path):
    with simulator(tmp_path / "log", faults={"close_after": 0.3, "close_idle": 0.5, "idle_close_ms": 0}, seed=2) as running:
        client = Client(running.port, model="simulator")
        body = json.dumps(HELLO | {"stream": True, "max_tokens": 2}).encode()
        exchanges = []
        for first in range(0, 600, 4):
            exchanges += [client.send(number, body) for number in range(first, first + 4)]
            client.until(len(exchanges))
        reopened = client.wire.reopened
        client.close()
    raced = {row["request"] for row in running.rows() if row["fault"] == RACED}
    assert {exchange.request for exchange in exchanges if exchange.error is not None} == raced
    assert {exchange.error for exchange in exchanges} <= {None, "reset"}
    assert sorted(row["request"] for row in running.rows()) == list(range(600))
    assert reopened


def test_who_listens_cannot_refuse(tmp_path):
    with pytest.raises(ConfigError, match=r"faults\.refused=0\.1: a server that listens refuses no connection"):
        serve(Simulator(faults=Faults(refused=0.1)), ready=print)


def test_a_fault_comes_no_earlier_than_its_tokens(tmp_path):
    with simulator(tmp_path / "log", faults={"http_500": 1}, ttft_ms=200) as running, running.connect() as sock:
        body = json.dumps(HELLO | {"stream": True}).encode()
        began = now_ns()
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nX-Request-ID: 1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        assert sock.recv(100).startswith(b"HTTP/1.1 500 ")
        assert now_ns() - began > 190_000_000


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00", b"GET nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"]
)
def test_what_is_no_http_is_told_so_and_closed(tmp_path, data):
    with simulator(tmp_path / "log") as running, running.connect() as sock:
        sock.sendall(data)
        got = b"".join(iter(lambda: sock.recv(4096), b""))
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_client_that_sends_nonsense_behind_a_request_may_still_leave(tmp_path):
    with simulator(tmp_path / "log", itl_ms=600_000) as running, running.client() as other:
        with running.connect() as sock:
            sock.sendall(request(1, stream=True))
            got = b""
            while b" word" not in got or not got.endswith(b"\n\n\r\n"):  # what is left unread would make the end a reset
                got += sock.recv(65536)
            sock.sendall(b"\x16\x03\x01")
        text = ""
        while 'finished_reason="abort",model_name="simulator"} 1.0\n' not in text:
            other.request("GET", "/metrics")
            text = other.getresponse().read().decode()
    assert [(row["request"], row["complete"]) for row in running.rows()] == [(1, False)]


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
        while (
            f'generation_tokens_total{{model_name="simulator"}} {tokens}.0\n' not in text
        ):  # all of it is out of the model before a byte has been read
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
    port = line.up.get(timeout=60)["port"]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        line.say("stop") if by == "say" else line.hang_up()
        thread.join(60)
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
from aiperf.config.simulator import Simulator
from aiperf.simulator.server import serve
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
serve(Simulator(ttft_ms=0, itl_ms=0, log=sys.argv[1]), ready=lambda port: print(port, flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_until_a_signal_even_out_of_descriptors(tmp_path, number):
    with subprocess.Popen([sys.executable, "-c", FOREGROUND, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())
        clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(60)]
        for client in clients:
            client.connect()
        for number_of, client in enumerate(clients):
            assert post(client, number_of, max_tokens=1)[0] == 200
            client.close()
        process.send_signal(number)
        assert process.stdout.read() == "ended\n"
    assert process.returncode == 0
    assert [json.loads(line)["request"] for line in (tmp_path / "log").read_text().splitlines()] == list(range(60))
