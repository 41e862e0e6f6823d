"""Every endpoint of ours keeps its contract, and speaks OpenAI's dialects; a new one is added to KINDS with a stream and a whole answer."""

import json
import re

import pytest
from builtin import every
from hypothesis import given, settings
from hypothesis import strategies as st

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.speaking import spoken
from aiperf.errors import ClientError
from aiperf.plugin import plugins
from aiperf.records import CHANNELS, TOKEN_CHANNELS
from aiperf.seams import Answer
from aiperf.testing import EndpointContract
from aiperf.testing.contracts import check_shape, check_split
from aiperf.workload import Turn

USAGE = b'"usage":{"prompt_tokens":3,"completion_tokens":3}'


def stream_of(*events):
    return b"".join(b"data: " + event + b"\n\n" for event in events)


CHAT = stream_of(
    b'{"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}',
    b'{"choices":[{"index":0,"delta":{"reasoning_content":"h\\u00e9 {"},"logprobs":null,"finish_reason":null}],"usage":null}',
    '{"choices": [{"index": 0, "delta": {"content": "é\\"content\\": \\"\\n\\n"}, "finish_reason": null}]}'.encode(),
    b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"f"}}]},"finish_reason":null}]}',
    b'{"choices":[{"index":0,"delta":{"content":null},"finish_reason":"stop"}]}',
    b'{"choices":[],%s}' % USAGE,
    b"[DONE]",
)
COMPLETIONS = stream_of(
    b'{"model":"m","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":null}]}',
    '{"choices": [{"index": 0, "text": "é\\"text\\": \\"\\n\\n {", "finish_reason": null}], "usage": null}'.encode(),
    b'{"choices":[{"text":"a","index":0,"logprobs":{"tokens":["text"]},"finish_reason":null}]}',
    b'{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}',
    b'{"choices":[],%s}' % USAGE,
    b"[DONE]",
)
KINDS = {
    "chat": (CHAT, b'{"model":"m","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],%s}' % USAGE),
    "completions": (COMPLETIONS, b'{"model":"m","choices":[{"index":0,"text":"hi","finish_reason":"stop"}],%s}' % USAGE),
}
"""An endpoint's stream, and the same kind of answer when it is not streamed."""

