import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.endpoint import Faults, Simulator
from aiperf.simulator.chat import Message, Plan, Refusal, plan_of, prompt_words, word_count
from aiperf.simulator.script import Script, refused, whole_answer

HELLO = {"model": "simulator", "messages": [{"role": "user", "content": "one two three"}]}


def plan(number=1, options=None, **body):
    return plan_of(json.dumps(HELLO | body).encode(), number, options or Simulator())


def events(stream):
    """The events of HTTP chunks, each of which must hold one."""
    found = []
    while stream:
        size, _, stream = stream.partition(b"\r\n")
        body, stream = stream[: int(size, 16)], stream[int(size, 16) :]
        assert stream.startswith(b"\r\n")
        stream = stream[2:]
        if body:
            assert body.startswith(b"data: ")
            assert body.endswith(b"\n\n")
            assert body.count(b"\n\n") == 1
            found.append(body[6:-2])
    return found


@given(st.text(alphabet=st.sampled_from("ab \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x00\x85\xa0é　"), max_size=60), st.integers(1, 300))
def test_words_are_what_split_finds(text, times):
    assert word_count(text * times) == len((text * times).split())


def test_words_of_all_messages():
    parts = msgspec.convert(
        [{"type": "text", "text": "a b"}, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "c"}], list
    )
    messages = msgspec.convert(
        [{"role": "system", "content": "one two"}, {"role": "user", "content": parts}, {"role": "assistant", "content": None}],
        list[Message],
    )
    assert prompt_words(messages) == 5
    assert plan(options=Simulator(template_tokens=7)).prompt_tokens == 10


@pytest.mark.parametrize(
    ("body", "tokens", "limited"),
    [
        ({}, 32, False),
        ({"max_tokens": 5}, 5, True),
        ({"max_tokens": 5, "max_completion_tokens": 9}, 9, True),
        ({"max_tokens": 100, "min_tokens": 100, "ignore_eos": True}, 100, True),
        ({"min_tokens": 40}, 40, False),
        ({"min_tokens": 4, "max_tokens": None}, 32, False),
    ],
)
def test_the_answer_has_exactly_the_tokens_asked_for(body, tokens, limited):
    found = plan(**body)
    assert (found.tokens, found.limited, found.brought_forth) == (tokens, limited, tokens)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "truncated"),
        (b"{", 400, "truncated"),
        (b"[]", 400, "object"),
        (b'{"x":' + b"[" * 100_000, 400, "recursion"),
        (b'{"model": "simulator"}', 400, "messages"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', 400, "model"),
        (b'{"model": "simulator", "messages": []}', 400, "messages"),
        (b'{"model": "simulator", "messages": [{"role": "user", "content": 3}]}', 400, "content"),
        (b'{"model": "simulator", "messages": [{"role": "user", "content": "\xff"}]}', 400, "utf-8"),
        (json.dumps(HELLO | {"model": "other"}).encode(), 404, "'other' does not exist; there is 'simulator'"),
        (json.dumps(HELLO | {"max_tokens": 0}).encode(), 400, "max_tokens"),
        (json.dumps(HELLO | {"max_tokens": 3, "min_tokens": 4}).encode(), 400, "min_tokens=4"),
        (json.dumps(HELLO | {"n": 2}).encode(), 400, "`$.n`"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_reason(body, status, says):
    refusal = plan_of(body, 1, Simulator())
    assert isinstance(refusal, Refusal)
    assert refusal.status == status
    assert says in refusal.message
    head, _, said = refused(refusal).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(said)["error"]["code"] == status


@given(st.binary(max_size=80))
def test_no_body_breaks_it(body):
    assert isinstance(plan_of(body, 1, Simulator()), Refusal)


@pytest.mark.parametrize(("name", "tokens"), [("error_event", 8), ("truncated", 8), ("http_500", 1), ("reset", 1)])
def test_a_fault_cuts_the_answer(name, tokens):
    options = Simulator(faults=Faults(**{name: 1}))
    assert plan(options=options, max_tokens=16).brought_forth == tokens
    assert plan(options=options, max_tokens=1).brought_forth == 1
    assert plan(number=None, options=options).fault is None


@given(st.integers(1, 2000), st.floats(0, 1), st.booleans())
def test_the_events_of_a_stream(tokens, reasoning, usage):
    found = plan(options=Simulator(reasoning=reasoning), max_tokens=tokens, stream=True, stream_options={"include_usage": usage})
    assert found.reasoning == round(reasoning * tokens)
    script = Script(found, 7, 1_700_000_000, b'"simulator"')
    role, word = (json.loads(events(part)[0]) for part in (script.role, script.word))
    assert role["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    assert word["choices"] == [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]
    *end, done = events(script.end)
    assert done == b"[DONE]"
    finish, *rest = map(json.loads, end)
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
    assert [chunk["choices"] for chunk in rest] == [[]] * usage
    assert {chunk["id"] for chunk in (role, word, finish, *rest)} == {"chatcmpl-7"}
    if usage:
        counts = {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}
        thought = {"completion_tokens_details": {"reasoning_tokens": found.reasoning}} if found.reasoning else {}
        assert rest[0]["usage"] == counts | thought
    assert script.end.endswith(b"0\r\n\r\n")


def test_a_stream_that_fails_ends_in_an_error_and_nothing_else():
    script = Script(plan(options=Simulator(faults=Faults(error_event=1)), stream=True), 1, 0, b'"simulator"')
    (event,) = events(script.end)
    assert json.loads(event)["error"]["code"] == 500
    assert Script(plan(options=Simulator(faults=Faults(truncated=1)), stream=True), 1, 0, b'"simulator"').end == b""


@pytest.mark.parametrize("usage", [True, False])
def test_an_answer_in_one_piece(usage):
    found = plan(options=Simulator(reasoning=0.25, usage=usage), max_tokens=8)
    assert isinstance(found, Plan)
    said = json.loads(whole_answer(found, 7, 1, "simulator"))
    message = said["choices"][0]["message"]
    assert (len(message["content"].split()), len(message["reasoning_content"].split())) == (6, 2)
    assert said["choices"][0]["finish_reason"] == "length"
    assert said.get("usage") == (
        {"prompt_tokens": 3, "completion_tokens": 8, "total_tokens": 11, "completion_tokens_details": {"reasoning_tokens": 2}}
        if usage
        else None
    )
