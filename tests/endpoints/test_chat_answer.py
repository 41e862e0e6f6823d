import json

import pytest
from dialects import (
    DONE,
    DYNAMO,
    LITELLM,
    LLAMA_CPP,
    PER_CHUNK,
    REASONING,
    TOOLS,
    TRANSFORMERS,
    VLLM,
    WHOLE_IN_ONE,
    choice,
    chunk,
    event,
    usage,
    usage_event,
)

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.chat import ChatEndpoint
from aiperf.records import CHANNELS
from aiperf.seams import Answer

CHAT = ChatEndpoint(Endpoint(url="http://h"), model="m", exact=False)


def streamed(*bodies, status=200, complete=True):
    return CHAT.answer(Answer(status, "text/event-stream; charset=utf-8", bodies, complete))


def whole(said, *, status=200, content_type="application/json", complete=True):
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return CHAT.answer(Answer(status, content_type, (body[:7], body[7:], b""), complete))


def names(said):
    return [CHANNELS[channel] for channel in said.channels]


@pytest.mark.parametrize(
    ("stream", "channels", "counted", "finish"),
    [
        (VLLM, ["role", "content", "content", "done", "usage", "done"], (5, 3, None), "length"),
        (LLAMA_CPP, ["role", "content", "done", "usage", "done"], (5, 1, None), "stop"),
        (TRANSFORMERS, ["role", "content", "content", "usage"], (5, 2, None), "length"),
        (DYNAMO, ["content", "content", "usage", "done"], (5, 2, None), "length"),
        (LITELLM, ["content", "done", "usage", "done"], (5, 2, None), "stop"),
        (REASONING, ["role", "reasoning", "reasoning", "content", "done", "usage", "done"], (5, 3, 2), "stop"),
        (TOOLS, ["role", "tool_call", "tool_call", "done", "done"], (None, None, None), "tool_calls"),
        (PER_CHUNK, ["usage", "content", "usage", "content", "usage", "usage", "done"], (5, 5, None), "stop"),
        (WHOLE_IN_ONE, ["content"], (5, 9, None), "stop"),
    ],
)
def test_every_dialect_is_understood(stream, channels, counted, finish):
    said = streamed(*stream)
    assert (said.error, said.reason) == (None, None)
    assert names(said) == channels
    assert (said.input_tokens, said.output_tokens, said.reasoning_tokens) == counted
    assert said.finish_reason == finish
    assert said.reads == list(range(len(stream)))
    assert all(said.at_end)
    assert said.model in ("m", "m@main")


def test_the_most_token_like_thing_names_an_event():
    together = {"content": "a", "tool_calls": [{}], "reasoning_content": "b", "role": "assistant"}
    said = streamed(
        chunk(together),
        chunk({**together, "content": ""}),
        chunk({**together, "content": None, "tool_calls": []}),
        event({"choices": [choice({"role": "assistant"}), choice({"content": "b"})]}),
        chunk({"refusal": "no"}, "stop"),
    )
    assert names(said) == ["content", "tool_call", "reasoning", "content", "content"]


class TestTokensByEvent:
    def test_are_differences_of_running_usage(self):
        said = streamed(*PER_CHUNK)
        assert said.tokens == [0, 1, 1, 2, 1, 0, 0]
        assert sum(said.tokens) == said.output_tokens

    def test_are_unknown_where_one_event_does_not_say(self):
        assert set(streamed(*PER_CHUNK[:3], chunk({"content": "x"}), *PER_CHUNK[3:]).tokens) == {0}

    def test_are_unknown_with_one_usage_in_the_end(self):
        assert set(streamed(*VLLM).tokens) == {0}
        assert set(streamed(*TRANSFORMERS).tokens) == {0}

    def test_are_unknown_where_a_count_goes_back(self):
        said = streamed(chunk({"content": "a"}, usage=usage(5, 2)), chunk({"content": "b"}, "stop", usage=usage(5, 1)))
        assert said.tokens == [0, 0]

    def test_are_the_usage_of_a_single_event(self):
        assert streamed(*WHOLE_IN_ONE).tokens == [9]


