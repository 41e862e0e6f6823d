import json
import re

import pytest
from dialects import TEXT_ALL, event, part
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.completions import CompletionsEndpoint
from aiperf.records import CHANNELS, TOKEN_CHANNELS
from aiperf.seams import Answer

TEXT = CompletionsEndpoint(Endpoint(url="http://h"), model="m", exact=False)
HINT = re.compile(CompletionsEndpoint.token_hint)
WORDS = st.none() | st.text(max_size=8) | st.sampled_from(['"text": "x"', '{"text":"x"', '"choices":[{"text":"x"}]', "}{", "\\", '\\"'])
LOGPROBS = st.none() | st.fixed_dictionaries({"tokens": st.lists(WORDS, max_size=2), "text_offset": st.just([0])}) | st.just({"text": "x"})
CHOICES = st.fixed_dictionaries({"text": WORDS, "finish_reason": WORDS}, optional={"logprobs": LOGPROBS, "stop_reason": WORDS})


def has_token(body):
    said = TEXT.answer(Answer(200, "text/event-stream", [body], complete=True))
    return any(CHANNELS[channel] in TOKEN_CHANNELS for channel in said.channels)


@pytest.mark.parametrize("stream", TEXT_ALL)
def test_finds_the_events_with_tokens_of_every_dialect_and_no_other(stream):
    for body in stream:
        assert bool(HINT.search(body)) == has_token(body), body


@pytest.mark.parametrize("keys", [("text", "index", "finish_reason"), ("index", "finish_reason", "text")])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\t", " :\t")])
def test_finds_a_token_however_it_is_spelled(keys, separators):
    choice = {"text": "é", "index": 0, "finish_reason": None}
    body = json.dumps({"id": "x", "choices": [{key: choice[key] for key in keys}]}, separators=separators).encode()
    assert HINT.search(event(body))


@pytest.mark.parametrize(
    "body",
    [
        event(b"[DONE]"),
        b": keep-alive\n\n",
        event({"error": {"message": "x", "text": "x"}}),
        event({"choices": [], "text": "x"}),
        event({"choices": [], "usage": {"text": "x"}}),
        event({"choices": [{"text": "", "logprobs": {"text": "x"}}]}),
        event({"choices": [{"text": None, "finish_reason": "text"}]}),
        event({"model": '"choices":[{"text":"x"}]', "choices": []}),
        event({"choices": [{"finish_reason": '","text":"x'}]}),
        event({"choices": [{"delta": {"text": "x"}}]}),
    ],
)
def test_is_not_taken_in(body):
    assert not HINT.search(body)
    assert not has_token(body)


@given(st.lists(CHOICES, max_size=3), st.permutations(["id", "choices", "model"]), WORDS)
def test_what_it_finds_is_a_token(choices, keys, word):
    body = event({key: choices if key == "choices" else word for key in keys})
    if HINT.search(body):
        assert has_token(body)


@given(WORDS, st.integers(0, 3))
def test_the_first_choice_of_an_event_is_seen(text, index):
    body = part(text, index=index)
    assert bool(HINT.search(body)) == has_token(body)
