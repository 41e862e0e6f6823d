from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spooled import DONE, ROLE, START, exchange, good, token, usage

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.chat import ChatEndpoint
from aiperf.processing import derive
from aiperf.records import CHANNELS, SCHEMA
from aiperf.seams import Answer, Said
from aiperf.spool import APART, DRAINED, MERGED, TOGETHER, USER, WHOLE, Exchange

CHAT = ChatEndpoint(Endpoint(url="http://h"), model="m", exact=False)
MS = 1_000_000


def row(one, said, **more):
    return SimpleNamespace(**derive.row(one, said, **more))


def derived(one, due_ns=START):
    said = CHAT.answer(Answer(one.status, one.content_type, one.bodies, one.error is None))
    return row(one, said, due_ns=due_ns, generator=1)


def channels(made):
    return [CHANNELS[channel] for channel in made.chunk_channel]


def test_fields_are_the_columns_of_records():
    assert {*vars(derived(good(1))), "model"} == set(SCHEMA.names)


def test_a_good_stream():
    made = derived(good(7, 3, url=1))
    assert (made.request, made.phase, made.session, made.turn, made.generator, made.url) == (7, "profiling", 7, 0, 1, 1)
    assert (made.due_ns, made.ready_ns, made.started_ns, made.sent_ns, made.end_ns) == (START, START, START, START, START + 6 * MS)
    assert (made.first_token_ns, made.first_token_low_ns, made.first_output_token_ns) == (START + 2 * MS,) * 3
    assert made.last_token_ns == START + 4 * MS
    assert made.chunk_ns == [START + 2 * MS, START + 3 * MS, START + 4 * MS]
    assert (channels(made), made.chunk_tokens) == (["content"] * 3, [0, 0, 0])
    assert (made.stamp, made.coalesced, made.status, made.error, made.reason, made.finish_reason) == ("kernel", 0, 200, None, None, "stop")
    assert (made.asked_input_tokens, made.asked_output_tokens, made.input_tokens, made.output_tokens) == (5, 2, 5, 3)


def test_due_is_ready_in_closed_loop():
    assert derived(good(1, ready=START + 3), due_ns=None).due_ns == START + 3


class TestTheFirstToken:
    """A read's stamp is exact for the event that ends it; else the token came after what is known to have been empty."""

    @pytest.mark.parametrize("kind", [None, WHOLE, DRAINED, APART, TOGETHER])
    def test_is_exact_at_the_end_of_its_read(self, kind):
        made = derived(exchange(1, [ROLE + token(), DONE], marks=[] if kind is None else [0, kind, START + 7]))
        assert made.first_token_ns == made.first_token_low_ns == START + MS

    @pytest.mark.parametrize("kind", [MERGED, USER])
    def test_is_an_interval_where_the_stamp_is_not_its_own(self, kind):
        made = derived(exchange(1, [token(), DONE], marks=[0, kind, START + 7]))
        assert (made.first_token_low_ns, made.first_token_ns) == (START + 7, START + MS)

    @pytest.mark.parametrize("kind", [WHOLE, DRAINED, APART, MERGED, USER])
    def test_is_an_interval_with_something_behind_it(self, kind):
        made = derived(exchange(1, [token() + token(), DONE], marks=[0, kind, START + 7]))
        assert (made.first_token_low_ns, made.first_token_ns) == (START + 7, START + MS)

    def test_is_exact_anywhere_in_one_segment(self):
        made = derived(exchange(1, [token() + token() + DONE], marks=[0, TOGETHER, START + 7]))
        assert made.first_token_ns == made.first_token_low_ns == START + MS

    @pytest.mark.parametrize("marks", [[], [0, MERGED, START - 7]])
    def test_did_not_come_before_it_was_asked_for(self, marks):
        made = derived(exchange(1, [token() + token(), DONE], marks=marks))
        assert (made.first_token_low_ns, made.first_token_ns) == (START, START + MS)

    def test_takes_the_mark_of_its_own_read(self):
        made = derived(exchange(1, [ROLE, token() + token(), DONE], marks=[0, MERGED, START + 7, 1, MERGED, START + 9]))
        assert made.first_token_low_ns == START + 9

    def test_cut_in_two_came_with_its_last_byte(self):
        body = token()
        made = derived(exchange(1, [ROLE + body[:9], body[9:-1], body[-1:], DONE]))
        assert made.first_token_ns == made.first_token_low_ns == START + 3 * MS

    def test_low_is_never_above_the_stamp(self):
        made = derived(exchange(1, [token() + token(), DONE], marks=[0, MERGED, START + 2 * MS]))
        assert made.first_token_low_ns == made.first_token_ns == START + MS


def test_reasoning_is_a_first_token_and_no_first_output():
    made = derived(exchange(1, [token("h", kind="reasoning"), token("m", kind="reasoning_content"), token(), token("", "stop")]))
    assert (made.first_token_ns, made.first_output_token_ns, made.last_token_ns) == (START + MS, START + 3 * MS, START + 3 * MS)
    assert channels(made) == ["reasoning", "reasoning", "content"]
    assert (made.output_tokens, made.reasoning_tokens) == (3, 2)


def test_an_answer_that_only_reasoned_has_no_first_output():
    made = derived(exchange(1, [token("h", "length", kind="reasoning")]))
    assert (made.first_token_ns, made.first_output_token_ns) == (START + MS, None)


def test_events_that_share_a_read_are_coalesced():
    made = derived(exchange(1, [ROLE + token(), token() + token() + token(), token(), token("", "stop") + DONE]))
    assert made.coalesced == 2
    assert len(made.chunk_ns) == 5


