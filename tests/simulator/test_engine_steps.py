from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepping import MS, engine, on_bench

from aiperf.config.simulator import Simulator, Speculative, presets
from aiperf.simulator.draws import accepted_drafts
from aiperf.simulator.model import Ask
from aiperf.simulator.service import made


def at(bench, ask):
    return [at_ns // MS for at_ns in bench.times(ask)]


def test_a_step_begins_with_an_arrival_and_then_back_to_back():
    bench = engine()
    asks = [Ask(0, 5, 3, 7 * MS), Ask(1, 5, 2, 12 * MS), Ask(2, 5, 1, 90 * MS)]
    bench.play(asks)
    assert [at(bench, ask) for ask in asks] == [[17, 27, 37], [27, 37], [100]]
    assert [ask.admitted_ns // MS for ask in asks] == [7, 17, 90]
    assert bench.model.load().steps == 4


def test_what_a_step_takes():
    bench = engine(step_ms=1, prefill_us_per_token=10, decode_us_per_request=100, context_ns_per_token=1000)
    first, second = Ask(0, 100, 3, 0), Ask(1, 50, 1, 500)
    bench.play([first, second])
    one = MS + 100 * 10_000 + 100 * 1000
    two = one + MS + 50 * 10_000 + 100_000 + (101 + 50) * 1000
    assert bench.times(first) == [one, two, two + MS + 100_000 + 102 * 1000]
    assert bench.times(second) == [two]


def test_prompts_are_cut_to_what_the_budget_leaves_in_the_order_of_arrival():
    bench = engine(max_batched_tokens=10, max_running=4)
    asks = [Ask(0, 4, 4, 0), Ask(1, 25, 2, 1), Ask(2, 3, 1, 2)]
    bench.play(asks)
    # 4 | 1 + 9 | 1 + 9 | 1 + 7 + 2 | 1 + 1
    assert [at(bench, ask) for ask in asks] == [[10, 20, 30, 40], [40, 50], [50]]
    assert [ask.admitted_ns // MS for ask in asks] == [0, 10, 30]


def test_no_more_run_than_may():
    bench = engine(max_running=2)
    asks = [Ask(number, 1, 3, number) for number in range(5)]
    bench.play(asks)
    assert [at(bench, ask)[-1] for ask in asks] == [30, 40, 60, 70, 90]


def test_an_answer_in_one_piece_and_one_whose_client_is_gone():
    bench = engine(kv_blocks=3, block_tokens=16)
    whole, gone, later = Ask(0, 1, 4, 0, streamed=False), Ask(1, 16, 30, 0), Ask(2, 32, 2, 0)
    for ask in (whole, gone, later):
        bench.arrive(ask)
    bench.now_ns = 20 * MS
    bench.model.advance(bench.now_ns)
    bench.model.leave(gone)
    bench.model.leave(gone)
    bench.run()
    assert bench.told[whole] == [(40 * MS, 4)]
    assert len(bench.told[gone]) == 2
    assert at(bench, later) == [40, 50]
    assert later.admitted_ns == 30 * MS  # at 20 ms a step had begun; the blocks of who had gone were free for the next
    bench.model.leave(whole)
    assert bench.model.advance(10**12) is None


def test_who_leaves_before_it_was_taken_on_leaves_nothing():
    bench = engine()
    asks = [Ask(number, 1, 1, 50 * MS * number) for number in range(3)]
    for ask in asks:
        bench.arrive(ask)
    for ask in asks:
        bench.model.leave(ask)
    assert bench.model.advance(10**10) is None
    assert bench.model.load().steps == 0


REQUESTS = st.lists(
    st.tuples(st.integers(0, 200 * MS), st.integers(1, 60), st.integers(1, 25), st.booleans(), st.integers(0, 3)), min_size=1, max_size=14
)
SHAPES = st.fixed_dictionaries(
    {
        "max_running": st.integers(1, 5),
        "max_batched_tokens": st.integers(25, 40),
        "kv_blocks": st.one_of(st.none(), st.integers(11, 30)),
        "block_tokens": st.just(8),
        "prefix_cache": st.booleans(),
        "speculative": st.one_of(st.none(), st.fixed_dictionaries({"tokens": st.integers(1, 4), "acceptance": st.floats(0, 1)})),
        "context_ns_per_token": st.sampled_from([0, 1000]),
    }
)


def asked(requests):
    """Prompts that begin alike, as those of a few conversations do."""
    return [
        Ask(number, prompt, tokens, at_ns, streamed, tuple(100 * talk + block for block in range(prompt // 8)))
        for number, (at_ns, prompt, tokens, streamed, talk) in enumerate(requests)
    ]


def fates(asks, told):
    return [([count for _, count in told[ask]], ask.admitted_ns, ask.cached_tokens, ask.preemptions) for ask in asks]


@given(REQUESTS, SHAPES)
def test_every_token_of_every_request_comes_out_and_nothing_is_left(requests, shape):
    bench = engine(**shape)
    pool = bench.model._pool

    def sound():
        load = bench.model.load()
        assert 0 <= load.kv_usage <= 1
        assert load.running <= shape["max_running"]
        held = [known for sequence in bench.model._running for known in sequence.lease.known]
        assert {known: held.count(known) for known in held} == {known: users for known, users in pool._users.items() if users}
        assert not set(held) & set(pool._idle)
        if shape["kv_blocks"] is not None:
            own = sum(sequence.lease.own for sequence in bench.model._running)
            assert own + len(set(held)) + len(pool._idle) + pool._blank == shape["kv_blocks"]
            assert pool._blank >= 0

    asks = asked(requests)
    bench.play(asks, each=sound)
    assert [sum(count for _, count in bench.told[ask]) for ask in asks] == [ask.tokens for ask in asks]
    load = bench.model.load()
    assert (load.running, load.waiting, load.kv_usage) == (0, 0, 0)
    assert load.generated_tokens == sum(ask.tokens for ask in asks)
    assert load.prompt_tokens == sum(ask.prompt_tokens for ask in asks)
    assert load.preemptions == sum(ask.preemptions for ask in asks)
    assert load.hit_tokens == sum(ask.cached_tokens for ask in asks)
    assert set(pool._users.values()) <= {0}


@given(REQUESTS, SHAPES, st.integers(MS, 90 * MS))
def test_how_late_it_is_looked_at_changes_nothing(requests, shape, stride_ns):
    on_time, seldom, once = engine(**shape), engine(**shape), engine(**shape)
    first, second, third = asked(requests), asked(requests), asked(requests)
    on_time.play(first)
    for ask in second:
        seldom.arrive(ask)
    while seldom.model.advance(seldom.now_ns) is not None:
        seldom.now_ns += stride_ns
    for ask in third:
        once.arrive(ask)
    once.now_ns = 10**12
    while once.model.advance(10**12) is not None:
        pass
    assert fates(first, on_time.told) == fates(second, seldom.told) == fates(third, once.told)


@given(REQUESTS, SHAPES)
def test_no_step_holds_more_than_its_budget(requests, shape):
    each_us = {"prefill_us_per_token": 1, "decode_us_per_request": 1, "context_ns_per_token": 0}
    bench = engine(**{**shape, **each_us, "speculative": None})
    ends = [0]
    bench.play(asked([(0, *rest) for _, *rest in requests]), each=lambda: ends.append(bench.model._end_ns or ends[-1]))
    spans = [after - before for before, after in pairwise(sorted(set(ends)))]
    assert len(spans) == bench.model.load().steps
    assert all(10 * MS < span <= 10 * MS + 1000 * shape["max_batched_tokens"] for span in spans)


@pytest.mark.parametrize(("tokens", "acceptance"), [(1, 0.5), (3, 0.7), (4, 0.9), (3, 0), (3, 1)])
def test_a_step_gives_as_many_tokens_as_were_guessed_right(tokens, acceptance):
    bench = engine(speculative={"tokens": tokens, "acceptance": acceptance}, max_batched_tokens=4096)
    asks = [Ask(number, 1, 400, 0) for number in range(40)]
    bench.play(asks)
    counts = [count for ask in asks for _, count in bench.told[ask][1:-1]]  # the first comes of the prompt, the last may be cut
    expected = sum(acceptance**right for right in range(tokens + 1))  # 1 + a + a² + …
    assert sum(counts) / len(counts) == pytest.approx(expected, rel=0.02)
    assert all(bench.told[ask][0][1] == 1 for ask in asks)
    assert max(counts) <= tokens + 1


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 1000))
def test_what_is_guessed_right_follows_seed_number_and_place(seed, number, place):
    few, many = Speculative(tokens=2, acceptance=0.6), Speculative(tokens=5, acceptance=0.6)
    assert accepted_drafts(few, seed, number, place=place) == min(2, accepted_drafts(many, seed, number, place=place))


def test_replicas_share_the_requests_and_nothing_else():
    bench = on_bench(preset="large_gpu", replicas=3)
    chain = tuple(range(4))
    asks = [Ask(number, 64, 20, number * 1000, blocks=chain) for number in range(7)]
    bench.play(asks)
    load = bench.model.load()
    assert load.hit_tokens == sum(ask.cached_tokens for ask in asks) == 4 * 48  # the first on each computes it for those behind
    assert (load.running, load.waiting, load.generated_tokens) == (0, 0, 140)
    bench.play(asks := [Ask(number, 1, 500, bench.now_ns + number) for number in range(5)], each=lambda: None)
    assert sorted(len(bench.told[ask]) for ask in asks) == [500] * 5


def test_a_request_goes_where_the_fewest_are():
    model, told = made(Simulator(preset="small_gpu", replicas=2)), []
    asks = [Ask(number, 1, 3, 0) for number in range(3)]
    for ask in asks:
        model.arrive(ask, told.append)
    assert [len(engine.asked) for engine in model._engines] == [2, 1]
    model.leave(asks[0])
    model.leave(asks[2])
    model.arrive(Ask(3, 1, 1, 0), told.append)
    assert [len(engine.asked) for engine in model._engines] == [1, 1]
    due_ns = 0
    while due_ns is not None:
        due_ns = model.advance(due_ns)
    assert told.count(1) == 3 + 1


def test_too_few_blocks_for_one_request_are_refused():
    with pytest.raises(ValueError, match="maximum context length is 128 tokens"):
        engine(kv_blocks=8).arrive(Ask(0, 100, 30, 0))
    engine(kv_blocks=8).play([Ask(0, 100, 28, 0)])


def test_ordinary_chat_overloads_the_overloaded_and_not_the_others():
    found = {}
    for preset in ("small_gpu", "overloaded"):
        bench = on_bench(preset=preset)
        for number in range(8):
            bench.arrive(Ask(number, 512, 128, 0))
        bench.run()
        found[preset] = bench.model.load().preemptions
    assert found["small_gpu"] == 0 < found["overloaded"]
    assert set(presets()["overloaded"]) == set(presets()["small_gpu"])
