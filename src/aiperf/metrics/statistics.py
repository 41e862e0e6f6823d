"""What a distribution is told by: mean, deviation, percentiles with the number of samples that they need.

Percentiles interpolate linearly between order statistics, at position q·(n − 1) counted from 0 (Hyndman and Fan's type 7,
numpy's default). The deviation is the sample's (n − 1). A percentile is supported when, at 99 % confidence, at least
two samples lie beyond it: the smallest such n is 11 for p50, 64 for p90, 130 for p95, 662 for p99 and 6,636 for p99.9.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from aiperf.finite import nan_safe_mean, nan_safe_std
from aiperf.results import STATS, MetricValue

PERCENTILES = {stat: float(stat[1:]) for stat in STATS if stat[0] == "p"}
"""The percentiles among the statistics: 50.0 by `p50`."""

_CONFIDENCE = 0.99


@cache
def floor(percentile: float) -> int:
    """The least number of samples for a percentile (0 to 100, exclusive), alike at both ends.

    The smallest n for which two or more of n independent samples lie beyond it with a probability of 99 %.
    """
    beyond = min(percentile, 100 - percentile) / 100
    within, n = 1 - beyond, 2
    while within**n + n * beyond * within ** (n - 1) > 1 - _CONFIDENCE:
        n += 1
    return n


def unsupported(n: int) -> tuple[str, ...]:
    """The percentiles that n samples do not support."""
    return tuple(stat for stat, percentile in PERCENTILES.items() if n < floor(percentile))


def distribution(metric: str, unit: str, values: NDArray[np.float64]) -> MetricValue:
    """The statistics of these finite values; every one None, and none supported, where there are no values.

    Values are sorted before they are added up, so that their order does not show in the last digit.
    """
    n = len(values)
    if not n:
        return MetricValue(metric, unit, dict.fromkeys(STATS), 0, tuple(PERCENTILES))
    ascending = np.sort(values)
    mean = nan_safe_mean(ascending)
    plain = {"avg": mean, "min": ascending[0], "max": ascending[-1], "std": nan_safe_std(ascending), "sum": ascending.sum()}
    stats = {**plain, **dict(zip(PERCENTILES, _percentiles(ascending)))}
    return MetricValue(metric, unit, {stat: None if stats[stat] is None else float(stats[stat]) for stat in STATS}, n, unsupported(n))


def value(metric: str, unit: str, found: float | None, *, n: int) -> MetricValue:
    """A metric of one value: it has `avg` alone."""
    return MetricValue(metric, unit, {"avg": found}, n)


def statistic(values: NDArray[np.float64], stat: str) -> float | None:
    """One statistic of these values; None where there is none."""
    return distribution("", "", values).stats[stat]


def _percentiles(ascending: NDArray[np.float64]) -> NDArray[np.float64]:
    """All percentiles of sorted values; a last rounding of the interpolation may not make a higher one the smaller."""
    found = np.percentile(ascending, list(PERCENTILES.values()))
    bounded: NDArray[np.float64] = np.maximum.accumulate(np.clip(found, ascending[0], ascending[-1]))
    return bounded
