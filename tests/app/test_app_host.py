"""Which cores our workers share out."""

import os

import pytest

from aiperf.app.host import Cores, cores


@pytest.mark.parametrize(
    ("allowed", "pin", "generators", "expected"),
    [
        ({0, 1}, True, 1, Cores(2, (frozenset({1}),), frozenset({0}))),
        ({3, 5, 7, 9}, True, 1, Cores(4, (frozenset({9}),), frozenset({3, 5, 7}))),
        ({3, 5, 7, 9}, True, 3, Cores(4, (frozenset({5}), frozenset({7}), frozenset({9})), frozenset({3}))),
        ({0, 1}, True, 2, Cores(2, (None, None), None)),
        ({0}, True, 1, Cores(1, (None,), None)),
        ({0}, True, 3, Cores(1, (None, None, None), None)),
        ({0, 1, 2}, False, 2, Cores(3, (None, None), None)),
    ],
)
def test_each_generator_has_a_core_if_one_is_left_for_the_others(
    monkeypatch: pytest.MonkeyPatch, allowed: set[int], generators: int, expected: Cores, *, pin: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed)
    assert cores(pin=pin, generators=generators) == expected
