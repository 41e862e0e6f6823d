import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepping import MS, on_bench

from aiperf.simulator.model import Ask

MEAN_NS = 100 * MS


def poisson(rho, requests, seed):
    gaps = np.random.default_rng(seed).exponential(MEAN_NS / rho, requests)
    return np.cumsum(gaps).astype(np.int64).tolist()


def served(distribution, rho, requests, seed=1):
    bench = on_bench(preset="textbook", service={"distribution": distribution}, seed=seed)
    asks = [Ask(number, 1, 1 + number % 3, at_ns) for number, at_ns in enumerate(poisson(rho, requests, seed))]
    return bench.play(asks), asks


def lindley(asks, services):
    """The wait of each: what was left of the one before it, less the gap between them."""
    waits, before = [], 0
    for place, ask in enumerate(asks):
        if place:
            before = max(0, before + services[place - 1] - (ask.arrived_ns - asks[place - 1].arrived_ns))
        waits.append(before)
    return waits


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("distribution", ["fixed", "exponential"])
def test_every_wait_is_lindleys_to_the_nanosecond(distribution, rho):
    bench, asks = served(distribution, rho, 4000)
    services = [bench.model.service_ns(ask.number) for ask in asks]
    waits = [ask.admitted_ns - ask.arrived_ns for ask in asks]
    assert waits == lindley(asks, services)
    assert [bench.told[ask][-1][0] for ask in asks] == [ask.admitted_ns + service for ask, service in zip(asks, services, strict=True)]
    assert len(set(services)) == (1 if distribution == "fixed" else len(asks))


@pytest.mark.parametrize(
    ("distribution", "rho", "factor"), [("exponential", 0.5, 1), ("exponential", 0.8, 1), ("fixed", 0.5, 0.5), ("fixed", 0.8, 0.5)]
)
def test_the_mean_wait_is_theorys(distribution, rho, factor):
    """Pollaczek and Khinchine: ρ / (1 - ρ) of a service, half of it where all services are alike."""
    _, asks = served(distribution, rho, 40_000, seed=7)
    mean = sum(ask.admitted_ns - ask.arrived_ns for ask in asks) / len(asks)
    assert mean == pytest.approx(factor * rho / (1 - rho) * MEAN_NS, rel=0.03)


def test_services_are_exponential_and_follow_the_number():
    model = on_bench(preset="textbook").model
    services = [model.service_ns(number) / MEAN_NS for number in range(40_000)]
    assert np.mean(services) == pytest.approx(1, abs=0.02)
    assert np.quantile(services, [0.5, 0.99]) == pytest.approx([math.log(2), math.log(100)], rel=0.05)
    other = on_bench(preset="textbook", seed=1).model
    assert model.service_ns(7) == round(services[7] * MEAN_NS) != other.service_ns(7)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 9), st.booleans()), min_size=1, max_size=30), st.integers(1, 4))
def test_so_many_servers_take_the_first_in_the_queue_as_they_get_free(requests, servers):
    bench = on_bench(preset="textbook", max_running=servers)
    asks = [Ask(number, 1, tokens, at_ns, streamed) for number, (at_ns, tokens, streamed) in enumerate(sorted(requests))]
    bench.play(asks)
    free = [0] * servers
    for ask in asks:
        begin, span = max(ask.arrived_ns, min(free)), bench.model.service_ns(ask.number)
        free[free.index(min(free))] = begin + span
        expected = [begin + span * token // ask.tokens for token in range(1, ask.tokens + 1)]
        assert (ask.admitted_ns, bench.times(ask)) == (begin, expected if ask.streamed else [begin + span] * ask.tokens)


def test_one_late_look_begins_and_ends_all_as_if_it_had_not_been_late():
    asks = [Ask(number, 1, 2, 50 * MS * number) for number in range(9)]
    bench = on_bench(preset="textbook", service={"distribution": "fixed"})
    for ask in asks:
        bench.arrive(ask)
    assert bench.model.advance(10**12) is None
    assert [ask.admitted_ns for ask in asks] == [100 * MS * number for number in range(9)]
    assert [sum(count for _, count in bench.told[ask]) for ask in asks] == [2] * 9


def test_who_leaves_the_queue_lets_the_others_up_and_who_leaves_the_server_does_not():
    bench = on_bench(preset="textbook", service={"distribution": "fixed"})
    served, waits, last = asks = [Ask(number, 1, 1, number) for number in range(3)]
    for ask in asks:
        bench.arrive(ask)
    assert bench.model.advance(5) == 100 * MS
    assert (bench.model.load().running, bench.model.load().waiting) == (1, 2)
    bench.model.leave(served)
    bench.model.leave(waits)
    bench.run()
    assert [len(bench.told[ask]) for ask in asks] == [0, 0, 1]
    assert last.admitted_ns == 100 * MS
