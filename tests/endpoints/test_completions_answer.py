import json

import pytest
from dialects import (
    BATCH_LLAMA_CPP,
    BATCH_PER_CHUNK,
    BATCH_VLLM,
    DONE,
    TEXT_LAST_TOKEN,
    TEXT_LLAMA_CPP,
    TEXT_NO_USAGE,
    TEXT_PER_CHUNK,
    TEXT_VLLM,
    event,
    part,
    usage,
    usage_event,
)

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.completions import CompletionsEndpoint
from aiperf.records import CHANNELS
from aiperf.seams import Answer

TEXT = CompletionsEndpoint(Endpoint(url="http://h"), model="m", exact=False)


def streamed(*bodies):
    return TEXT.answer(Answer(200, "text/event-stream", bodies, complete=True))


def whole(said, *, complete=True):
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return TEXT.answer(Answer(200, "application/json", (body[:7], body[7:], b""), complete))


def names(said):
    return [CHANNELS[channel] for channel in said.channels]


@pytest.mark.parametrize(
    ("stream", "channels", "counted", "finish", "text"),
    [
        (TEXT_VLLM, ["content", "content", "done", "usage", "done"], (5, 3), "length", None),
        (TEXT_LLAMA_CPP, ["content", "content", "usage", "done"], (5, 2), "stop", None),
        (TEXT_PER_CHUNK, ["content", "usage", "content", "usage", "done"], (5, 4), "stop", None),
        (TEXT_NO_USAGE, ["content", "content"], (None, None), "stop", "ab"),
        (TEXT_LAST_TOKEN, ["content", "content"], (5, 2), "length", None),
        (BATCH_VLLM, ["content", "content", "content", "content", "done", "usage", "done"], (9, 5), "length", None),
        (BATCH_LLAMA_CPP, ["content", "content", "usage", "content", "usage", "done"], (9, 3), "length", None),
        (BATCH_PER_CHUNK, ["content", "content", "content", "content", "usage", "done"], (9, 5), "stop", None),
    ],
)
def test_every_dialect_is_understood(stream, channels, counted, finish, text):
    said = streamed(*stream)
    assert (said.error, said.reason) == (None, None)
    assert names(said) == channels
    assert (said.input_tokens, said.output_tokens, said.reasoning_tokens) == (*counted, None)
    assert (said.finish_reason, said.model, said.text) == (finish, "m", text)
    assert said.reads == list(range(len(stream)))


@pytest.mark.parametrize("text", ["", None])
def test_a_text_of_nothing_is_no_token(text):
    assert names(streamed(part(text), part(text, "stop"))) == ["role", "done"]


def test_tokens_by_event_are_each_choices_own_differences():
    assert streamed(*TEXT_PER_CHUNK).tokens == [1, 1, 2, 0, 0]
    assert streamed(*BATCH_PER_CHUNK).tokens == [1, 2, 1, 1, 0, 0]
    assert set(streamed(*BATCH_VLLM).tokens) == set(streamed(*TEXT_LLAMA_CPP).tokens) == {0}