class TestUsage:
    def test_the_last_one_wins_field_by_field(self):
        said = streamed(usage_event(1, 2), event({"choices": [], "usage": {"completion_tokens": 7}}), DONE)
        assert (said.input_tokens, said.output_tokens) == (1, 7)

    @pytest.mark.parametrize("count", [None, -1, True, "3", 2**31, 1.5, [], {}])
    def test_what_is_no_count_is_none(self, count):
        said = streamed(event({"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": 3.0}}), DONE)
        assert (said.input_tokens, said.output_tokens, said.error) == (None, 3, None)

    def test_reasoning_beside_the_others_where_zero_means_not_counted(self):
        assert streamed(event({"choices": [], "usage": {"reasoning_tokens": 4}}), DONE).reasoning_tokens == 4
        assert streamed(event({"choices": [], "usage": {"reasoning_tokens": 0}}), DONE).reasoning_tokens is None
        assert streamed(usage_event(1, 1, completion_tokens_details={"reasoning_tokens": 0}), DONE).reasoning_tokens == 0

    @pytest.mark.parametrize("value", [None, {}, [], "x", 1])
    def test_of_no_use_is_left(self, value):
        said = streamed(event({"choices": [], "usage": value}), DONE)
        assert (said.output_tokens, said.error) == (None, None)


class TestHowAStreamEnds:
    def test_done_is_enough(self):
        assert streamed(chunk({"content": "a"}), DONE).error is None

    def test_a_finish_reason_is_enough(self):
        assert streamed(chunk({"content": "a"}, "stop")).error is None

    @pytest.mark.parametrize("last", [chunk({"content": "b"}), chunk({"content": "b"}, ""), b"data: [DO", b"data: {", b""])
    def test_neither_is_truncated(self, last):
        said = streamed(chunk({"content": "a"}), last)
        assert said.error == "truncated"
        assert "without a finish reason" in said.reason

    def test_nothing_at_all_is_truncated(self):
        assert streamed().error == "truncated"
        assert "empty" in streamed(b"").reason

    @pytest.mark.parametrize("tail", [b"", b"\n"])
    def test_the_last_blank_line_may_be_missing(self, tail):
        said = streamed(chunk({"content": "a"}), chunk({}, "stop").strip() + tail)
        assert (said.error, names(said)) == (None, ["content", "done"])
        said = streamed(chunk({"content": "a"}), DONE.strip() + tail)
        assert (said.error, names(said)) == (None, ["content", "done"])


class TestErrorsInAGoodStatus:
    @pytest.mark.parametrize(
        "bad",
        [
            event({"error": {"message": "out of memory", "code": 500}}),
            event({"error": "out of memory"}),
            b'event: error\ndata: {"message": "out of memory"}\n\n',
            b"event: error\r\ndata: out of memory\r\n\r\n",
            b'error: {"message": "out of memory"}\n\n',
        ],
    )
    def test_an_error_event_fails_the_request_and_keeps_what_came(self, bad):
        said = streamed(chunk({"content": "a"}), bad, usage_event(5, 1), DONE)
        assert said.error == "error_event"
        assert "out of memory" in said.reason
        assert names(said) == ["content", "error", "usage", "done"]

    def test_an_error_that_is_null_is_none(self):
        assert streamed(chunk({"content": "a"}, "stop", error=None)).error is None

    @pytest.mark.parametrize(
        "data", [b"{", b"nonsense", b"[1]", b"5", b'{"choices": 3}', b'{"choices": [{"delta": 1}]}', b"\xff", b"[" * 100_000]
    )
    def test_what_cannot_be_read_is_malformed(self, data):
        said = streamed(chunk({"content": "a"}), event(data), DONE)
        assert said.error == "malformed"
        assert data[:5].decode("utf-8", "replace") in said.reason
        assert names(said) == ["content", "error", "done"]

    def test_the_first_thing_that_went_wrong_counts(self):
        assert streamed(event({"error": "first"}), event(b"{")).reason == '{"error": "first"}'

    def test_what_is_nobodys_event_is_left_alone(self):
        said = streamed(event({"type": "ping"}), b"event: ping\n\n", b"event: message\n" + chunk({"content": "a"}, "stop"))
        assert (said.error, names(said)) == (None, ["role", "role", "content"])


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (301, "http_3xx"),
            (400, "http_4xx"),
            (404, "http_4xx"),
            (429, "rate_limited"),
            (500, "http_5xx"),
            (503, "http_5xx"),
            (101, "malformed"),
        ],
    )
    @pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", None])
    def test_names_the_error_and_keeps_a_sample(self, status, expected, content_type):
        said = CHAT.answer(Answer(status, content_type, [b"it is ", b"late" + b"!" * 1000], complete=True))
        assert said.error == expected
        assert said.reason == ("it is late" + "!" * 1000)[:500]
        assert said.channels == []

    def test_an_empty_body_is_named(self):
        assert CHAT.answer(Answer(404, None, [], complete=True)).reason == "(empty body)"


ANSWER = {
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": usage(5, 2, completion_tokens_details={"reasoning_tokens": 1}),
}