TURNS = {
    "texts": Turn(("hello", "you"), 2, 4),
    "messages": Turn(messages=[{"role": "user", "content": "hello"}], output_tokens=4),
    "tools": Turn(("hello",), tools=[{"type": "function", "function": {"name": "f"}}]),
    "batches": Turn(("hello", "you"), 2, 4),
    "token_ids": Turn(("hello",), token_ids=((1, 2),)),
}
FAILED = {301: "http_3xx", 400: "http_4xx", 429: "rate_limited", 500: "http_5xx", 101: "malformed"}
TOKENS = [CHANNELS.index(name) for name in TOKEN_CHANNELS]
STREAM = "text/event-stream"
CONTENT_TYPES = st.sampled_from([STREAM, "application/json", "text/html", None])
KEYS = st.sampled_from(
    ["choices", "index", "delta", "message", "content", "text", "reasoning", "tool_calls", "function", "arguments", "refusal", "usage",
     "prompt_tokens", "completion_tokens", "completion_tokens_details", "reasoning_tokens", "finish_reason", "error", "model"]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
STATUSES = st.sampled_from([200, 204, 302, 404, 429, 500, None])


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def endpoint(kind):
    return plugins.get_class("endpoint", kind)(Endpoint(url="http://h"), model="m", exact=True)


@pytest.fixture(scope="module")
def stream(kind):
    return KINDS[kind][0]


@pytest.fixture(scope="module")
def whole(kind):
    return KINDS[kind][1]


def events_of(stream):
    return [event + b"\n\n" for event in stream.split(b"\n\n") if event]


class TestEveryEndpoint(EndpointContract):
    entry = every("endpoint")

    @pytest.fixture
    def endpoint(self, entry):
        stream, whole = KINDS[entry.name]
        self.answers = [(STREAM, stream), ("application/json", whole)]
        takes = set(entry.metadata["takes"]) & set(TURNS)
        self.turns = [TURNS[what] for what in takes - {"token_ids"}]
        return spoken(Endpoint(type=entry.name, url="http://h"), model="m", exact=True)


class TestEveryDialect:
    def test_a_body_is_json_that_names_the_model(self, endpoint):
        assert json.loads(endpoint.body(Turn(("hello",), 1, 4)))["model"] == "m"

    @pytest.mark.parametrize("streaming", [True, False])
    @pytest.mark.parametrize("usage", [True, False])
    def test_a_body_says_what_kind_of_answer_is_wanted(self, kind, streaming, usage):
        made = plugins.get_class("endpoint", kind)(Endpoint(url="http://h", streaming=streaming), model="m", exact=False, usage=usage)
        said = json.loads(made.body(Turn(("hello",), 1, 4)))
        assert said["stream"] is streaming
        assert ("stream_options" in said) is (streaming and usage)
        assert said["max_tokens"] == 4

    def test_everything_that_it_takes_becomes_json(self, kind):
        takes = plugins.get_entry("endpoint", kind).metadata["takes"]
        for what in set(takes) - {"payload"}:
            options = Endpoint(url="http://h", prompt="token_ids" if what == "token_ids" else "string")
            said = json.loads(plugins.get_class("endpoint", kind)(options, model="m", exact=True).body(TURNS[what]))
            assert said["model"] == "m"
            assert b"hello" in json.dumps(said).encode() or what == "token_ids"

    def test_a_turn_has_the_last_word(self, endpoint):
        said = json.loads(endpoint.body(Turn(("hello",), 1, 4, model="other", extra={"max_tokens": 9, "x": None})))
        assert (said["model"], said["max_tokens"], said["x"]) == ("other", 9, None)

    def test_a_payload_is_sent_untouched(self, endpoint):
        assert endpoint.body(Turn(payload=b"any bytes", output_tokens=4, extra={"a": 1})) == b"any bytes"

    def test_a_turn_that_says_nothing_is_a_client_error(self, endpoint):
        with pytest.raises(ClientError):
            endpoint.body(Turn())

    def test_a_good_stream_is_good(self, endpoint, stream):
        said = endpoint.answer(Answer(200, STREAM, [stream], complete=True))
        check_shape(said, [stream])
        assert said.error is None
        assert any(channel in TOKENS for channel in said.channels)

    def test_byte_by_byte_each_event_comes_with_its_last_byte(self, endpoint, stream):
        said = endpoint.answer(Answer(200, STREAM, [stream[i : i + 1] for i in range(len(stream))], complete=True))
        assert said.reads == [match.end() - 1 for match in re.finditer(b"\n\n", stream)]
        assert all(said.at_end)

    @given(st.lists(st.integers(0, 10_000), max_size=12))
    def test_where_a_stream_is_cut_changes_only_the_reads(self, endpoint, stream, places):
        check_split(endpoint, (STREAM, stream), [place % (len(stream) + 1) for place in places])

    def test_a_whole_answer_is_one_event_wherever_it_is_cut(self, endpoint, whole):
        for place in range(len(whole) + 1):
            said = endpoint.answer(Answer(200, "application/json", [whole[:place], whole[place:]], complete=True))
            assert (said.error, said.input_tokens, said.output_tokens, said.finish_reason, said.model) == (None, 3, 3, "stop", "m")
            assert len(said.channels) == 1

    def test_a_whole_answer_that_stops_anywhere_is_truncated(self, endpoint, whole):
        for place in range(len(whole)):
            assert endpoint.answer(Answer(200, "application/json", [whole[:place]], complete=False)).error == "truncated"

    def test_text_is_kept_only_where_nothing_was_counted(self, endpoint, stream, whole):
        for body, kind in ((stream, STREAM), (whole, "application/json")):
            assert endpoint.answer(Answer(200, kind, [body], complete=True)).text is None
            assert endpoint.answer(Answer(200, kind, [body.replace(b'"usage"', b'"use"')], complete=True)).text

    @pytest.mark.parametrize(("status", "error"), FAILED.items())
    def test_a_status_names_its_error_whatever_the_body_says(self, endpoint, stream, whole, status, error):
        for body, kind in ((stream, STREAM), (whole, "application/json"), (b"no", "text/plain"), (b"", None)):
            said = endpoint.answer(Answer(status, kind, [body], complete=True))
            assert (said.error, said.channels) == (error, [])
            assert said.reason == (body.decode()[:500] or "(empty body)")

    def test_every_way_to_fail_with_a_good_status_has_its_class(self, endpoint, stream, whole):
        begun = b"".join(events_of(stream)[:2])
        streams = {
            "error_event": [
                b'data: {"error":{"message":"x"}}\n\n',
                b'data: {"error":"x"}\n\n',
                b'event: error\ndata: {"a":1}\n\n',
                b"error: x\n\n",
            ],
            "malformed": [b"data: <html>\n\n", b'data: {"choices":\n\n', b"data: []\n\n"],
            "truncated": [b"", b'data: {"choices"', b"data: [DO", b": keep-alive\n\n"],
        }
        for error, ends in streams.items():
            for end in ends:
                assert endpoint.answer(Answer(200, STREAM, [begun, end], complete=True)).error == error, end
        wholes = {"error_event": b'{"error":{"message":"x"}}', "malformed": b"<html>"}
        for error, body in wholes.items():
            assert endpoint.answer(Answer(200, "application/json", [body], complete=True)).error == error
        assert endpoint.answer(Answer(200, "application/json", [stream], complete=True)).error == "malformed"
        assert endpoint.answer(Answer(200, STREAM, [whole], complete=True)).error == "truncated"

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

    @settings(max_examples=200)
    @given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)), CONTENT_TYPES)
    def test_no_json_makes_it_raise(self, endpoint, said, content_type):
        body = json.dumps(said).encode()
        bodies = [b"data: " + body + b"\n\n" if content_type == STREAM else body]
        check_shape(endpoint.answer(Answer(200, content_type, bodies, complete=True)), bodies)

    @given(st.data())
    def test_no_damage_to_a_stream_makes_it_raise(self, endpoint, stream, data):
        at = data.draw(st.integers(0, len(stream) - 1))
        bodies = [stream[:at], data.draw(st.binary(max_size=3)), stream[at + data.draw(st.integers(0, 3)) :]]
        check_shape(endpoint.answer(Answer(200, STREAM, bodies, complete=True)), bodies)
