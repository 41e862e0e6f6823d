from hypothesis import given
from hypothesis import strategies as st
from stepping import MS, on_bench

from aiperf.simulator.model import Ask

asks = st.lists(
    st.builds(Ask, number=st.integers(0, 10**6), prompt_tokens=st.just(1), tokens=st.integers(1, 40), arrived_ns=st.integers(0, 10**8)),
    min_size=1,
    max_size=20,
)


@given(asks, st.integers(0, 50), st.integers(0, 20), st.floats(0, 1), st.integers(0, 2**70))
def test_every_token_at_its_absolute_time(asks, ttft_ms, itl_ms, noise, seed):
    bench = on_bench(ttft_ms=ttft_ms, itl_ms=itl_ms, noise=noise, seed=seed)
    for ask in asks:
        bench.arrive(ask)
    bench.run()
    for ask in asks:
        ttft_ns, token_ns = bench.model.times_ns(ask.number)
        assert bench.times(ask) == [ask.arrived_ns + ttft_ns + k * token_ns for k in range(ask.tokens)]


@given(st.randoms(use_true_random=False), st.integers(0, 99))
def test_the_order_of_arrival_changes_nothing(shuffler, seed):
    asks = [Ask(number, 1, 5, 1000) for number in range(12)]
    orders = [list(asks), shuffler.sample(asks, len(asks))]
    benches = [on_bench(noise=0.5, seed=seed) for _ in orders]
    for bench, order in zip(benches, orders, strict=True):
        for ask in order:
            bench.arrive(ask)
        bench.run()
    assert [benches[0].times(ask) for ask in asks] == [benches[1].times(ask) for ask in asks]


def test_without_noise_the_times_are_the_options():
    bench, ask = on_bench(ttft_ms=20, itl_ms=5), Ask(3, 1, 3, 7)
    bench.arrive(ask)
    bench.run()
    assert bench.told[ask] == [(7 + 20 * MS, 1), (7 + 25 * MS, 1), (7 + 30 * MS, 1)]


@given(asks, st.integers(0, 30 * MS))
def test_being_late_does_not_drift(asks, late_ns):
    bench = on_bench(ttft_ms=10, itl_ms=3)
    for ask in asks:
        bench.arrive(ask)
    bench.run(late_ns)
    for ask in asks:
        due = [ask.arrived_ns + 10 * MS + k * 3 * MS for k in range(ask.tokens)]
        times = bench.times(ask)
        assert len(times) == ask.tokens
        assert all(0 <= at_ns - due_ns <= late_ns for at_ns, due_ns in zip(times, due, strict=True))


def test_what_is_overdue_together_is_told_together():
    bench, ask = on_bench(ttft_ms=0, itl_ms=1), Ask(1, 1, 10, 0)
    bench.arrive(ask)
    assert bench.model.advance(0) == MS
    bench.now_ns = 4 * MS + 1
    assert bench.model.advance(bench.now_ns) == 5 * MS
    assert bench.told[ask] == [(0, 1), (4 * MS + 1, 4)]


def test_an_answer_in_one_piece_is_told_of_when_its_last_token_is_out():
    bench, ask = on_bench(ttft_ms=20, itl_ms=5), Ask(1, 1, 9, 0, streamed=False)
    bench.arrive(ask)
    bench.run()
    assert bench.told[ask] == [(20 * MS + 8 * 5 * MS, 9)]


def test_nothing_is_told_to_who_has_left():
    bench, gone, stays = on_bench(ttft_ms=1, itl_ms=1), Ask(1, 1, 5, 0), Ask(2, 1, 5, 0)
    bench.arrive(gone)
    bench.arrive(stays)
    bench.now_ns = 2 * MS
    bench.model.advance(bench.now_ns)
    bench.model.leave(gone)
    bench.model.leave(gone)
    bench.run()
    assert [len(bench.times(ask)) for ask in (gone, stays)] == [2, 5]
    bench.model.leave(stays)


def test_who_is_told_may_leave_and_let_another_in():
    bench, first, second = on_bench(ttft_ms=0, itl_ms=1), Ask(1, 1, 5, 0), Ask(2, 1, 2, 0)
    told = []

    def emit(count):
        told.append(count)
        bench.model.leave(first)
        bench.arrive(second)

    bench.model.arrive(first, emit)
    bench.run()
    assert told == [1]
    assert bench.times(second) == [0, MS]


def test_one_call_does_not_take_all_the_time_there_is():
    bench, ask = on_bench(ttft_ms=0, itl_ms=0), Ask(1, 1, 1_000_000, 0)
    bench.arrive(ask)
    assert bench.model.advance(0) == 0
    assert 0 < len(bench.times(ask)) < 100_000
    bench.run()
    assert len(bench.times(ask)) == 1_000_000
