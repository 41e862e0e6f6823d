import asyncio
import json
import select
import selectors
import socket

import pytest
from simulating import COMPLETIONS, HELLO, events, post, simulator

from aiperf.clock import monotonic_ns, now_ns
from aiperf.config.simulator import Simulator
from aiperf.simulator.model import TimedModel
from aiperf.simulator.server import SimulatorHost
from aiperf.timerfd import Timer

STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def deltas(found):
    return [event["choices"][0]["delta"] for event in found if isinstance(event, dict) and event["choices"]]


@pytest.mark.parametrize("itl_ms", [0, 2])  # tokens all at once, and one by one
def test_the_shape_of_a_stream(tmp_path, itl_ms):
    with simulator(tmp_path / "log", reasoning=0.4, template_tokens=2, itl_ms=itl_ms) as running, running.client() as client:
        status, body = post(client, 12, max_tokens=10, **STREAM)
    assert status == 200
    role, *tokens, finish, usage, done = events(body)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert deltas(tokens) == [{"reasoning_content": " thought"}] * 4 + [{"content": " word"}] * 6
    assert (finish["choices"][0]["delta"], finish["choices"][0]["finish_reason"]) == ({}, "length")
    counts = {"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15, "completion_tokens_details": {"reasoning_tokens": 4}}
    assert (usage["choices"], usage["usage"]) == ([], counts)
    assert done == b"[DONE]"
    (row,) = running.rows()
    wanted = {"request": 12, "tokens": 10, "prompt_tokens": 5, "fault": None, "status": 200, "complete": True}
    assert {key: row[key] for key in wanted} == wanted


def texts(found):
    return [(choice["index"], choice["text"]) for event in found if isinstance(event, dict) for choice in event["choices"]]


@pytest.mark.parametrize("itl_ms", [0, 2])
def test_the_shape_of_a_stream_of_completions(tmp_path, itl_ms):
    with simulator(tmp_path / "log", reasoning=0.4, template_tokens=2, itl_ms=itl_ms) as running, running.client() as client:
        status, body = post(client, 12, COMPLETIONS, prompt=["one two three", "four"], max_tokens=5, **STREAM)
    assert status == 200
    *found, usage, done = events(body)
    assert texts(found) == [(0, " word"), (1, " word")] * 5 + [(0, ""), (1, "")]
    reasons = [choice["finish_reason"] for event in found for choice in event["choices"]]
    assert reasons == [None] * 10 + ["length"] * 2
    assert (usage["choices"], usage["usage"]) == ([], {"prompt_tokens": 4, "completion_tokens": 10, "total_tokens": 14})
    assert done == b"[DONE]"
    (row,) = running.rows()
    wanted = {"request": 12, "tokens": 10, "prompt_tokens": 4, "fault": None, "status": 200, "complete": True}
    assert {key: row[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("prompt", "tokens", "choices"), [("one two", 2, 1), (["one two", "three"], 3, 2), ([1, 2, 3, 4], 4, 1), ([[1], [2, 3]], 3, 2)]
)
def test_completions_in_one_piece(tmp_path, prompt, tokens, choices):
    with simulator(tmp_path / "log") as running, running.client() as client:
        said = json.loads(post(client, 1, COMPLETIONS, prompt=prompt, min_tokens=3, max_tokens=3, ignore_eos=True)[1])
        first = client.sock
        assert post(client, 2, COMPLETIONS, prompt=[])[0] == 400
        assert client.sock is first
    assert [(choice["index"], choice["text"], choice["finish_reason"]) for choice in said["choices"]] == [
        (index, " word" * 3, "length") for index in range(choices)
    ]
    assert said["usage"] == {"prompt_tokens": tokens, "completion_tokens": 3 * choices, "total_tokens": tokens + 3 * choices}
    assert [(row["status"], row["tokens"]) for row in running.rows()] == [(200, 3 * choices), (400, 0)]


@pytest.mark.parametrize(
    ("usage", "options"), [(False, {"stream_options": {"include_usage": True}}), (True, {}), (True, {"stream_options": {}})]
)
def test_no_usage_unless_it_is_asked_for_and_had(tmp_path, usage, options):
    with simulator(tmp_path / "log", usage=usage, tokens=3) as running, running.client() as client:
        _, body = post(client, stream=True, **options)
    assert b"usage" not in body
    found = events(body)
    assert len(found) == 1 + 3 + 1 + 1
    assert found[-2]["choices"][0]["finish_reason"] == "stop"


def test_the_answer_in_one_piece_and_keep_alive(tmp_path):
    with simulator(tmp_path / "log") as running, running.client() as client:
        said = json.loads(post(client, 1, max_tokens=4)[1])
        first = client.sock
        post(client, 2, max_tokens=1, **STREAM)
        post(client, 3, max_tokens=1, model="other")
        assert client.sock is first
    assert said["choices"][0]["message"]["content"] == " word" * 4
    assert said["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert [(row["request"], row["status"], row["tokens"]) for row in running.rows()] == [(1, 200, 4), (2, 200, 1), (3, 404, 0)]


def test_stamps_are_real_times_and_never_early(tmp_path):
    before = now_ns()
    with simulator(tmp_path / "log", ttft_ms=20, itl_ms=5) as running, running.client() as client:
        for number in range(50):
            began = now_ns()
            post(client, number, max_tokens=4, stream=number % 2 == 0)
            if number >= 4 and now_ns() - began < 50_000_000:  # a machine that has other work may be late, and seldom is each time
                break
    after = now_ns()
    rows = running.rows()
    assert all(before < row["arrived_ns"] < row["last_ns"] < after for row in rows)
    assert all(row["first_ns"] == row["last_ns"] for row in rows if row["request"] % 2)
    assert any(row["first_ns"] < row["last_ns"] for row in rows)  # all tokens that are due come out at once
    slack = 50_000  # the offset of the two clocks is a measurement
    assert all(row["last_ns"] - row["arrived_ns"] >= 35_000_000 - slack for row in rows)
    assert all(row["first_ns"] - row["arrived_ns"] >= 20_000_000 - slack for row in rows)
    assert min(row["last_ns"] - row["arrived_ns"] for row in rows) < 60_000_000


def test_noise_is_by_request_number(tmp_path):
    options = {"ttft_ms": 20, "noise": 1, "seed": 5}
    model = TimedModel(Simulator(**options))
    with simulator(tmp_path / "log", **options) as running, running.client() as client:
        for number in (3, 1, 2, 7, *range(20, 60)):
            post(client, number, max_tokens=1)
    late = [row["first_ns"] - row["arrived_ns"] - model.times_ns(row["request"])[0] for row in running.rows()]
    assert min(late) >= -50_000
    assert min(late) < 5_000_000


def test_the_log_is_written_while_it_runs(tmp_path):
    with simulator(tmp_path / "log") as running, running.client() as client:
        post(client, 4)
        since = now_ns()
        while not running.rows_so_far():
            assert now_ns() - since < 60_000_000_000
            post(client)
        assert running.rows_so_far()[0]["request"] == 4


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/v1/models", 200, '"id":"simulator"'),
        ("GET", "/v1/models?x=1", 200, '"id":"simulator"'),
        ("GET", "/health", 200, "{}"),
        ("GET", "/metrics", 200, 'vllm:num_requests_running{model_name="simulator"} 0.0\n'),
        ("GET", "/v1/chat/completions", 405, "only POST"),
        ("POST", "/metrics", 405, "only GET"),
        ("GET", "/v1/completions", 405, "only POST"),
        ("POST", "/v1/embeddings", 404, "nothing at /v1/embeddings"),
        ("GET", "/", 404, "nothing at /"),
    ],
)
def test_pages(tmp_path, method, path, status, says):
    with simulator(tmp_path / "log") as running, running.client() as client:
        client.request(method, path)
        answer = client.getresponse()
        assert answer.status == status
        assert says in answer.read().decode()
    assert running.rows() == []


def test_metrics_count(tmp_path):
    with simulator(tmp_path / "log", itl_ms=600_000) as running, running.client() as client, running.connect() as waits:
        post(client, max_tokens=1)
        body = json.dumps(HELLO | {"max_tokens": 2, "stream": True}).encode()
        waits.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        while b" word" not in waits.recv(4096):
            pass
        client.request("GET", "/metrics")
        text = client.getresponse().read().decode()
    values = dict(line.split() for line in text.splitlines() if not line.startswith("#"))
    asked = ("num_requests_running", "num_requests_waiting", "generation_tokens_total", "time_to_first_token_seconds_count")
    assert [values[f'vllm:{name}{{model_name="simulator"}}'] for name in asked] == ["1.0", "0.0", "2.0", "1.0"]
    assert [(row["tokens"], row["complete"]) for row in running.rows()] == [(1, True), (1, False)]


def test_a_server_that_loads_answers_503_but_for_its_metrics(tmp_path):
    with simulator(tmp_path / "log", load_s=3600) as running, running.client() as client:
        assert post(client, 1)[0] == 503
        for path, status in (("/health", 503), ("/v1/models", 503), ("/nothing", 503), ("/metrics", 200)):
            client.request("GET", path)
            answer = client.getresponse()
            assert (path, answer.status) == (path, status)
            answer.read()
    assert [(row["request"], row["status"]) for row in running.rows()] == [(1, 503)]


def test_a_server_that_has_loaded_answers(tmp_path):
    began, answers = monotonic_ns(), []
    with simulator(tmp_path / "log", load_s=0.2) as running, running.client() as client:
        while not answers or answers[-1] != 200:
            answers.append(post(client)[0])
        assert monotonic_ns() - began > 200_000_000
    assert set(answers[:-1]) <= {503}


class Steps:
    """A simulator whose loop runs only when the test says, so that what is sent apart is read apart."""

    def __init__(self, **options):
        self.selector = selectors.DefaultSelector()
        self.loop = asyncio.SelectorEventLoop(self.selector)
        self.host = SimulatorHost(Simulator(**({"ttft_ms": 0, "itl_ms": 0, "tokens": 2} | options)), self.loop)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.host.close()
        self.loop.close()

    def step(self):
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.host.port), timeout=60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.step()
        return sock

    def answer(self, sock, end):
        got = b""
        while not got.endswith(end):
            self.step()
            if select.select([sock], [], [], 0)[0]:
                got += sock.recv(65536)
        return got


