"""What a distribution is told by: mean, deviation, percentiles with the number of samples that they need.

Percentiles interpolate linearly between order statistics, at position q·(n − 1) counted from 0 (Hyndman and Fan's type 7,
numpy's default). The deviation is the sample's (n − 1). A percentile is supported when, at 99 % confidence, at least
two samples lie beyond it: the smallest such n is 11 for p50, 64 for p90, 130 for p95, 662 for p99 and 6,636 for p99.9.
Values of one run are not independent, so n is the effective count there, and intervals are made by it (intervals.py).
"""

from collections.abc import Mapping
from functools import cache
from itertools import count

import numpy as np

from aiperf.finite import nan_safe_mean, nan_safe_std
from aiperf.metrics.intervals import Floats, Sample, of_mean, of_percentile
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
    within = 1 - beyond
    return next(n for n in count(2) if within**n + n * beyond * within ** (n - 1) <= 1 - _CONFIDENCE)


def unsupported(effective: Mapping[str, float]) -> tuple[str, ...]:
    """The percentiles that so many effective samples, by percentile, do not support."""
    return tuple(stat for stat, percentile in PERCENTILES.items() if effective.get(stat, 0.0) < floor(percentile))


def distribution(metric: str, unit: str, values: Floats) -> MetricValue:
    """The statistics of these finite values, which are in order of completion; each None, and unsupported, where there are none.

    Values are sorted before they are added up, so that their order shows in intervals and effective counts alone.
    """
    if not len(values):
        return MetricValue(metric, unit, dict.fromkeys(STATS), 0, tuple(PERCENTILES))
    sample = Sample.of(values)
    stats = _statistics(sample.ascending)
    found = {stat: of_percentile(sample, percentile / 100, stats[stat] or 0.0) for stat, percentile in PERCENTILES.items()}
    found = {"avg": of_mean(sample, stats["avg"] or 0.0), **found}
    effective = {stat: count for stat, (count, _) in found.items()}
    intervals = {stat: (one.low, one.high) for stat, (_, one) in found.items() if one is not None}
    return MetricValue(metric, unit, stats, len(values), unsupported(effective), intervals, effective)


def _statistics(ascending: Floats) -> dict[str, float | None]:
    """All by name, of sorted values; a last rounding of the interpolation may not make a higher percentile the smaller."""
    if not len(ascending):
        return dict.fromkeys(STATS)
    low, high, mean = ascending[0], ascending[-1], nan_safe_mean(ascending)
    at = np.array(list(PERCENTILES.values())) / 100 * (len(ascending) - 1)  # as np.percentile has it, which would copy them all
    before, after = ascending[at.astype(np.int64)], ascending[np.ceil(at).astype(np.int64)]
    part, apart = at % 1, after - before
    between = np.where(part < 0.5, before + apart * part, after - apart * (1 - part))
    percentiles = np.maximum.accumulate(np.clip(between, low, high))
    stats = {"avg": mean, "min": low, "max": high, "std": nan_safe_std(ascending), "sum": ascending.sum()}
    stats |= dict(zip(PERCENTILES, percentiles))
    return {stat: None if stats[stat] is None else float(stats[stat]) for stat in STATS}


def statistic(values: Floats, stat: str) -> float | None:
    """One statistic of these values; None where there is none."""
    return _statistics(np.sort(values))[stat]
