"""Intervals hold the truth as often as they say, in the cells that are hardest; benchmarks/coverage.py has them all."""

import sys
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest


@pytest.fixture(scope="module")
def coverage(root):
    """By its path, since a tool of the same name may be installed."""
    path = root / "benchmarks" / "coverage.py"
    if not path.is_file():
        pytest.skip("benchmarks/ is not beside tests/")
    spec = spec_from_file_location("benchmarks_coverage", path)
    sys.modules[spec.name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def held(coverage, name: str, tables: int, n: int) -> dict[str, tuple[float, float]]:
    """By statistic the share of the tables that print an interval, and of those the share that holds the truth."""
    found = coverage.part(name, tables, (n,), 7)[:, 0, :, 0]
    printed = ~np.isnan(found)
    return {
        stat: (mine.mean(), found[mine, i].mean() if mine.any() else 0.0) for i, (stat, mine) in enumerate(zip(coverage.STATS, printed.T))
    }


@pytest.mark.parametrize(
    ("name", "n", "stats"),
    [
        ("M/M/1 0.5", 5000, ("avg", "rate", "p50", "p90")),
        ("M/M/1 0.5", 20_000, ("avg", "rate", "p50", "p90", "p99")),
        ("AR(1) 0.9", 15_000, ("avg", "p50", "p90")),
        ("M[8]/M/1 0.5", 20_000, ("avg", "p50", "p90")),
    ],
)
def test_ninety_five_of_a_hundred_hold_the_truth(coverage, name, n, stats):
    found = held(coverage, name, 250, n)
    for stat in stats:
        printed, share = found[stat]
        assert printed >= 0.75
        assert 0.91 <= share <= 0.99, stat  # three standard errors of 250 tables


@pytest.mark.parametrize(("name", "n"), [("M/M/1 0.9", 2000), ("M/M/1 0.9", 10_000), ("M[8]/M/1 0.5", 500), ("M[8]/M/1 0.9", 10_000)])
def test_a_run_that_is_short_against_its_memory_prints_nothing(coverage, name, n):
    found = held(coverage, name, 150, n)
    assert [found[stat][0] for stat in ("avg", "p50", "p90", "p99")] == [0, 0, 0, 0]


def test_the_truths_are_theirs(coverage):
    """An M/M/1 sojourn is exponential with rate μ − λ."""
    found = coverage.Queue(0.9).truth
    assert found["avg"] == pytest.approx(10)
    assert [found[stat] for stat in coverage.QUANTILES] == pytest.approx(
        [-10 * np.log(1 - q) for q in coverage.QUANTILES.values()], rel=1e-6
    )
    batches, chance = coverage.Queue(0.5, 8), np.random.default_rng(1)
    seen = np.concatenate([batches.table(chance, 2000).values for _ in range(200)])
    assert seen.mean() == pytest.approx(batches.truth["avg"], rel=0.03)
    assert np.mean(seen <= batches.truth["p90"]) == pytest.approx(0.9, abs=0.01)