class TestABatch:
    def test_says_how_many_answers_it_holds(self):
        assert [streamed(*stream).choices for stream in (TEXT_VLLM, BATCH_VLLM, BATCH_LLAMA_CPP)] == [1, 2, 2]

    def test_has_ended_when_every_choice_has(self):
        both = (part("a"), part("x", index=1))
        assert streamed(*both, part("", "stop"), part("", "stop", index=1)).error is None
        assert streamed(*both, part("", "stop", index=1), part("", "stop")).error is None
        assert streamed(*both, part("", "stop"), DONE).error is None

    @pytest.mark.parametrize("ended", [0, 1])
    def test_that_stops_before_is_truncated(self, ended):
        said = streamed(part("a"), part("x", index=1), part("", "stop", index=ended))
        assert said.error == "truncated"

    def test_may_come_several_choices_an_event(self):
        choices = [{"index": i, "text": f"t{i}", "finish_reason": None} for i in range(3)]
        ends = [{"index": i, "text": "", "finish_reason": "stop"} for i in range(3)]
        said = streamed(event({"choices": choices}), event({"choices": ends, "usage": usage(12, 3)}))
        assert (said.error, names(said), said.choices) == (None, ["content", "usage"], 3)
        assert (said.input_tokens, said.output_tokens) == (12, 3)

    def test_without_usage_is_told_choice_by_choice(self):
        assert streamed(part("a"), part("x", index=1), part("b"), part("y", index=1), DONE).text == "abxy"

    def test_that_counts_only_some_things_keeps_what_it_counted(self):
        said = streamed(
            part("a", usage={"prompt_tokens": 5}),
            part("x", index=1, usage=usage(4, 1)),
            part("b", "stop", usage={"completion_tokens": 2}),
            DONE,
        )
        assert (said.input_tokens, said.output_tokens) == (9, 3)

    def test_of_impossible_counts_has_none(self):
        most = 2**31 - 1
        said = streamed(part("a", usage=usage(most, most)), part("x", index=1, usage=usage(most, most)), DONE)
        assert (said.input_tokens, said.output_tokens) == (most, most)

    @pytest.mark.parametrize("index", [None, "0", [], {}, 0.0, "x", -1, 10**30])
    def test_a_strange_index_harms_nothing(self, index):
        said = streamed(part("a", "stop", index=index, usage=usage(5, 1)), DONE)
        assert (said.error, names(said), said.output_tokens) == (None, ["content", "done"], 1)


class TestErrors:
    def test_an_error_event_keeps_what_came(self):
        said = streamed(part("a"), event({"error": {"message": "out of memory"}}), DONE)
        assert (said.error, names(said)) == ("error_event", ["content", "error", "done"])
        assert "out of memory" in said.reason

    def test_a_stream_that_stops_is_truncated(self):
        assert streamed(part("a")).error == "truncated"
        assert streamed().error == "truncated"

    def test_what_cannot_be_read_is_malformed(self):
        assert streamed(part("a"), event(b'{"choices": {'), DONE).error == "malformed"
        assert streamed(event({"choices": [1]}), DONE).error == "malformed"

    def test_usage_does_not_make_up_for_a_missing_end(self):
        assert streamed(part("a"), usage_event(5, 1)).error == "truncated"


class TestAnAnswerThatIsNotStreamed:
    def answer(self, count=1, **more):
        return {"model": "m", "choices": [{"index": i, "text": f"hello{i}", "finish_reason": "stop"} for i in range(count)], **more}

    def test_is_one_event_at_the_read_that_completed_it(self):
        said = whole(self.answer(usage=usage(5, 2)))
        assert (said.error, names(said), said.reads, said.at_end, said.tokens) == (None, ["content"], [1], [True], [0])
        assert (said.input_tokens, said.output_tokens, said.finish_reason, said.model, said.text) == (5, 2, "stop", "m", None)

    def test_of_a_batch_counts_all_of_it(self):
        said = whole(self.answer(3, usage=usage(15, 6)))
        assert (said.choices, said.input_tokens, said.output_tokens) == (3, 15, 6)

    def test_without_usage_has_its_text(self):
        assert whole(self.answer(2)).text == "hello0hello1"

    @pytest.mark.parametrize("said", [b"<html>", {}, [], {"choices": []}, {"choices": 1}, b"[DONE]", b""])
    def test_is_malformed_if_it_is_no_completion(self, said):
        assert whole(said).error == "malformed"

    def test_is_truncated_if_half_of_it_came(self):
        assert whole(b'{"choices": [', complete=False).error == "truncated"

    def test_may_be_an_error(self):
        assert whole({"error": {"message": "no"}}).error == "error_event"


def test_thinking_aloud_is_noted_in_any_choice():
    assert streamed(part("<thi"), part("x", index=1), part("nk>"), DONE).think_tags
    assert streamed(part("x"), part("<think>", index=1), DONE).think_tags
    assert not streamed(part("<thi"), part("nk>", index=1), DONE).think_tags
