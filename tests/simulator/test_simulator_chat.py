import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.simulator import Simulator
from aiperf.simulator.answers import Exchange, Request, speaker
from aiperf.simulator.bodies import Plan, Refusal, Script, planned, refused, whole_answer, word_count
from aiperf.simulator.draws import FAULTS
from aiperf.simulator.model import Ask

chat_plan = partial(planned, "chat")
HELLO = {"model": "simulator", "messages": [{"role": "user", "content": "one two three"}]}


def plan(fault=None, options=None, **body):
    return chat_plan(json.dumps(HELLO | body).encode(), options or Simulator(), fault)


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
    parts = [{"type": "text", "text": "a b"}, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "c"}]
    messages = [{"role": "system", "content": "one two"}, {"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    assert plan(messages=messages).prompt_tokens == 5
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
    refusal = chat_plan(body, Simulator())
    assert isinstance(refusal, Refusal)
    assert refusal.status == status
    assert says in refusal.message
    head, _, said = refused(refusal).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(said)["error"]["code"] == status


@given(st.binary(max_size=80))
def test_no_body_breaks_it(body):
    assert isinstance(chat_plan(body, Simulator()), Refusal)


HALVED = ("error_event", "error_named", "truncated", "malformed", "reset_mid", "stall")
UNCUT = ("slow_headers", "close_after", "close_idle")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_cuts_the_answer(fault):
    half, least = (8, 1) if fault in HALVED else (16, 1) if fault in UNCUT else (1, 1)
    assert plan(fault, max_tokens=16).brought_forth == half
    assert plan(fault, max_tokens=1).brought_forth == least


@given(st.integers(1, 2000), st.floats(0, 1), st.booleans())
def test_the_events_of_a_stream(tokens, reasoning, usage):
    found = plan(options=Simulator(reasoning=reasoning), max_tokens=tokens, stream=True, stream_options={"include_usage": usage})
    assert found.reasoning == round(reasoning * tokens)
    script = Script(found, 7, 1_700_000_000, "simulator")
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
    def end(fault):
        return Script(plan(fault, stream=True), 1, 0, "simulator").end

    (event,) = events(end("error_event"))
    assert json.loads(event)["error"]["code"] == 500
    named = end("error_named").partition(b"\r\n")[2]
    assert named.startswith(b"event: error\ndata: {")
    assert b'"error"' not in named
    assert named.endswith(b"\n\n\r\n0\r\n\r\n")
    assert [end(fault) for fault in ("truncated", "reset_mid", "stall")] == [b""] * 3


def test_a_malformed_event_stands_before_a_proper_end():
    bad, *rest = events(Script(plan("malformed", stream=True), 1, 0, "simulator").end)
    assert bad.startswith(b'{"id":')
    with pytest.raises(json.JSONDecodeError):
        json.loads(bad)
    assert [json.loads(part)["choices"][0]["finish_reason"] for part in rest[:-1]] == ["stop"]
    assert rest[-1] == b"[DONE]"


def test_an_answer_without_end_would_be_one_if_it_had_an_end():
    found, sent = plan("endless", max_tokens=3), []
    line = SimpleNamespace(send=sent.append, pour=lambda spring: sent.append(spring()))
    exchange = Exchange(line, Request(b"POST", b"/", 1, b"", 10**9), found, None, 7, Simulator(), lambda: 5, found.fault, Ask(1, 1, 1, 0))
    speaker(exchange)(1)
    data = sent[0].partition(b"\r\n\r\n")[2] + sent[1]
    body = b""
    while data:
        length, _, data = data.partition(b"\r\n")
        size = int(length, 16)
        body, data = body + data[:size], data[size + 2 :]
    whole = whole_answer(replace(found, tokens=exchange.tokens), 7, 1, "simulator")
    assert whole.startswith(body)
    assert body.endswith(b" word word word")


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


def test_blocks_of_a_prompt_are_of_its_template_and_its_words():
    cached = Simulator(preset="small_gpu", block_tokens=2)
    longer = [{"role": "user", "content": "one two three"}, {"role": "assistant", "content": "four five"}]
    short, long = plan(options=cached), plan(options=cached, messages=longer)
    assert (len(short.blocks), len(long.blocks)) == (1, 2)
    assert short.blocks == long.blocks[:1]
    assert len(set(plan(options=Simulator(preset="small_gpu", block_tokens=2, template_tokens=3)).blocks) - set(long.blocks)) == 3
    assert plan(options=Simulator(preset="small_gpu", prefix_cache=False)).blocks == plan().blocks == ()


def test_what_the_blocks_can_never_hold_is_refused_as_too_long():
    few = Simulator(preset="small_gpu", kv_blocks=2)
    assert plan(options=few, max_tokens=29).tokens == 29
    refusal = plan(options=few, max_tokens=30)
    assert refusal.status == 400
    assert "maximum context length is 32 tokens" in refusal.message
    assert "requested 33 tokens (3 in the prompt, 30 in the answer)" in refusal.message


def test_tokens_that_come_out_together_are_one_event_where_they_are_guessed():
    alone = plan(options=Simulator(reasoning=0.5), stream=True)
    joined = plan(options=Simulator(preset="small_gpu", speculative={}, reasoning=0.5), stream=True)
    one, several = (Script(found, 7, 0, "simulator") for found in (alone, joined))
    assert one.tokens(2, 3) == one.thought * 2 + one.word * 3
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events(several.tokens(2, 3))]
    assert deltas == [{"reasoning_content": " thought thought"}, {"content": " word word word"}]
    assert several.tokens(0, 1) == several.word == one.word