def test_arrival_is_the_kernels_stamp_however_late_it_is_read(tmp_path):
    sent = []
    with Steps(log=str(tmp_path / "log")) as steps, steps.connect() as sock:
        for _ in range(200):
            before = now_ns()
            sock.sendall(request(chunked=False))
            sent.append((before, now_ns()))  # nothing has been read so far
            steps.answer(sock, b"0\r\n\r\n")
    arrived = [json.loads(line)["arrived_ns"] for line in (tmp_path / "log").read_text().splitlines()]
    stamped = [before <= at_ns <= after for at_ns, (before, after) in zip(arrived, sent, strict=True)]
    assert sum(stamped) > 100


def request(chunked):
    body = json.dumps(HELLO | STREAM).encode()
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    if chunked:
        body = b"%x\r\n%s\r\n7;x=y\r\n       \r\n0\r\n\r\n" % (len(body), body)
    return b"POST /v1/chat/completions?x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nX-Request-ID: a-17\r\n%s\r\n\r\n%s" % (
        framing,
        body,
    )


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_may_be_cut_at_every_byte(tmp_path, chunked):
    data, end = request(chunked), b"0\r\n\r\n"
    with Steps(log=str(tmp_path / "log")) as steps, steps.connect() as sock:
        for at in range(1, len(data)):
            sock.sendall(data[:at])
            steps.step()
            sock.sendall(data[at:])
            assert steps.answer(sock, end).startswith(b"HTTP/1.1 200 OK\r\n")
        for at in range(len(data)):
            sock.sendall(data[at : at + 1])
            steps.step()
        assert len(events(b"".join(steps.answer(sock, end).partition(b"\r\n\r\n")[2].split(b"\r\n")[1:-3:2]))) == 6
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert len(rows) == len(data)
    assert {(row["request"], row["prompt_tokens"], row["tokens"], row["complete"]) for row in rows} == {(17, 3, 2, True)}


