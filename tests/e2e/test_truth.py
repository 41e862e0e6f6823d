"""Truth is believed by every benchmark, so it is checked against a client that knows nothing of ours."""

import json
import re
import shutil
import socket
import struct
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import unmarred

harness = pytest.importorskip("harness", reason="benchmarks/ is not beside tests/")
import truth_log  # noqa: E402 - found beside harness

pytestmark = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler, so truth cannot be built")

SO_TIMESTAMPNS = 35
TTFT_US, ITL_US, TOKENS = 30_000, 60_000, 4
PROMPT = "one two three four five"


def request(number, *, stream, prompt=PROMPT):
    said = {"model": "truth", "stream": stream, "stream_options": {"include_usage": True}, "max_tokens": TOKENS}
    body = json.dumps(said | {"messages": [{"role": "user", "content": prompt}]}, separators=(",", ":")).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: truth\r\nX-Request-ID: ab12-{number:06d}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Client:
    """One bare socket; reads come with the kernel's stamp."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.settimeout(60)

    def ask(self, message, end):
        """When it was sent, the reads as (stamp, bytes) until `end` has come."""
        sent, reads = time.time_ns(), []
        self.sock.sendall(message)
        while not b"".join(data for _, data in reads).endswith(end):
            data, ancillary, _, _ = self.sock.recvmsg(65536, 64)
            seconds, nanos = struct.unpack("qq", ancillary[0][2]) if ancillary else divmod(time.time_ns(), 1_000_000_000)
            reads.append((seconds * 1_000_000_000 + nanos, data))
        return sent, reads


@pytest.fixture
def server(tmp_path):
    with harness.truth(tmp_path, TTFT_US, ITL_US, TOKENS) as running:
        yield running


@pytest.fixture
def client(server):
    one = Client(server.port)
    one.ask(b"GET /v1/models HTTP/1.1\r\nHost: truth\r\n\r\n", b"}]}")  # the kernel turns stamping on some milliseconds after it is asked
    yield one
    one.sock.close()


def test_the_log_says_what_a_client_sees(server, client):
    numbers = iter(range(123, 143))

    def ask():
        sent, reads = client.ask(request(next(numbers), stream=True), b"0\r\n\r\n")
        return sent, reads, [stamp for stamp, data in reads if b" word" in data]

    sent, reads, tokens = unmarred(ask, lambda found: len(found[2]) == TOKENS, 20)  # what is read together has one stamp
    body = b"".join(data for _, data in reads)
    *before, row = server.end()
    assert row["request"] == 123 + len(before) == next(numbers) - 1
    assert (row["tokens"], row["prompt"], row["stream"]) == (TOKENS, 5, 1)
    assert body.count(b'"content":" word"') == TOKENS
    usage = json.loads(re.search(rb'"usage":(\{.*?\})', body)[1])
    assert usage == {"prompt_tokens": 5, "completion_tokens": TOKENS, "total_tokens": 5 + TOKENS}
    assert sent <= row["arrived"] <= row["first"] <= row["out"] <= row["last"] <= reads[-1][0] + 1_000_000
    assert row["first"] <= tokens[0] <= row["out"]
    assert row["first"] - row["arrived"] >= TTFT_US * 1000
    assert row["last"] - row["arrived"] >= (TTFT_US + (TOKENS - 1) * ITL_US) * 1000


def test_a_whole_answer_takes_as_long_as_a_stream(server, client):
    sent, reads = client.ask(request(7, stream=False), b"}}")
    (row,) = server.end()
    assert (row["request"], row["tokens"], row["stream"]) == (7, TOKENS, 0)
    assert reads[-1][0] - sent >= (TTFT_US + ITL_US * (TOKENS - 1)) * 1000
    assert row["first"] == row["last"]


def test_probes_and_warm_up_are_left_out(server, client):
    for message in (request(1_000_000_000, stream=False), request(3, stream=False).replace(b"X-Request-ID: ab12-000003\r\n", b"")):
        client.ask(message, b"}}")
    client.ask(request(4, stream=False), b"}}")
    assert server.served() == 3
    assert server.end()["request"].tolist() == [4]


def test_one_connection_can_ask_in_advance_and_in_pieces(server, client):
    both = request(1, stream=False) + request(2, stream=False)
    client.sock.sendall(both[:100])
    client.ask(both[100:-10], b"}}")
    client.ask(both[-10:], b"}}")
    assert server.end()["request"].tolist() == [1, 2]


def test_the_join_finds_what_is_off_and_what_is_missing(tmp_path):
    rows = np.zeros(4, dtype=truth_log.ROW)
    rows["request"], rows["arrived"] = [0, 1, 2, 3], 1_000_000
    rows["first"], rows["out"], rows["last"] = 6_000_000, 6_020_000, 9_000_000
    ours = {
        "request": [0, 1, 2, 9],
        "sent_ns": [1_000_000] * 4,
        "first_token_ns": [6_010_000, 6_500_000, 6_200_000, 1],
        "first_token_low_ns": [6_010_000, 6_500_000, 6_100_000, 1],
        "last_token_ns": [9_000_000, None, 9_000_000, 1],
    }
    pq.write_table(pa.table({name: pa.array(values, pa.int64()) for name, values in ours.items()}), tmp_path / "a.parquet")
    joined = truth_log.join(rows, tmp_path)
    assert (joined.missing, joined.extra, joined.repeated) == (1, 1, 0)
    assert joined.arrival_error_ms().tolist() == [0, 0.48]
    assert joined.ttft_error_ms().tolist() == [0.01, 0.5]
    assert joined.intervals_without_truth() == 1
    assert joined.interval_share == pytest.approx(1 / 3)
