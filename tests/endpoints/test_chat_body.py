import json

import pytest

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.chat import ChatEndpoint
from aiperf.errors import ClientError
from aiperf.workload import Turn


def endpoint(*, exact=False, **options):
    return ChatEndpoint(Endpoint(url="http://h", **options), model="m", exact=exact)


def test_a_streamed_request_asks_for_usage_and_for_nothing_else():
    body = endpoint().body(Turn("hello", 1))
    assert json.loads(body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_whole_request_says_so():
    assert json.loads(endpoint(streaming=False).body(Turn("hello", 1))) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": False,
    }


def test_lengths_are_asked_for():
    said = json.loads(endpoint().body(Turn("hello", 1, 7)))
    assert said["max_tokens"] == 7
    assert "min_tokens" not in said
    assert "ignore_eos" not in said


def test_exact_lengths_are_asked_for_exactly():
    said = json.loads(endpoint(exact=True).body(Turn("hello", 1, 7)))
    assert (said["max_tokens"], said["min_tokens"], said["ignore_eos"]) == (7, 7, True)
    assert "min_tokens" not in json.loads(endpoint(exact=True).body(Turn("hello", 1)))


def test_the_turn_has_the_last_word_and_merges_shallowly():
    body = endpoint(extra={"temperature": 0, "stream_options": {"a": 1}, "top_p": 1}).body(
        Turn("hello", 1, 7, extra={"top_p": 0.5, "max_tokens": 3})
    )
    said = json.loads(body)
    assert (said["temperature"], said["top_p"], said["max_tokens"]) == (0, 0.5, 3)
    assert said["stream_options"] == {"a": 1}


def test_equal_turns_give_equal_bytes():
    turn = Turn("hé", 1, 7, role="system", extra={"b": 1, "a": 2})
    body = endpoint(extra={"z": 1}).body(turn)
    assert body == endpoint(extra={"z": 1}).body(turn)
    assert list(json.loads(body)) == ["model", "messages", "stream", "stream_options", "max_tokens", "z", "b", "a"]
    assert json.loads(body)["messages"] == [{"role": "system", "content": "hé"}]


@pytest.mark.parametrize("value", [object(), "\ud800"])
def test_what_is_no_json_is_a_client_error(value):
    with pytest.raises(ClientError, match="cannot be written as JSON"):
        endpoint().body(Turn("hello", 1, extra={"x": value}))
