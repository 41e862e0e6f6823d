"""What two requests before the load find out, from servers of every kind; and who is waited for, and for how long."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from running import QUICK, ran
from wired import HEAD, Scripted, chunk, read_request

from aiperf.app.jobs import Target, speaker
from aiperf.app.probe import Found, patience, prepared, probe
from aiperf.config.endpoint import Endpoint
from aiperf.dataset.bank import Wording
from aiperf.errors import MeasureError
from aiperf.seams import Response
from aiperf.transports.fetch import HttpFetch
from aiperf.workload import Turn

MODELS = {"data": [{"id": "one"}]}
WORDING = Wording(salt="s")


def answer(status: str, body: object) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(data), data)


@dataclass
class Server:
    """A small OpenAI-compatible server: `models`, what the template adds to a prompt of so many words, and its peculiarities."""

    models: object = field(default_factory=lambda: MODELS)
    added: Callable[[int], int] | None = lambda words: 0
    refuses: str | None = None
    channel: str = "content"
    closes: bool = False
    loading: int = 0
    bodies: list[dict[str, object]] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)

    def __call__(self, sock: socket.socket, _: int) -> None:
        while request := read_request(sock):
            head, _, body = request.partition(b"\r\n\r\n")
            sock.sendall(self.said(head, body))
            if self.closes:
                return

    def said(self, head: bytes, body: bytes) -> bytes:
        if self.loading:
            self.loading -= 1
            return answer("503 Loading", {"error": "the model is loading"})
        if head.startswith(b"GET"):
            return answer("200 OK", self.models)
        self.numbers += [line.partition(b": ")[2].decode() for line in head.split(b"\r\n") if line.startswith(b"X-Request-ID")]
        asked = json.loads(body)
        self.bodies.append(asked)
        if self.refuses is not None and self.refuses in asked:
            return answer("400 Bad Request", {"error": f"unknown field {self.refuses}"})
        return HEAD + b"".join(map(chunk, self.events(asked))) + b"0\r\n\r\n"

    def events(self, asked: dict[str, object]) -> Iterator[bytes]:
        words = len(asked["messages"][0]["content"].split())  # type: ignore[index]
        said: list[dict[str, object]] = [{"choices": [{"delta": {self.channel: "word"}}]} for _ in range(int(str(asked["max_tokens"])))]
        said.append({"choices": [{"delta": {"content": ""}, "finish_reason": "length"}]})
        if "stream_options" in asked and self.added is not None:
            said.append({"choices": [], "usage": {"prompt_tokens": words + self.added(words), "completion_tokens": asked["max_tokens"]}})
        yield from (b"data: %b\n\n" % json.dumps(one).encode() for one in said)
        yield b"data: [DONE]\n\n"


def ready(port: int, **options: object) -> tuple[Target, HttpFetch]:
    made = Endpoint.model_validate({"url": f"http://127.0.0.1:{port}", **options})
    fetch = HttpFetch({"Content-Type": "application/json", "X-Request-ID": "abc-probe"})
    return prepared(made, made.url, exact=False, fetch=fetch, wait=patience(made)), fetch


def found_by(server: Server, **options: object) -> tuple[Target, Found]:
    with running(server) as port:
        target, fetch = ready(port, **options)
        return probe(target, WORDING, fetch=fetch, wait=patience(target.options))


@contextlib.contextmanager
def running(server: Server) -> Iterator[int]:
    scripted = Scripted(server)
    try:
        yield scripted.port
    finally:
        scripted.close()


def test_a_server_without_peculiarities() -> None:
    server = Server()
    target, found = found_by(server)
    assert (target.model, target.usage, target.options.connection) == ("one", True, "pooled")
    assert found == Found(
        streaming=True,
        usage=True,
        reasoning=None,
        template_tokens=0,
        finish_reason="length",
        output_exact=None,
        closes=False,
        refused=None,
    )
    assert len(server.bodies) == 2
    assert set(server.numbers) == {"abc-probe"}
    assert "adds 0 tokens" in found.words()


def test_of_two_models_one_must_be_named_and_waiting_would_not_help() -> None:
    server = Server(models={"data": [{"id": "one"}, {"id": "two"}]})
    with running(server) as port:
        began = time.monotonic()
        with pytest.raises(MeasureError, match=r"/v1/models: one, two; name one with endpoint\.model="):
            ready(port, wait_s=60)
        assert time.monotonic() - began < 20
        target, fetch = ready(port, model="two")
        assert probe(target, WORDING, fetch=fetch, wait=patience(target.options))[0].model == "two"
    assert server.bodies[0]["model"] == "two"


@pytest.mark.parametrize("models", [{"data": []}, {"models": []}, [1], "none"])
def test_a_server_that_lists_no_model(models: object) -> None:
    with running(Server(models=models)) as port, pytest.raises(MeasureError, match=r"no model.*endpoint\.model="):
        ready(port)


def test_a_server_that_refuses_stream_options_is_named_and_asked_without() -> None:
    server = Server(refuses="stream_options")
    target, found = found_by(server)
    assert (target.usage, found.usage, found.template_tokens) == (False, False, None)
    assert "unknown field stream_options" in (found.refused or "")
    assert "refuses stream_options.include_usage" in found.words()
    assert ["stream_options" in body for body in server.bodies] == [True, False, False]
    assert b"stream_options" not in speaker(target).body(Turn(("word",), 1, 4))


def test_a_run_goes_on_without_usage_and_says_so(tmp_path: Path) -> None:
    server = Server(refuses="stream_options")
    with running(server) as port:
        done = ran(tmp_path / "out", "endpoint=vllm", f"endpoint.url=http://127.0.0.1:{port}", *QUICK[3:], "timing.stop.requests=20")
    assert done.code == 0, done.out + done.err
    assert done.summary["counts"]["good"] == 20
    assert "refuses stream_options.include_usage" in done.out
    assert "unknown field stream_options" in done.receipt["probe"]["refused"]
    assert "the server refuses stream_options.include_usage" in " ".join(done.summary["verdict"]["notes"])
    assert len(server.bodies) == 23


def test_a_server_that_refuses_anything_else_cannot_be_measured() -> None:
    with pytest.raises(MeasureError, match=r"status 400 .*unknown field max_tokens"):
        found_by(Server(refuses="max_tokens"))


@pytest.mark.parametrize(
    ("added", "template", "words"),
    [
        (lambda words: 27, 27, "adds 27 tokens of chat template"),
        (lambda words: words // 8, None, "adds a varying number of tokens"),
        (None, None, "sends no usage"),
    ],
)
def test_what_a_template_adds(added: Callable[[int], int] | None, template: int | None, words: str) -> None:
    _, found = found_by(Server(added=added))
    assert found.template_tokens == template
    assert words in found.words()


class PatientFetch(HttpFetch):
    """Watches for the server's close for as long as a busy machine takes for it."""

    def watched(self, url: str, body: bytes | None, *, timeout_s: float, watch_s: float | None = 20) -> tuple[Response, bool]:
        return super().watched(url, body, timeout_s=timeout_s, watch_s=watch_s)


