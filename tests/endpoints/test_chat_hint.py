import re

import pytest
from dialects import ALL, chunk, event
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.chat import ChatEndpoint
from aiperf.records import CHANNELS, TOKEN_CHANNELS
from aiperf.seams import Answer

CHAT = ChatEndpoint(Endpoint(url="http://h"), model="m", exact=False)
HINT = re.compile(ChatEndpoint.token_hint)
TEXT = st.none() | st.text(max_size=8) | st.sampled_from(['"content": "x"', '{"content":"x"', '"delta":{"content":"x"}', "}{", "\\"])
DELTAS = st.fixed_dictionaries({}, optional=dict.fromkeys(["content", "reasoning_content", "reasoning", "role", "name"], TEXT))


def has_token(said):
    return any(CHANNELS[channel] in TOKEN_CHANNELS for channel in said.channels)


@pytest.mark.parametrize("stream", ALL)
def test_finds_the_events_with_tokens_of_every_dialect_and_no_other(stream):
    for body in stream:
        said = CHAT.answer(Answer(200, "text/event-stream", [body], complete=True))
        assert bool(HINT.search(body)) == has_token(said), body


@pytest.mark.parametrize(
    "body",
    [
        event(b"[DONE]"),
        b": keep-alive\n\n",
        event({"error": {"message": "x", "content": "x"}}),
        event({"choices": [], "content": "x"}),
        event({"choices": [{"delta": {"content": ""}, "logprobs": {"content": [{"token": "x"}]}}]}),
        event({"choices": [{"delta": {"content": None, "tool_calls": []}, "logprobs": {"content": "x"}}]}),
        event({"model": '"delta":{"content":"x"}', "choices": []}),
    ],
)
def test_is_not_taken_in(body):
    assert not HINT.search(body)


@given(DELTAS)
def test_what_it_finds_is_a_token(delta):
    body = chunk(delta, "stop")
    if HINT.search(body):
        assert has_token(CHAT.answer(Answer(200, "text/event-stream", [body], complete=True)))
