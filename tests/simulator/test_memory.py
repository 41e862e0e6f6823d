"""The server in this process: what its transport keeps, without a socket, on a clock that jumps."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiperf.clock import MILLISECOND, SECOND
from aiperf.config.endpoint import Endpoint
from aiperf.errors import MeasureError
from aiperf.load.loop import VirtualLoop
from aiperf.simulator.memory import URL, MemoryServer, MemoryTransport
from aiperf.spool import VIRTUAL, Exchange
from aiperf.transports.origin import origins

BODY = b'{"model":"simulator","messages":[{"role":"user","content":"one two"}],"stream":%b,"max_tokens":4}'
START = 1000 * SECOND


class Client:
    """Sends to a server in memory and keeps what lands."""

    def __init__(self, *, path: str = "/v1/chat/completions", simulator: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.loop = VirtualLoop(START)
        endpoint = Endpoint.model_validate({"simulator": {"clock": "virtual", **(simulator or {})}, "transport": "memory", **options})
        assert endpoint.simulator is not None
        self.server = MemoryServer(endpoint.simulator, self.loop)
        where = origins(endpoint, self.server.urls, path=path, run="abc")
        self.transport = MemoryTransport(endpoint, where, hint=None, sockets=self.server)
        self.transport.tell(self)
        self.landings: list[Exchange] = []
        self.parts: list[Exchange] = []

    def part(self, exchange: Exchange) -> None:
        self.parts.append(exchange)
        exchange.stamps, exchange.bodies, exchange.marks = [], [], []

    def landed(self, exchange: Exchange) -> None:
        self.landings.append(exchange)

    def send(self, number: int, *, url: int = 0, streamed: bool = True) -> Exchange:
        exchange = Exchange(number, url=url, ready=self.loop.now_ns())
        self.transport.send(exchange, b"%d" % number, BODY % (b"true" if streamed else b"false"))
        return exchange

    def until(self, count: int, *, seconds: float = 100) -> None:
        end = self.loop.now_ns() + round(seconds * SECOND)
        self.loop.at(end, lambda: None)
        self.loop.run(lambda: len(self.landings) >= count or self.loop.now_ns() >= end)


def test_each_token_comes_when_the_model_says_and_is_stamped_so() -> None:
    client = Client(simulator={"ttft_ms": 20, "itl_ms": 5})
    exchange = client.send(1)
    client.until(1)
    assert client.landings == [exchange]
    assert (exchange.status, exchange.error, exchange.started, exchange.sent) == (200, None, START, START)
    assert [at - START for at in exchange.stamps] == [n * MILLISECOND for n in (20, 25, 30, 35)]
    assert exchange.marks == [0, VIRTUAL, exchange.stamps[0]]
    assert exchange.end == exchange.stamps[-1]
    assert b"".join(exchange.bodies).endswith(b"data: [DONE]\n\n")


def test_an_answer_in_one_piece_comes_with_its_last_token() -> None:
    client = Client(simulator={"ttft_ms": 20, "itl_ms": 5})
    exchange = client.send(1, streamed=False)
    client.until(1)
    assert [at - START for at in exchange.stamps] == [35 * MILLISECOND]
    assert exchange.bodies[0].startswith(b"{")


def test_each_request_lands_once_however_it_ends() -> None:
    shares = dict.fromkeys(("reset", "truncated", "http_500", "garbage", "stall", "close_after", "malformed"), 0.1)
    client = Client(simulator={"faults": shares, "itl_ms": 1}, timeout_s={"first_byte": 1, "idle": 1, "total": 3})
    sent = [client.send(number) for number in range(200)]

    def sweep() -> None:
        client.transport.sweep()
        client.loop.at(client.loop.now_ns() + 20 * MILLISECOND, sweep)

    sweep()
    client.until(200)
    assert sorted(map(id, client.landings)) == sorted(map(id, sent))
    errors = Counter(exchange.error for exchange in sent)
    assert {"reset", "truncated", "malformed", "timeout_idle"} <= set(errors)
    assert all(exchange.end is not None and exchange.end >= START for exchange in sent)


def test_what_is_told_on_landing_may_send_the_next() -> None:
    client = Client(simulator={"ttft_ms": 1, "itl_ms": 0})
    client.landed = lambda exchange: (client.landings.append(exchange), len(client.landings) < 50 and client.send(len(client.landings)))  # type: ignore[assignment,func-returns-value]
    client.send(0)
    client.until(50)
    assert [exchange.request for exchange in client.landings] == list(range(50))
    assert client.loop.now_ns() - START == 50 * MILLISECOND


def test_whatever_is_in_flight_can_be_abandoned() -> None:
    client = Client()
    sent = [client.send(number) for number in range(20)]
    client.until(1, seconds=0.03)
    client.transport.abandon("abandoned", "enough")
    assert {(exchange.error, exchange.reason) for exchange in sent} == {("abandoned", "enough")}
    client.until(99, seconds=1)
    assert len(client.landings) == 20


def test_some_addresses_refuse() -> None:
    client = Client(simulator={"faults": {"refused": 0.5}})
    assert client.server.urls == (URL, URL)
    landed = [client.send(number, url=number % 2) for number in range(4)]
    client.until(4)
    assert [exchange.error for exchange in landed] == [None, "connect", None, "connect"]


def test_an_answer_without_end_is_cut_off_and_goes_to_disk_in_parts() -> None:
    client = Client(simulator={"faults": {"endless": 1}}, max_answer_bytes=1_000_000)
    exchange = client.send(1)
    client.until(1)
    assert exchange.error == "too_large"
    assert len(client.parts) > 5


@pytest.mark.parametrize(("path", "status"), [("/v1/models", 200), ("/metrics", 200), ("/nothing", 404)])
def test_pages_are_fetched(path: str, status: int) -> None:
    client = Client()
    found, headers, body = client.server(f"{URL}{path}")
    assert found == status
    assert body
    assert headers["content-type"]
    assert client.loop.now_ns() - START == 100 * MILLISECOND


def test_a_server_that_is_loading_says_so_until_its_time_has_come() -> None:
    client = Client(simulator={"load_s": 0.25})
    assert [client.server(f"{URL}/v1/models")[0] for _ in range(3)] == [503, 503, 200]


def test_a_fetch_has_a_deadline() -> None:
    client = Client(simulator={"ttft_ms": 60_000})
    with pytest.raises(MeasureError, match="no answer in time"):
        client.server(f"{URL}/v1/chat/completions", BODY % b"false", timeout_s=1)


def test_the_log_has_the_last_token_of_an_answer_that_was_cut_off(tmp_path: Path) -> None:
    client = Client(simulator={"ttft_ms": 20, "itl_ms": 5, "log": str(tmp_path / "log")})
    exchange = client.send(1)
    client.until(1, seconds=0.032)
    client.transport.abandon("abandoned", "enough")
    client.server.close()
    row = msgspec.json.decode((tmp_path / "log").read_bytes())
    assert (row["tokens"], row["complete"]) == (3, False)
    assert (row["first_ns"], row["last_ns"]) == (exchange.stamps[0], exchange.stamps[-1])


def test_a_log_that_is_full_is_told_of_once() -> None:
    client = Client(simulator={"log": "/dev/full"})
    client.send(1)
    client.until(1)
    with pytest.raises(MeasureError, match=r"endpoint.simulator.log: /dev/full cannot be written: No space left"):
        client.server.close()
    client.server.close()


@pytest.mark.parametrize("preset", ["fixed", "textbook", "small_gpu"])
def test_every_prompt_of_a_request_has_its_tokens_counted(preset: str) -> None:
    client = Client(simulator={"preset": preset})
    body = b'{"model":"simulator","prompt":["a b","c"],"max_tokens":5}'
    _, _, answer = client.server(f"{URL}/v1/completions", body)
    assert msgspec.json.decode(answer)["usage"]["completion_tokens"] == 10
    assert b'generation_tokens_total{model_name="simulator"} 10.0' in client.server(f"{URL}/metrics")[2]
