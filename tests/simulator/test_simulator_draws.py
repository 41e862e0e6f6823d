import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.simulator import SHARES, Faults
from aiperf.records import ERRORS, NOT_FAILURES
from aiperf.simulator.draws import FAULTS, RACED, Fates, noise_factors, refused_places, request_number, uniforms
from fault_classes import FAULT_CLASSES

SEEDS = st.integers(0, 2**80)
NUMBERS = st.integers(0, 10**18)


@pytest.mark.parametrize(
    ("header", "number"),
    [
        (b"3f2a9c-000123", 123),
        (b"7", 7),
        (b"run-7 ", 7),
        (b"", None),
        (b"abc", None),
        (b"12-", None),
        (b"9" * 18, 10**18 - 1),
        (b"9" * 19, None),
    ],
)
def test_the_number_ends_the_header(header, number):
    assert request_number(header) == number


@given(st.binary(max_size=30), NUMBERS)
def test_a_number_behind_a_dash_is_found_whatever_stands_before(before, number):
    assert request_number(before + b"-%d" % number) == (number if number < 10**18 else None)


@given(SEEDS, NUMBERS)
def test_draws_are_within_and_repeat(seed, number):
    drawn = uniforms(seed, number, b"fault")
    assert all(0 < value < 1 for value in drawn)
    assert drawn == uniforms(seed, number, b"fault")
    assert drawn != uniforms(seed, number, b"noise")
    assert drawn != uniforms(seed + 1, number, b"fault")
    assert drawn != uniforms(seed, number + 1, b"fault")


def test_shares_are_kept_and_exclusive():
    faults = Faults(error_event=0.05, truncated=0.1, http_500=0.15, close_idle=0.2)
    fates = Fates(faults, 42)
    drawn = [fates.of(number) for number in range(20_000)]
    for name in FAULTS:
        rate = getattr(faults, name)
        assert drawn.count(name) / 20_000 == pytest.approx(rate, abs=4 * math.sqrt(rate / 20_000))
    assert drawn.count(None) / 20_000 == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("name", FAULTS)
def test_a_share_of_one_is_everyone_with_a_number(name):
    fates = Fates(Faults(**{name: 1}), 0)
    assert {fates.of(number) for number in range(500)} == {name}
    assert fates.of(None) is None


@given(SEEDS, NUMBERS)
def test_a_fault_that_is_added_behind_takes_none_from_those_before(seed, number):
    before = Fates(Faults(error_event=0.2, reset=0.2), seed).of(number)
    after = Fates(Faults(error_event=0.2, reset=0.2, close_idle=0.3), seed).of(number)
    assert after == before or (before, after) == (None, "close_idle")


def test_every_fault_has_a_share_and_a_class():
    assert set(FAULT_CLASSES) == {*SHARES, RACED}
    assert {error for error in FAULT_CLASSES.values() if error is not None} <= set(ERRORS) - set(NOT_FAILURES)


@given(st.floats(0.01, 0.99), SEEDS)
def test_the_addresses_that_refuse_are_a_share_and_never_the_first(refused, seed):
    every, places = refused_places(Faults(refused=refused), seed)
    assert 1 <= len(places) < every <= 100
    assert len(set(places)) == len(places)
    assert all(1 <= place < every for place in places)
    assert len(places) / every == pytest.approx(refused, abs=0.0051)
    assert (every, places) == refused_places(Faults(refused=refused), seed)


def test_without_refusals_there_is_one_address():
    assert refused_places(Faults(), 7) == (1, ())


def test_which_addresses_refuse_is_drawn():
    assert len({refused_places(Faults(refused=0.1), seed)[1] for seed in range(60)}) == 9


@pytest.mark.parametrize("refused", [0, 0.1, 0.4])
def test_the_other_shares_are_of_all_requests_also_where_some_never_arrive(refused):
    faults, requests = Faults(refused=refused, reset=0.2, stall=0.3), 20_000
    (every, places), fates = refused_places(faults, 3), Fates(faults, 3)
    drawn = ["refused" if number % every in places else fates.of(number) for number in range(requests)]
    for name in ("refused", "reset", "stall"):
        assert drawn.count(name) / requests == pytest.approx(getattr(faults, name), abs=0.015)


@pytest.mark.parametrize("variation", [0.05, 0.3, 1])
def test_noise_has_mean_one_and_its_coefficient_of_variation(variation):
    count = 40_000
    for column in zip(*(noise_factors(variation, 1, number) for number in range(count)), strict=True):
        mean = math.fsum(column) / count
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in column) / count)
        assert mean == pytest.approx(1, abs=4 * variation / math.sqrt(count))
        assert deviation == pytest.approx(variation, rel=0.06)


def test_both_factors_are_independent():
    logs = [tuple(map(math.log, noise_factors(0.3, 1, number))) for number in range(20_000)]
    means = [math.fsum(column) / len(logs) for column in zip(*logs, strict=True)]
    covariance = math.fsum((a - means[0]) * (b - means[1]) for a, b in logs) / len(logs)
    assert abs(covariance) < 0.03 * 0.3**2


@given(SEEDS, NUMBERS)
def test_no_noise_without_variation_or_number(seed, number):
    assert noise_factors(0, seed, number) == (1, 1)
    assert noise_factors(0.5, seed, None) == (1, 1)
    assert all(factor > 0 for factor in noise_factors(1, seed, number))