def test_pipelined_requests_are_answered_in_order(tmp_path):
    with Steps(log=str(tmp_path / "log")) as steps, steps.connect() as sock:
        sock.sendall(request(False) * 2 + b"GET /health HTTP/1.1\r\n\r\n" + request(True))
        got = b""
        while got.count(b"[DONE]") < 3:
            got += steps.answer(sock, b"\r\n\r\n")
    assert got.split(b"HTTP/1.1 200 OK\r\n")[3].endswith(b"\r\n\r\n{}")


def test_a_loop_is_woken_at_the_time_last_set_and_not_before():
    loop, rang, timer = asyncio.SelectorEventLoop(), [], Timer()
    began = monotonic_ns()

    def fire():
        rang.append(monotonic_ns() - began)
        timer.set(began + 20_000_000 if len(rang) == 1 else None)
        loop.call_later(0.05, loop.stop)

    loop.add_reader(timer.fd, fire)
    timer.set(began + 3_600_000_000_000)
    timer.set(began + 10_000_000)
    loop.run_forever()
    loop.close()
    timer.close()
    assert len(rang) == 2
    assert rang[0] >= 10_000_000
    assert rang[1] >= 20_000_000


def test_an_idle_simulator_sleeps():
    with Steps() as steps, steps.connect() as sock:
        sock.sendall(request(chunked=False))
        steps.answer(sock, b"0\r\n\r\n")
        assert steps.selector.select(0.1) == []
