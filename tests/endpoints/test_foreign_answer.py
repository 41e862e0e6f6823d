"""What is read through an endpoint that others wrote."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strangers import EchoEndpoint, EveryKindEndpoint, OlderEchoEndpoint, RagEndpoint

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.foreign import Foreign, described
from aiperf.endpoints.models import (
    BinaryResponse,
    EmbeddingResponseData,
    ParsedResponse,
    RankingsResponseData,
    RequestRecord,
    SSEMessage,
    TextResponse,
)
from aiperf.plugin.types import PluginEntry
from aiperf.records import CHANNELS
from aiperf.seams import Answer

ABOUT = described(Endpoint(url="http://h"), model="m", exact=False, usage=True)
STREAM = "text/event-stream; charset=utf-8"


def made(cls):
    return Foreign(PluginEntry("endpoint", "echo", "echoes", f"{cls.__module__}:{cls.__qualname__}"), cls, ABOUT)


def event(said):
    return b"data: " + (said if isinstance(said, bytes) else json.dumps(said).encode()) + b"\n\n"


def streamed(cls, *bodies, complete=True, status=200):
    return made(cls).answer(Answer(status, STREAM, bodies, complete, tuple(range(100, 100 + len(bodies)))))


def whole(cls, said, *, content_type="application/json", complete=True):
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return made(cls).answer(Answer(200, content_type, (body[:3], body[3:], b""), complete, (5, 6, 7)))


def names(said):
    return [CHANNELS[channel] for channel in said.channels]


@pytest.mark.parametrize("cls", [EchoEndpoint, OlderEchoEndpoint])
def test_the_documented_endpoint_reads_a_stream_and_a_whole_answer(cls):
    said = streamed(cls, event({"echo": "a"}), event({"echo": " b", "model": "x"}) + event({"echo": "c"}), event(b"[DONE]"))
    assert (said.error, said.text, said.model) == (None, "a bc", "x")
    assert names(said) == ["content", "content", "content", "done"]
    assert said.reads == [0, 1, 1, 2]
    assert said.at_end == [True, False, True, True]
    assert said.tokens == [0, 0, 0, 0]
    said = whole(cls, {"echo": "all", "model": "x"})
    assert (said.error, said.text, said.model, said.reads, names(said)) == (None, "all", "x", [1], ["content"])


def test_what_it_is_handed_says_when_it_came():
    seen = []

    class Watching(EchoEndpoint):
        def parse_response(self, response):
            seen.append((type(response), response.perf_ns, response.get_raw(), response.get_json()))
            return super().parse_response(response)

    streamed(Watching, event({"echo": "a"}), b"event: more\ndata: b\ndata: c\n\n")
    assert [one[:2] for one in seen] == [(SSEMessage, 100), (SSEMessage, 101)]
    assert [(line.name, line.value) for line in seen[1][2]] == [("event", "more"), ("data", "b\nc")]
    assert seen[1][3] is None
    whole(Watching, "text", content_type="text/plain")
    whole(Watching, b"\x00\x01\x02", content_type="image/png")
    assert seen[2][:3] == (TextResponse, 6, '"text"')
    assert seen[3] == (BinaryResponse, 5, b"\x00\x01\x02", None)
    assert made(Watching).answer(Answer(200, None, (b"x",), True)).error is None
    assert seen[4][:2] == (TextResponse, 0)


def test_events_are_told_apart():
    kinds = [{"kind": kind} for kind in ("none", "think", "both", "call")]
    said = streamed(EveryKindEndpoint, *map(event, [*kinds, {"text": "t"}, {"embeddings": [[1.0]]}, {"usage": {"output_tokens": 4}}]))
    assert names(said) == ["role", "reasoning", "content", "tool_call", "content", "role", "usage"]
    assert (said.output_tokens, said.text) == (4, None)


def test_a_chain_of_retrieval_says_what_it_found():
    chunk = {"choices": [{"delta": {"content": "b"}, "finish_reason": None}]}
    said = streamed(
        RagEndpoint,
        event({"citations": [{"score": 0.5}, {"score": 0.25}]}),
        event({**chunk, "timing": {"retrieval_ms": 3}}),
        event({"choices": [{"delta": {"content": "<think>"}, "finish_reason": "stop"}], "timing": {"retrieval_ms": 4}}),
        event({"usage": {"prompt_tokens": 9, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}}}),
    )
    assert (said.error, said.finish_reason, said.think_tags) == (None, "stop", True)
    assert names(said) == ["role", "content", "content", "usage"]
    assert (said.input_tokens, said.output_tokens, said.reasoning_tokens, said.text) == (9, 2, 1, None)
    assert said.plugin == {"citations": {"count": 2, "scores": [0.5, 0.25]}, "timing": {"retrieval_ms": 4}}


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"input_tokens": 3, "output_tokens": 4.0, "output_tokens_details": {"reasoning_tokens": 2}}, (3, 4, 2)),
        (type("Usage", (), {"prompt_tokens": 3, "completion_tokens": 4})(), (3, 4, None)),
        ({"prompt_tokens": -1, "completion_tokens": True, "reasoning_tokens": 2**40}, (None, None, None)),
        ({"prompt_tokens": float("nan"), "completion_tokens": 2.5, "completion_tokens_details": "x"}, (None, None, None)),
    ],
)
def test_counts_are_taken_by_whatever_name(usage, counts):
    class Counting(EchoEndpoint):
        def parse_response(self, response):
            return ParsedResponse(response.perf_ns, self.make_text_response_data("a"), usage=usage)

    said = whole(Counting, {})
    assert (said.input_tokens, said.output_tokens, said.reasoning_tokens) == counts


def test_the_last_count_wins():
    said = streamed(
        EveryKindEndpoint, *(event({"text": "t", "usage": {"completion_tokens": n}}) for n in (1, 2)), event({"usage": {"total": 9}})
    )
    assert said.output_tokens == 2


class TestErrors:
    def test_http_comes_first(self):
        assert streamed(EchoEndpoint, b"no", status=503).error == "http_5xx"
        assert streamed(EchoEndpoint, b"no", status=429).reason == "no"

    def test_an_error_in_a_good_answer(self):
        said = streamed(EchoEndpoint, event({"echo": "a"}), event({"error": {"message": "gone"}}), event({"echo": "b"}))
        assert said.error == "error_event"
        assert "gone" in said.reason
        assert names(said) == ["content", "error", "content"]
        assert streamed(EchoEndpoint, b"event: error\ndata: gone\n\n").error == "error_event"
        assert whole(EchoEndpoint, {"error": "gone"}).error == "error_event"

    def test_an_answer_in_which_nothing_was_found(self):
        assert streamed(OlderEchoEndpoint, event({"other": 1})).error == "malformed"
        assert streamed(OlderEchoEndpoint, event(b"[DONE]")).error == "malformed"
        said = whole(OlderEchoEndpoint, {"other": 1})
        assert (said.error, said.reason) == ("malformed", 'the plugin found nothing in it: {"other": 1}')
        assert whole(OlderEchoEndpoint, b'{"echo', complete=False).error == "truncated"
        assert whole(OlderEchoEndpoint, b"").reason.endswith("(empty body)")

    def test_a_stream_that_broke_off_is_good_only_if_it_had_ended(self):
        assert streamed(EchoEndpoint, event({"echo": "a"}), complete=False).error == "truncated"
        assert streamed(EchoEndpoint, event({"echo": "a"}), event(b"[DONE]"), complete=False).error is None
        assert streamed(EchoEndpoint, event({"echo": "a", "finish_reason": "stop"}), b'data: {"ec', complete=False).error is None
        assert streamed(EchoEndpoint, event({"echo": "a"})).error is None

    def test_the_last_event_may_lack_its_blank_line(self):
        assert streamed(EchoEndpoint, event({"echo": "a"}), b'data: {"echo": "b"}').text == "ab"
        assert streamed(EchoEndpoint, event({"echo": "a", "finish_reason": "x"}), b'data: {"echo": "b"}', complete=False).text == "a"


WORDS = st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=6)


@given(words=WORDS, cuts=st.lists(st.integers(0, 300), max_size=8))
def test_where_the_bytes_were_cut_makes_no_difference(words, cuts):
    stream = b"".join(event({"echo": word}) for word in words) + event(b"[DONE]")
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    bodies = [stream[start:stop] for start, stop in pairwise(edges)]
    said = streamed(EchoEndpoint, *bodies)
    assert (said.error, said.text, names(said)) == (None, "".join(words), ["content"] * len(words) + ["done"])
    assert said.reads == sorted(said.reads)


@given(
    bodies=st.lists(st.binary(max_size=60), max_size=5),
    content_type=st.sampled_from([STREAM, "application/json", "image/png", None]),
    complete=st.booleans(),
)
def test_no_bytes_make_it_raise(bodies, content_type, complete):
    for cls in (EchoEndpoint, RagEndpoint):
        said = made(cls).answer(Answer(200, content_type, bodies, complete))
        assert len(said.reads) == len(said.at_end) == len(said.channels) == len(said.tokens)
        assert all(0 <= read < len(bodies) for read in said.reads)
        assert (said.error is None) == (said.reason is None)


class TestHelpers:
    base = made(EchoEndpoint)._plugin

    @pytest.mark.parametrize(
        ("said", "text"),
        [
            ({"text": "a"}, "a"),
            ({"content": ["a", "b"]}, "ab"),
            ({"choices": [{"text": "a"}]}, "a"),
            ({"choices": [{"message": {"content": "a"}}]}, "a"),
            ({"choices": [{"delta": {"content": "a"}}]}, "a"),
            ("a", "a"),
        ],
    )
    def test_text_is_found(self, said, text):
        assert self.base.auto_detect_and_extract(said).get_text() == text

    @pytest.mark.parametrize(
        "said", [{}, {"text": ""}, {"choices": []}, {"choices": ["a"]}, {"choices": [{"delta": None}]}, [], None, 5, {"data": [3]}]
    )
    def test_nothing_is_found(self, said):
        assert self.base.auto_detect_and_extract(said) is None

    @pytest.mark.parametrize(
        "said",
        [
            {"data": [{"object": "embedding", "embedding": [0.0, 1.0]}]},
            {"embeddings": [[0.0, 1.0]]},
            {"embedding": [0.0, 1.0]},
            [0.0, 1.0],
            [[0.0, 1.0]],
        ],
    )
    def test_vectors_are_found(self, said):
        assert self.base.auto_detect_and_extract(said) == EmbeddingResponseData([[0.0, 1.0]])

    @pytest.mark.parametrize("said", [{"rankings": [{"index": 0}]}, {"results": [{"index": 0}]}, [{"index": 0}]])
    def test_rankings_are_found(self, said):
        assert self.base.auto_detect_and_extract(said) == RankingsResponseData([{"index": 0}])

    def test_a_record_is_read_at_once(self):
        responses = [SSEMessage.parse(b'event: x\r\ndata: {"echo": "a"}', 4), TextResponse(5, ""), TextResponse(6, '{"echo": "b"}')]
        found = self.base.extract_response_data(RequestRecord(responses=responses))
        assert [(one.perf_ns, one.data.text) for one in found] == [(4, "a"), (6, "b")]
        assert SSEMessage.parse(": note\nretry", 1).get_text() is None
