import json

import pytest

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.completions import CompletionsEndpoint
from aiperf.errors import ClientError
from aiperf.workload import Turn


def said(turn, *, exact=False, usage=True, **options):
    endpoint = CompletionsEndpoint(Endpoint(url="http://h", **options), model="m", exact=exact, usage=usage)
    return json.loads(endpoint.body(turn))


def test_a_streamed_request_asks_for_usage_and_for_nothing_else():
    assert said(Turn(("hello",))) == {"model": "m", "prompt": "hello", "stream": True, "stream_options": {"include_usage": True}}
    assert said(Turn(("hello",)), usage=False) == {"model": "m", "prompt": "hello", "stream": True}


def test_a_whole_request_says_so():
    assert said(Turn(("hello",)), streaming=False) == {"model": "m", "prompt": "hello", "stream": False}


@pytest.mark.parametrize(
    ("form", "turn", "prompt"),
    [
        ("string", Turn(("a",)), "a"),
        ("string", Turn(("",)), ""),
        ("string", Turn(("a", "b")), ["a", "b"]),
        ("string", Turn(("a",), token_ids=((1, 2),)), "a"),
        ("list", Turn(("a",)), ["a"]),
        ("list", Turn(("a", "b")), ["a", "b"]),
        ("token_ids", Turn(token_ids=((1, 2),)), [1, 2]),
        ("token_ids", Turn(("a", "b"), token_ids=((1, 2), (3,))), [[1, 2], [3]]),
        ("token_ids", Turn(token_ids=([1], [2])), [[1], [2]]),
    ],
)
def test_prompts_take_the_form_that_was_asked_for(form, turn, prompt):
    assert said(turn, prompt=form)["prompt"] == prompt


@pytest.mark.parametrize("form", ["string", "list", "token_ids"])
@pytest.mark.parametrize("turn", [Turn(), Turn(messages=[{"role": "user", "content": "a"}])])
def test_a_turn_without_a_prompt_is_a_client_error(form, turn):
    with pytest.raises(ClientError, match="the turn holds no"):
        said(turn, prompt=form)


def test_ids_that_were_asked_for_and_are_not_there_are_named():
    with pytest.raises(ClientError, match=r"endpoint\.prompt=token_ids, but the turn holds no ids"):
        said(Turn(("a",)), prompt="token_ids")


def test_lengths_are_asked_for_and_exact_ones_exactly():
    assert said(Turn(("a",), 1, 7))["max_tokens"] == 7
    assert "min_tokens" not in said(Turn(("a",), 1, 7))
    exact = said(Turn(("a",), 1, 7), exact=True)
    assert (exact["max_tokens"], exact["min_tokens"], exact["ignore_eos"]) == (7, 7, True)


def test_the_turn_has_the_last_word_and_merges_shallowly():
    turn = Turn(("a",), 1, 7, model="other", extra={"top_p": 0.5, "max_tokens": 3})
    merged = said(turn, extra={"temperature": 0, "stream_options": {"a": 1}, "top_p": 1})
    assert (merged["model"], merged["temperature"], merged["top_p"], merged["max_tokens"]) == ("other", 0, 0.5, 3)
    assert merged["stream_options"] == {"a": 1}


def test_a_payload_is_sent_untouched():
    endpoint = CompletionsEndpoint(Endpoint(url="http://h", extra={"x": 1}, prompt="token_ids"), model="m", exact=True)
    assert endpoint.body(Turn(payload=b'{ "a":1}', output_tokens=3, extra={"b": 2})) == b'{ "a":1}'


def test_what_is_no_json_is_a_client_error():
    with pytest.raises(ClientError, match="cannot be written as JSON"):
        said(Turn(("\ud800",)))
