import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.simulator import Simulator
from aiperf.simulator.bodies import Plan, Refusal, Script, planned, whole_answer

completion_plan = partial(planned, "completions")
IDS = st.lists(st.integers(0, 2**40), min_size=1, max_size=9)
TEXT = st.text(alphabet="ab \n", max_size=20)


def plan(fault=None, options=None, **body):
    return completion_plan(json.dumps({"model": "simulator", "prompt": "one two three"} | body).encode(), options or Simulator(), fault)


def chunks(stream):
    """The events of HTTP chunks, each of which must hold one."""
    while stream:
        size, _, stream = stream.partition(b"\r\n")
        event, stream = stream[: int(size, 16)], stream[int(size, 16) + 2 :]
        if event:
            assert event.startswith(b"data: ")
            assert event.endswith(b"\n\n")
            yield event[6:-2]


@given(TEXT)
def test_a_text_has_as_many_tokens_as_words(text):
    found = plan(prompt=text, options=Simulator(template_tokens=9))
    assert (found.prompt_tokens, found.choices) == (len(text.split()), 1)


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_texts_are_answered_by_a_choice_each(texts):
    found = plan(prompt=texts)
    assert (found.prompt_tokens, found.choices) == (sum(len(text.split()) for text in texts), len(texts))


@given(IDS)
def test_ids_are_one_prompt(ids):
    found = plan(prompt=ids)
    assert (found.prompt_tokens, found.choices) == (len(ids), 1)


@given(st.lists(IDS, min_size=1, max_size=5))
def test_lists_of_ids_are_answered_by_a_choice_each(lists):
    found = plan(prompt=lists)
    assert (found.prompt_tokens, found.choices) == (sum(map(len, lists)), len(lists))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["a", 1]}, "not several of these"),
        ({"prompt": [1, [2]]}, "not several of these"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": {"text": "a"}}, "prompt"),
        ({"echo": True}, "echo"),
        ({"n": 2}, "`$.n`"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 3, "min_tokens": 4}, "min_tokens=4"),
        ({"model": "other"}, "'other' does not exist"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_reason(body, says):
    refusal = plan(**body)
    assert isinstance(refusal, Refusal)
    assert refusal.status == (404 if "model" in body else 400)
    assert says in refusal.message


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"model": "simulator"}', b'{"model": "simulator", "prompt": "\xff"}', b'{"x":' + b"[" * 100_000]
)
def test_no_body_breaks_it(body):
    assert isinstance(completion_plan(body, Simulator()), Refusal)


@pytest.mark.parametrize(
    ("body", "tokens", "limited"),
    [
        ({}, 32, False),
        ({"max_tokens": 5}, 5, True),
        ({"max_tokens": 100, "min_tokens": 100, "ignore_eos": True}, 100, True),
        ({"min_tokens": 40}, 40, False),
    ],
)
def test_the_answer_has_exactly_the_tokens_asked_for(body, tokens, limited):
    found = plan(**body)
    assert (found.tokens, found.limited, found.brought_forth) == (tokens, limited, tokens)


@given(st.integers(1, 300), st.integers(1, 4), st.booleans())
def test_the_events_of_a_stream(tokens, prompts, usage):
    found = plan(prompt=["a b"] * prompts, max_tokens=tokens, stream=True, stream_options={"include_usage": usage})
    assert isinstance(found, Plan)
    script = Script(found, 7, 1_700_000_000, "simulator")
    assert script.role == script.thought == b""
    words = [json.loads(event) for event in chunks(script.word)]
    assert [word["choices"] for word in words] == [
        [{"index": index, "text": " word", "logprobs": None, "finish_reason": None}] for index in range(prompts)
    ]
    *end, done = chunks(script.end)
    assert done == b"[DONE]"
    ends = [json.loads(event) for event in end]
    finishes, rest = ends[:prompts], ends[prompts:]
    assert [part["choices"][0] for part in finishes] == [
        {"index": index, "text": "", "logprobs": None, "finish_reason": "length"} for index in range(prompts)
    ]
    assert {(part["object"], part["id"], part["model"]) for part in (*words, *ends)} == {("text_completion", "cmpl-7", "simulator")}
    counts = {"prompt_tokens": 2 * prompts, "completion_tokens": tokens * prompts, "total_tokens": (2 + tokens) * prompts}
    assert rest == ([{**words[0], "choices": [], "usage": counts}] if usage else [])


@pytest.mark.parametrize("usage", [True, False])
def test_an_answer_in_one_piece(usage):
    found = plan(prompt=[[1, 2], [3]], options=Simulator(reasoning=0.5, usage=usage), max_tokens=4)
    said = json.loads(whole_answer(found, 7, 1, "simulator"))
    assert (said["object"], said["id"]) == ("text_completion", "cmpl-7")
    assert said["choices"] == [{"index": index, "text": " word" * 4, "logprobs": None, "finish_reason": "length"} for index in (0, 1)]
    assert said.get("usage") == ({"prompt_tokens": 3, "completion_tokens": 8, "total_tokens": 11} if usage else None)


def test_ids_and_the_same_words_have_the_same_blocks():
    cached = Simulator(preset="small_gpu", block_tokens=2)
    ids, words, batch = (plan(options=cached, prompt=prompt).blocks for prompt in ([1, 2, 3, 4, 5], "1 2 3  4 5", [[1, 2], [3, 4]]))
    assert len(ids) == 2
    assert ids == words == batch
