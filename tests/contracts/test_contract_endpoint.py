"""What every endpoint must keep; a new one is added to KINDS with a stream that it understands."""

import json
import re
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.endpoint import Endpoint
from aiperf.plugin import plugins
from aiperf.records import CHANNELS, ERRORS, TOKEN_CHANNELS
from aiperf.seams import Answer
from aiperf.workload import Turn

CHAT = b"".join(
    b"data: " + said + b"\n\n"
    for said in (
        b'{"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}',
        b'{"choices":[{"index":0,"delta":{"reasoning_content":"h\\u00e9 {"},"logprobs":null,"finish_reason":null}],"usage":null}',
        '{"choices": [{"index": 0, "delta": {"content": "é\\"content\\": \\"\\n\\n"}, "finish_reason": null}]}'.encode(),
        b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"f"}}]},"finish_reason":null}]}',
        b'{"choices":[{"index":0,"delta":{"content":null},"finish_reason":"stop"}]}',
        b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":3}}',
        b"[DONE]",
    )
)
KINDS = {"chat": CHAT}
TOKENS = [CHANNELS.index(name) for name in TOKEN_CHANNELS]
STREAM = "text/event-stream"
CONTENT_TYPES = st.sampled_from([STREAM, "application/json", "text/html", None])
STATUSES = st.sampled_from([200, 204, 302, 404, 429, 500, None])


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def endpoint(kind):
    return plugins.get_class("endpoint", kind)(Endpoint(url="http://h"), model="m", exact=True)


@pytest.fixture(scope="module")
def stream(kind):
    return KINDS[kind]


def events_of(stream):
    return [event + b"\n\n" for event in stream.split(b"\n\n") if event]


def check_shape(said, bodies):
    assert len(said.reads) == len(said.at_end) == len(said.channels) == len(said.tokens)
    assert said.reads == sorted(said.reads)
    assert all(0 <= read < len(bodies) for read in said.reads)
    assert said.error is None or said.error in ERRORS
    assert (said.error is None) == (said.reason is None)


def test_every_endpoint_is_tested():
    assert set(KINDS) == {entry.name for entry in plugins.iter_entries("endpoint")}


class TestEveryEndpoint:
    def test_a_body_is_json_that_names_the_model(self, endpoint):
        assert json.loads(endpoint.body(Turn("hello", 1, 4)))["model"] == "m"

    def test_a_good_stream_is_good(self, endpoint, stream):
        said = endpoint.answer(Answer(200, STREAM, [stream], complete=True))
        check_shape(said, [stream])
        assert said.error is None
        assert any(channel in TOKENS for channel in said.channels)

    def test_where_a_stream_is_cut_changes_only_the_reads(self, endpoint, stream):
        whole = asdict(endpoint.answer(Answer(200, STREAM, [stream], complete=True)))
        for place in range(len(stream) + 1):
            bodies = [stream[:place], stream[place:]]
            said = endpoint.answer(Answer(200, STREAM, bodies, complete=True))
            check_shape(said, bodies)
            assert {**asdict(said), "reads": whole["reads"], "at_end": whole["at_end"]} == whole

    def test_byte_by_byte_each_event_comes_with_its_last_byte(self, endpoint, stream):
        said = endpoint.answer(Answer(200, STREAM, [stream[i : i + 1] for i in range(len(stream))], complete=True))
        ends = [match.end() - 1 for match in re.finditer(b"\n\n", stream)]
        assert said.reads == ends
        assert all(said.at_end)

    def test_a_stream_that_stops_anywhere_raises_nothing_and_is_no_success_too_early(self, endpoint, stream):
        early = len(stream) // 2
        for place in range(len(stream)):
            bodies = [stream[:place]]
            said = endpoint.answer(Answer(200, STREAM, bodies, complete=True))
            check_shape(said, bodies)
            assert said.error is not None or place > early

    def test_the_hint_finds_tokens_and_nothing_else(self, endpoint, stream):
        hint = re.compile(endpoint.token_hint)
        said = endpoint.answer(Answer(200, STREAM, [stream], complete=True))
        found = [hint.search(event) is not None for event in events_of(stream)]
        assert found == [channel in TOKENS for channel in said.channels]

    @given(st.lists(st.binary(max_size=60), max_size=5), CONTENT_TYPES, STATUSES, st.booleans())
    def test_no_bytes_make_it_raise(self, endpoint, bodies, content_type, status, complete):
        check_shape(endpoint.answer(Answer(status, content_type, bodies, complete)), bodies)

    @given(st.data())
    def test_no_damage_to_a_stream_makes_it_raise(self, endpoint, stream, data):
        at = data.draw(st.integers(0, len(stream) - 1))
        bodies = [stream[:at], data.draw(st.binary(max_size=3)), stream[at + data.draw(st.integers(0, 3)) :]]
        check_shape(endpoint.answer(Answer(200, STREAM, bodies, complete=True)), bodies)
