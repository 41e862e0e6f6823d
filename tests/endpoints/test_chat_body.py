import json

import pytest

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.chat import ChatEndpoint
from aiperf.errors import ClientError
from aiperf.workload import Turn


def endpoint(*, exact=False, **options):
    return ChatEndpoint(Endpoint(url="http://h", **options), model="m", exact=exact)


def test_a_streamed_request_asks_for_usage_and_for_nothing_else():
    body = endpoint().body(Turn(("hello",), 1))
    assert json.loads(body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_whole_request_says_so():
    assert json.loads(endpoint(streaming=False).body(Turn(("hello",), 1))) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": False,
    }


def test_lengths_are_asked_for():
    said = json.loads(endpoint().body(Turn(("hello",), 1, 7)))
    assert said["max_tokens"] == 7
    assert "min_tokens" not in said
    assert "ignore_eos" not in said


def test_exact_lengths_are_asked_for_exactly():
    said = json.loads(endpoint(exact=True).body(Turn(("hello",), 1, 7)))
    assert (said["max_tokens"], said["min_tokens"], said["ignore_eos"]) == (7, 7, True)
    assert "min_tokens" not in json.loads(endpoint(exact=True).body(Turn(("hello",), 1)))


def test_the_turn_has_the_last_word_and_merges_shallowly():
    body = endpoint(extra={"temperature": 0, "stream_options": {"a": 1}, "top_p": 1}).body(
        Turn(("hello",), 1, 7, extra={"top_p": 0.5, "max_tokens": 3})
    )
    said = json.loads(body)
    assert (said["temperature"], said["top_p"], said["max_tokens"]) == (0, 0.5, 3)
    assert said["stream_options"] == {"a": 1}


def test_equal_turns_give_equal_bytes():
    turn = Turn(("hé",), 1, 7, role="system", extra={"b": 1, "a": 2})
    body = endpoint(extra={"z": 1}).body(turn)
    assert body == endpoint(extra={"z": 1}).body(turn)
    assert list(json.loads(body)) == ["model", "messages", "stream", "stream_options", "max_tokens", "z", "b", "a"]
    assert json.loads(body)["messages"] == [{"role": "system", "content": "hé"}]


@pytest.mark.parametrize("value", [object(), "\ud800"])
def test_what_is_no_json_is_a_client_error(value):
    with pytest.raises(ClientError, match="cannot be written as JSON"):
        endpoint().body(Turn(("hello",), 1, extra={"x": value}))


def test_several_texts_are_the_parts_of_one_message():
    said = json.loads(endpoint().body(Turn(("a", "b"), role="system")))
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert said["messages"] == [{"role": "system", "content": parts}]


def test_messages_and_tools_are_sent_as_they_stand():
    messages = [
        {"role": "system", "content": "x"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}], "name": "n"},
    ]
    tools = [{"type": "function", "function": {"name": "f"}}]
    said = json.loads(endpoint().body(Turn(("not this",), messages=messages, tools=tools, output_tokens=3)))
    assert (said["messages"], said["tools"], said["max_tokens"]) == (messages, tools, 3)
    assert "tools" not in json.loads(endpoint().body(Turn(messages=messages)))
    assert json.loads(endpoint().body(Turn(messages=[])))["messages"] == []


def test_the_turns_model_beats_the_configured_one():
    assert json.loads(endpoint().body(Turn(("a",), model="other")))["model"] == "other"
    assert json.loads(endpoint().body(Turn(("a",), model="other", extra={"model": "last"})))["model"] == "last"


def test_a_payload_is_sent_untouched():
    turn = Turn(payload=b'{ "messages" :[]}', output_tokens=3, model="x", extra={"a": 1})
    assert endpoint(exact=True, extra={"b": 1}).body(turn) == b'{ "messages" :[]}'


def test_a_turn_that_says_nothing_is_a_client_error():
    with pytest.raises(ClientError, match="neither a text nor messages"):
        endpoint().body(Turn(token_ids=((1, 2),)))