def test_a_server_that_closes_after_each_answer_gets_a_connection_a_request() -> None:
    with running(Server(closes=True)) as port:
        target, _ = ready(port)
        target, found = probe(target, WORDING, fetch=PatientFetch({}), wait=patience(target.options))
    assert found.closes
    assert target.options.connection == "new"
    assert "closes its connections" in found.words()


@pytest.mark.parametrize("channel", ["reasoning", "reasoning_content"])
def test_a_server_that_reasons(channel: str) -> None:
    _, found = found_by(Server(channel=channel))
    assert found.reasoning == channel
    assert "reasons" in found.words()


def test_a_server_that_is_loading_is_waited_for_only_if_that_is_asked() -> None:
    with pytest.raises(MeasureError, match="status 503"):
        found_by(Server(loading=1))
    with pytest.raises(MeasureError, match=r"status 503 \(http_5xx\): .*the model is loading"):
        found_by(Server(loading=1), model="one")
    for model in (None, "one"):
        server = Server(loading=3)
        target, _ = found_by(server, model=model, wait_s=60)
        assert (target.model, server.loading) == ("one", 0)


def test_a_server_that_never_stops_loading_is_given_up() -> None:
    began = time.monotonic()
    with pytest.raises(MeasureError, match="the model is loading"):
        found_by(Server(loading=10**6), model="one", wait_s=0.4)
    assert 0.4 <= time.monotonic() - began < 20


def test_a_server_that_takes_no_connection_is_given_up_within_five_seconds() -> None:
    with contextlib.ExitStack() as held:
        full = held.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in [held.enter_context(socket.socket()) for _ in range(4)]:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        target, fetch = ready(full.getsockname()[1], model="one")
        began = time.monotonic()
        with pytest.raises(MeasureError, match="no answer in time"):
            probe(target, WORDING, fetch=fetch, wait=patience(target.options))
        assert time.monotonic() - began < 9.9  # and not at endpoint.timeout_s.connect, which is ten