def test_a_read_in_user_space_marks_the_request():
    assert derived(good(1, marks=[2, USER, START])).stamp == "user"
    assert derived(good(1, marks=[2, DRAINED, USER])).stamp == "kernel"


class TestCounts:
    def usages(self, *counts):
        return [{"prompt_tokens": 5, "completion_tokens": count} for count in counts]

    def test_without_usage_are_the_events(self):
        made = derived(exchange(1, [token(), token(finish="stop")]))
        assert (made.input_tokens, made.output_tokens, made.reasoning_tokens) == (None, 2, None)

    def test_by_event_keep_the_servers_sum(self):
        texts = ["", "a", "", "b", "", ""]
        bodies = [token(text, usage=said) for text, said in zip(texts, self.usages(0, 1, 2, 4, 5, 6))]
        made = derived(exchange(1, [*bodies, token("", "stop", usage=self.usages(7)[0]), usage(5, 7), DONE]))
        assert made.chunk_tokens == [1, 6]
        assert made.output_tokens == 7

    def test_of_reasoning_are_the_servers_by_event(self):
        made = derived(
            exchange(
                1,
                [
                    token("a", kind="reasoning", usage=self.usages(3)[0]),
                    token("b", "stop", usage=self.usages(5)[0]),
                ],
            )
        )
        assert (made.output_tokens, made.reasoning_tokens, made.chunk_tokens) == (5, 3, [3, 2])

    def test_of_reasoning_are_not_events_where_the_server_counts_otherwise(self):
        made = derived(exchange(1, [token("a b c", kind="reasoning"), token("d", "stop"), usage(5, 4), DONE]))
        assert (made.output_tokens, made.reasoning_tokens) == (4, None)

    @pytest.mark.parametrize(("asked", "choices", "in_all"), [(4, 1, 4), (4, 3, 12), (0, 3, None), (2**30, 4, 2**31 - 1)])
    def test_that_were_asked_for_are_asked_of_each_answer_to_a_batch(self, asked, choices, in_all):
        made = row(exchange(1, asked_output=asked), Said(choices=choices), due_ns=START, generator=0)
        assert made.asked_output_tokens == in_all


class TestAnAnswerThatIsNotStreamed:
    BODY = b'{"choices": [{"message": {"content": "hello"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}'

    def whole(self, **more):
        return derived(exchange(1, [self.BODY[:9], self.BODY[9:]], content_type="application/json", **more))

    def test_has_its_tokens_when_it_has_ended(self):
        made = self.whole(end=START + 9 * MS)
        assert (made.first_token_ns, made.first_token_low_ns, made.first_output_token_ns) == (None, None, None)
        assert made.last_token_ns == START + 9 * MS
        assert (list(made.chunk_ns), made.output_tokens, made.error) == ([], 2, None)

    def test_without_an_end_has_its_last_read(self):
        assert self.whole(end=None).last_token_ns == START + 2 * MS

    def test_that_failed_has_none(self):
        made = derived(exchange(1, [b"no"], status=404, content_type="application/json"))
        assert (made.error, made.reason, made.last_token_ns, made.output_tokens) == ("http_4xx", "no", None, None)

    def test_without_usage_has_no_count(self):
        made = derived(exchange(1, [b'{"choices": [{"message": {"content": "hello"}}]}'], content_type="application/json"))
        assert (made.error, made.output_tokens) == (None, None)


class TestErrors:
    def test_of_the_transport_win_and_stamps_stay(self):
        made = derived(exchange(1, [ROLE, token()], error="reset", reason="connection reset by peer"))
        assert (made.error, made.reason) == ("reset", "connection reset by peer")
        assert (made.first_token_ns, made.output_tokens) == (START + 2 * MS, 1)

    def test_of_the_answer_count_where_the_transport_saw_none(self):
        assert derived(exchange(1, [ROLE, token()])).error == "truncated"

    def test_of_one_that_was_never_sent_leave_everything_null(self):
        made = row(Exchange(3, phase=0, error="unsent", reason="duration", last=True), Said(), due_ns=START, generator=None)
        assert (made.phase, made.error, made.reason, made.due_ns, made.stamp) == ("warmup", "unsent", "duration", START, None)
        nulls = {name for name, value in vars(made).items() if value is None}
        assert nulls >= {"ready_ns", "started_ns", "sent_ns", "first_token_ns", "end_ns", "status", "asked_output_tokens", "output_tokens"}


KINDS = st.sampled_from([WHOLE, DRAINED, APART, TOGETHER, MERGED, USER])
PIECES = st.sampled_from([ROLE, token(), token("x", kind="reasoning"), token("", "stop"), usage(5, 2), DONE, b": ping\n\n", b"data: {"])


@given(
    st.lists(PIECES, max_size=8).map(b"".join),
    st.lists(st.integers(0, 2000), max_size=6),
    st.lists(st.tuples(st.integers(0, 6), KINDS), max_size=3),
)
def test_moments_are_in_order_whatever_came(stream, places, marks):
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    bodies = [stream[a:b] for a, b in pairwise(edges)]
    made = derived(exchange(1, bodies, marks=[value for read, kind in marks for value in (read, kind, START + 100 * read)]))
    assert len(made.chunk_ns) == len(made.chunk_channel) == len(made.chunk_tokens)
    assert list(made.chunk_ns) == sorted(made.chunk_ns)
    if made.chunk_ns:
        assert made.sent_ns <= made.first_token_low_ns <= made.first_token_ns == made.chunk_ns[0] <= made.last_token_ns <= made.end_ns
        assert 0 <= made.coalesced < len(made.chunk_ns)
    else:
        assert (made.first_token_ns, made.last_token_ns) == (None, None)