class TestAnAnswerThatIsNotStreamed:
    def test_is_one_event_at_the_read_that_completed_it(self):
        said = whole(ANSWER)
        assert (said.error, names(said), said.reads, said.at_end, said.tokens) == (None, ["content"], [1], [True], [0])
        assert (said.input_tokens, said.output_tokens, said.reasoning_tokens) == (5, 2, 1)
        assert (said.finish_reason, said.model, said.think_tags) == ("stop", "m", False)

    @pytest.mark.parametrize("content_type", [None, "text/plain"])
    def test_counts_whatever_its_content_type_says(self, content_type):
        assert whole(ANSWER, content_type=content_type).error is None

    @pytest.mark.parametrize(
        ("body", "expected"), [(b"<html>", "malformed"), (b"{}", "malformed"), (b"[]", "malformed"), (b"", "malformed")]
    )
    def test_is_malformed_if_it_is_no_completion(self, body, expected):
        assert whole(body, content_type="text/html").error == expected

    def test_is_truncated_if_half_of_it_came(self):
        assert whole(b'{"choices": [', complete=False).error == "truncated"

    def test_may_be_an_error(self):
        said = whole({"error": {"message": "no"}})
        assert (said.error, said.reason) == ("error_event", '{"error": {"message": "no"}}')


@pytest.mark.parametrize("deltas", [["<think>", "a"], ["<", "thi", "nk>a"], ["a<think>b</think>"]])
def test_thinking_aloud_is_noted(deltas):
    assert streamed(*(chunk({"content": text}) for text in deltas), DONE).think_tags
    assert not streamed(*(chunk({"reasoning_content": text}) for text in deltas), DONE).think_tags
    assert whole({"choices": [{"message": {"content": "".join(deltas)}}]}).think_tags


class TestWhatWasGenerated:
    def test_is_told_only_where_it_was_not_counted(self):
        told = (chunk({"role": "assistant", "content": ""}), chunk({"content": "a"}), chunk({"content": " b"}), chunk({}, "stop"))
        assert streamed(*told, DONE).text == "a b"
        assert streamed(*told, usage_event(5, 2), DONE).text is None
        assert streamed(*told, event({"choices": [], "usage": {"prompt_tokens": 5}}), DONE).text == "a b"
        assert streamed(*told, usage_event(5, 0), DONE).text is None

    @pytest.mark.parametrize(
        ("deltas", "text"),
        [
            ([{"reasoning_content": "hm"}, {"reasoning": "so"}, {"content": "a"}], "hmsoa"),
            ([{"reasoning_content": "hm", "content": "a"}], "hma"),
            ([{"refusal": "no"}], "no"),
            ([{"tool_calls": [{"function": {"name": "f", "arguments": ""}}]}, {"tool_calls": [{"function": {"arguments": "{}"}}]}], "f{}"),
            ([{"tool_calls": [1, {"function": 2}, {"function": {"name": 3}}]}, {"tool_calls": "x"}], ""),
            ([{"content": [{"type": "text", "text": "a"}, {"type": "x"}, 3]}, {"content": 5}], "a"),
            ([], ""),
        ],
    )
    def test_is_of_every_channel(self, deltas, text):
        assert streamed(*map(chunk, deltas), DONE).text == text
        if len(deltas) == 1:
            assert whole({"choices": [{"message": deltas[0]}]}).text == text

    def test_is_told_choice_by_choice(self):
        def of(index, text):
            return event({"choices": [{"index": index, "delta": {"content": text}}]})

        said = streamed(of(0, "a"), of(1, "x"), of(0, "b"), of(1, "y"), DONE)
        assert (said.text, said.choices) == ("abxy", 2)


class TestSeveralChoices:
    def of(self, index, delta, finish=None, **more):
        return event({"choices": [{**choice(delta, finish), "index": index}], **more})

    def test_have_ended_when_each_has(self):
        both = (self.of(0, {"content": "a"}), self.of(1, {"content": "x"}), self.of(1, {}, "stop"))
        assert streamed(*both).error == "truncated"
        assert streamed(*both, self.of(0, {}, "stop")).error is None
        assert streamed(*both, DONE).error is None

    def test_share_one_prompt_and_add_up_what_they_generate(self):
        said = streamed(self.of(0, {"content": "a"}, "stop", usage=usage(5, 2)), self.of(1, {"content": "x"}, "stop", usage=usage(5, 3)))
        assert (said.input_tokens, said.output_tokens, said.tokens) == (5, 5, [2, 3])

    def test_of_which_one_carries_the_whole_usage(self):
        said = streamed(self.of(0, {"content": "a"}, "stop"), self.of(1, {"content": "x"}, "stop"), self.of(0, {}, usage=usage(5, 9)), DONE)
        assert (said.input_tokens, said.output_tokens) == (5, 9)
