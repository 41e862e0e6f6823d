"""Streams are read in a hurry where they are plain; read with care they say the same."""

from itertools import chain, pairwise

import pytest
from dialects import ALL, DONE, TEXT_ALL, choice, chunk, event, part, usage, usage_event
from hypothesis import given, settings
from hypothesis import strategies as st

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.chat import ChatEndpoint
from aiperf.endpoints.completions import CompletionsEndpoint
from aiperf.seams import Answer


def mostly(usual, *others):
    return st.sampled_from([usual] * 9 + list(others))


TEXTS = st.sampled_from(["a", " b", "", "\n", '"', "ü", "<think>", "m", "a\\", "|"])
COUNTS = st.sampled_from([0, 1, 2, 5, 9, -1, 2.0, None, "3", True, 2**31])
DETAILS = mostly(None, {}, 1, {"reasoning_tokens": 1}, {"reasoning_tokens": "x"})
COUNTED = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS},
    optional={"completion_tokens_details": DETAILS, "output_tokens_details": DETAILS, "reasoning_tokens": COUNTS, "input_tokens": COUNTS},
)
MORE = st.fixed_dictionaries({}, optional={"usage": COUNTED | mostly(None, {}, [], "x", 0, 1), "error": mostly(None, "", "no")})
INDICES, ENDS = mostly(0, 1, None, 0.0, "0", []), mostly(None, "", "stop", 0)
DELTAS = st.builds(lambda text: {"content": text}, TEXTS) | st.sampled_from(
    [
        {}, None, 1, {"content": None}, {"content": 5}, {"content": [{"text": "a"}]}, {"content": "a", "reasoning": "b"}, {"refusal": "no"},
        {"reasoning_content": "hm", "content": ""}, {"content": "a", "reasoning_content": None}, {"content": "a", "tool_calls": [{}]},
    ]
)  # fmt: skip
ODD = [
    DONE, b"data:\n\n", b": ping\n\n", b"event: error\ndata: {}\n\n", b"event: x\n", b"\n", b"\r\n", b"data: {}\n\n", b"data: x\n\n",
    b"data: {}{}\n\n", b"data: [\n\n", b"data: 1]\n\n", usage_event(5, 3), event({"choices": []}),
    event({"choices": [choice({"content": "a"})] * 2}),
]  # fmt: skip


def said_of(delta, finish, index, more):
    return event({"choices": [{**choice(delta, finish), "index": index}], **more})


CHAT = st.builds(said_of, DELTAS, ENDS, INDICES, MORE) | st.builds(lambda n: chunk({"content": "a"}, usage=usage(5, n)), st.integers(0, 9))
TEXT = st.builds(lambda text, end, index, more: part(text, end, index, **more), TEXTS | st.just(5), ENDS, INDICES, MORE)
PLAIN_CHAT, PLAIN_TEXT = st.builds(lambda text: chunk({"content": text}), TEXTS), st.builds(part, TEXTS)


def streams(*events):
    """Of many events of one kind with some of others between them, wherever they are cut."""
    runs = st.one_of(*(st.lists(one, max_size=8) for one in events), st.lists(st.sampled_from(ODD), max_size=2))
    return st.lists(runs, max_size=4).map(lambda made: [*chain.from_iterable(made)])


def cut(events, places):
    if places is None:
        return events
    whole = b"".join(events)
    edges = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    return [whole[a:b] for a, b in pairwise(edges)]


def same(cls, bodies):
    fast, slow = (cls(Endpoint(url="http://h"), model="m", exact=False) for _ in range(2))

    def no_token(data):
        raise ValueError

    slow.token = no_token
    heard = [b": a comment, so that nothing is uniform\n\n" + bodies[0], *bodies[1:]] if bodies and bodies[0] else bodies
    one, other = (api.answer(Answer(200, "text/event-stream", read, True)) for api, read in ((fast, bodies), (slow, heard)))
    assert one == other


@pytest.mark.parametrize(("cls", "events"), [(ChatEndpoint, (CHAT, PLAIN_CHAT)), (CompletionsEndpoint, (TEXT, PLAIN_TEXT))])
@settings(max_examples=300)
@given(data=st.data())
def test_any_stream_says_the_same_wherever_it_is_cut(cls, events, data):
    same(cls, cut(data.draw(streams(*events)), data.draw(st.none() | st.lists(st.integers(0, 4000), max_size=6))))


@pytest.mark.parametrize(("cls", "dialects"), [(ChatEndpoint, ALL), (CompletionsEndpoint, TEXT_ALL)])
def test_every_dialect_says_the_same(cls, dialects):
    for stream in dialects:
        for size in (1, 2, 3, len(stream)):
            same(cls, [b"".join(stream[i : i + size]) for i in range(0, len(stream), size)])
