"""How dependent successive values are, and intervals that hold the truth 95 times of 100; None where there is nothing to make one from.

With batches of m successive values, m · Var(batch mean) / Var(value) grows with m to the integrated autocorrelation time τ
(Bartlett; Fishman 1978) and levels off where batches are long against the memory of what is measured. The number of batches is
20, 40, 80 and so on; the most that are long enough are used, since many batches tell their variance well.

A short run of a system with a long memory looks like one with a short memory, and whoever believes its τ prints an interval
that lies. So an interval wants more than the floors of its own effective n: the run must be `SETTLED` times as long as the
median's τ, which needs no rare event to be seen, and a percentile wants `BEYOND` such stretches beyond it. The figures are
calibrated by queues, whose τ a run can underestimate several times over (benchmarks/coverage.py).

Sources: order statistics of fractional rank (Hutson 1999); t of batch means with Johnson's correction for their skewness,
inverted by Willink (2005), as Skart uses it (Tafazzoli et al. 2011).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiperf.finite import scale_of, sum_of_squares
from aiperf.results import MetricValue

Floats = NDArray[np.float64]

FEWEST = 20
"""No interval of a mean is made from fewer batches."""
_MOST = FEWEST * 2**8
_LONG_BATCH = 16
"""Batches are this many times as long as τ − 1 at the least: what is missing of the variance is then about 3 %."""
_AT_ONCE = 1 << 22
_NOISE = 2.0
"""Standard errors of τ within which two batch sizes agree."""
_TAIL = 0.025
_NORMAL = 1.959964
_FEWEST_EFFECTIVE = 50
_LONG = 5
SETTLED = 700
BEYOND = 40
_BORDER, _INNER = 0.2, 0.3
_LEANING, _NEAR = 1.2, 0.7
_MOST_SKEW = 4.0
_SLICES = FEWEST * 2**6
_RATE_BATCHES = 2 * FEWEST
_HALVINGS = 50


@dataclass(frozen=True, slots=True)
class _Step:
    """One number of batches: their length, τ by them, and the skewness of their means."""

    batches: int
    length: float
    tau: float
    skewness: float


@dataclass(frozen=True, slots=True)
class Dependence:
    """τ as used (not below 0), by how many batches it was found, the skewness of their means, and what else τ may be.

    `worst` is the largest τ over all batch sizes, `early` that over at least 80 batches: it is biased low and hardly varies.
    `levelled` says that twice as long batches found no more.
    """

    tau: float = 1.0
    batches: int = FEWEST
    skewness: float = 0.0
    worst: float = 1.0
    early: float = 1.0
    levelled: bool = True

    def effective(self, n: int) -> float:
        """Independent samples that tell as much as these n; all n unless τ is above 1 by more than its noise."""
        return n / self.tau if self.tau > 1 + _noise(self.batches) else float(n)


def dependence(values: NDArray[Any], *, batches: int | None = None) -> Dependence:
    """Of values in their order; independent where fewer than 20 or all alike. A number of `batches` overrides the choice."""
    steps = list(_steps(values))
    if not steps:
        return Dependence()
    worst = max((1.0, *(step.tau for step in steps)))
    early = max((1.0, *(step.tau for step in steps if step.batches >= 4 * FEWEST)))
    fit = (step for step in steps if step.batches == (batches or step.batches) and step.length >= _LONG_BATCH * (worst - 1))
    used = next((step for step in fit if _is_level(step, steps)), steps[-1])
    return Dependence(used.tau, used.batches, used.skewness, worst, early, _is_level(steps[max(len(steps) - 2, 0)], steps))


def below(values: NDArray[np.float64], bound: float) -> NDArray[np.int8]:
    """Twice the indicator value <= bound, once where equal, so that a bound that many values share tells them from the rest."""
    told: NDArray[np.int8] = (values < bound).view(np.int8) + (values <= bound).view(np.int8)
    return told


def _noise(batches: int) -> float:
    """What τ by so many batches may be off, as a share of it."""
    return _NOISE * float(np.sqrt(2 / batches))


def _is_level(step: _Step, steps: list[_Step]) -> bool:
    """Whether no longer batches found a τ that is larger by more than noise."""
    return all(longer.tau <= step.tau * (1 + _noise(longer.batches)) for longer in steps if longer.batches < step.batches)


def _parts(edges: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The edges in groups that share their ends, each over a few million values, since what is added up is copied as float64."""
    each = max(1, len(edges) * _AT_ONCE // max(int(edges[-1]), 1))
    yield from (edges[at : at + each + 1] for at in range(0, len(edges) - 1, each))


def _steps(values: NDArray[Any]) -> Iterator[_Step]:
    """From the most batches to 20; batches that do not divide n differ by one value in length."""
    n, spread = len(values), sum_of_squares(values) / len(values) if len(values) else 0.0
    batches = FEWEST
    while 2 * batches <= min(n, _MOST):
        batches *= 2
    if n < batches or not spread:
        return
    starts = np.arange(batches + 1) * n // batches
    sums = [np.add.reduceat(values[part[0] : part[-1]], part[:-1] - part[0], dtype=np.float64) for part in _parts(starts)]
    off = np.concatenate(sums) - np.diff(starts) * float(values.mean())
    while True:
        squares = off * off
        variance = float(squares.sum()) / (batches - 1)
        skewness = float(np.dot(squares, off)) / batches / variance**1.5 if variance else 0.0
        yield _Step(batches, n / batches, variance / spread / (n / batches), skewness)
        if batches == FEWEST:
            return
        batches, off = batches // 2, off[::2] + off[1::2]


@dataclass(frozen=True, slots=True)
class Interval:
    """95 % bounds and the effective sample count behind them."""

    low: float
    high: float
    effective: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Values in order of completion, the same ascending, and the median's early τ."""

    values: Floats
    ascending: Floats
    early: float

    @classmethod
    def of(cls, values: Floats) -> "Sample":
        """At least one value."""
        ascending = np.sort(values)
        middle = float(ascending[(len(ascending) - 1) // 2] / 2 + ascending[len(ascending) // 2] / 2)
        return cls(values, ascending, dependence(below(values, middle)).early)

    def border(self, wanted: float) -> float:
        """How near it is to the shortest run that is believed: 1 at that length, 0.5 at twice of it."""
        return wanted * self.early / len(self.values)

    def widening(self, border: float) -> tuple[float, float]:
        """Factors on widths downwards and upwards: of runs near the border, those are believed whose τ came out too low.

        They are those that have not seen enough of the waves, so where values have one long tail the truth is on its side.
        """
        low, middle, high = (float(self.ascending[len(self.ascending) * tenth // 10]) / 4 for tenth in (1, 5, 9))  # the sums stay finite
        lean = (high + low - 2 * middle) / (high - low) if high > low else 0.0
        memory = 1 - 1 / self.early
        both = 1 + _BORDER * memory * max((border - _INNER) / (1 - _INNER), 0.0)
        more = _LEANING * memory * max((border - _NEAR) / (1 - _NEAR), 0.0) * lean
        return both + max(-more, 0.0), both + max(more, 0.0)


def needed(stat: str) -> int:
    """The effective samples below which a statistic has no interval: a percentile's by its order statistics, 100 for a mean."""
    return FEWEST * _LONG if stat[0] != "p" else _needed(float(stat[1:]) / 100)


def why_none(found: MetricValue, stat: str) -> str:
    """Why a statistic has no interval, in words."""
    have, least = found.effective.get(stat, 0.0), needed(stat)
    short = "too short a run to tell how dependent its samples are"
    return f"too few independent samples ({have:.0f} of {least})" if have < least else short


def of_mean(sample: Sample, found: float) -> tuple[float, Interval | None]:
    """The effective count behind the mean `found`, and its interval."""
    n, scale = len(sample.values), scale_of(sample.ascending)
    scaled = sample.values if scale == 1 else sample.values / scale
    told, border = dependence(scaled), sample.border(SETTLED)
    effective = told.effective(n)
    if border > 1 or not told.levelled or n < FEWEST * _LONG * told.worst:
        return effective, None
    plain = _around(found, scale * (sum_of_squares(scaled) / n) ** 0.5 * (max(told.tau, 1.0) / n) ** 0.5, told, effective)
    down, up = sample.widening(border)
    return effective, Interval(found - down * (found - plain.low), found + up * (plain.high - found), effective)


def of_percentile(sample: Sample, q: float, found: float) -> tuple[float, Interval | None]:
    """The effective count behind the q-quantile `found` (0 < q < 1), and its interval."""
    n, beyond = len(sample.values), min(q, 1 - q)
    told, border = dependence(below(sample.values, found)), sample.border(max(SETTLED, BEYOND / beyond))
    effective = told.effective(n)
    if border > 1 or effective < _needed(q):
        return effective, None
    tau = max(told.tau, 1.0)
    # what lies beyond comes in clusters, of geometric size if τ is large; their number says how well τ is known
    freedom = 1 / (1 / (told.batches - 1) + 3 / (n / tau * beyond * (2 + 4 / tau)))
    known = n / tau * (_NORMAL / _t(freedom)) ** 2
    down, up = (order_bounds(known / wider**2, q) for wider in sample.widening(border))
    if down is None or up is None:
        return effective, None
    low, high = _at(sample.ascending, down[0]), _at(sample.ascending, up[1])
    return effective, Interval(min(low, found), max(high, found), effective)


def rate_interval(
    ended_ns: NDArray[np.int64], start_ns: int, end_ns: int, weights: Floats | None = None, *, border: float = 0.0
) -> Interval | None:
    """Of events, or of their weights, a second within (start, end]; None where they tell too little.

    Batch means over counts in equal slices of time; never narrower than one event more or less. Slow waves hide in the noise
    of counts: `border` is that of values, such as latencies, that show them, and must have been believed too.
    """
    inside = (ended_ns > start_ns) & (ended_ns <= end_ns)
    stamps, carried = ended_ns[inside], np.ones(int(inside.sum())) if weights is None else weights[inside]
    n, total, seconds = len(stamps), float(carried.sum()), (end_ns - start_ns) / 1e9
    if n < SETTLED or not total:
        return None
    slices = np.minimum((stamps - start_ns) * (_SLICES / (end_ns - start_ns)), _SLICES - 1).astype(np.int64)
    counts = np.bincount(slices, carried, _SLICES).astype(np.float64)
    told, border = dependence(counts, batches=_RATE_BATCHES), max(border, Sample.of(counts).border(SETTLED))
    error = float(counts.std()) * (_SLICES * told.tau) ** 0.5
    effective = min(n, (total / error) ** 2) if error else float(n)
    if border > 1 or not told.levelled or min(effective, _SLICES / told.worst) < FEWEST * _LONG:
        return None
    found = _around(total, error, told, effective)
    one = float(carried.max())
    return Interval(min(found.low, total - one) / seconds, max(found.high, total + one) / seconds, effective)


def order_bounds(effective: float, q: float) -> tuple[float, float] | None:
    """The two probabilities between whose sample quantiles the q-quantile lies at 95 %; None where no order statistics do.

    Ranks are fractional, so that the bounds are exact and not only safe. Where one tail has no rank, the other has the rest.
    """
    if effective < _FEWEST_EFFECTIVE or not _has_bounds(effective, q):
        return None
    if q < 0.5:
        low, high = order_bounds(effective, 1 - q) or (0.0, 0.0)
        return 1 - high, 1 - low
    above = max(_TAIL, q**effective)
    return _rank(effective, q, 1 - (2 * _TAIL - above)), _rank(effective, q, above)


def _rank(effective: float, q: float, confidence: float) -> float:
    """The probability a / (n + 1) whose order statistic lies at or below the q-quantile so often."""
    from scipy.special import betainc  # noqa: PLC0415 - launch time: a run knows the floors long before it has values

    low, high = 0.0, effective
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if betainc(middle, effective + 1 - middle, q) > confidence else (low, middle)
    return (low + high) / 2 / (effective + 1)


def _has_bounds(effective: float, q: float) -> bool:
    """Whether the quantile lies between the least and the largest at 95 %."""
    return bool(q**effective + (1 - q) ** effective <= 2 * _TAIL)


@cache
def _needed(q: float) -> int:
    return next(n for n in count(_FEWEST_EFFECTIVE) if _has_bounds(n, q))


def _t(freedom: float) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415 - as in _rank

    return float(stdtrit(freedom, 1 - _TAIL))


def _around(found: float, error: float, told: Dependence, effective: float) -> Interval:
    """Student's t with as many degrees of freedom as the batches tell, its quantiles corrected for their skewness."""
    skew = min(max(told.skewness, -_MOST_SKEW), _MOST_SKEW) / (6 * told.batches**0.5)
    t = np.array((-1.0, 1.0)) * _t(told.batches - 1)
    below_, above = (np.cbrt(1 + 6 * skew * (t - skew)) - 1) / (2 * skew) if abs(skew) > 1e-6 else t
    return Interval(found - error * float(above), found - error * float(below_), effective)


def _at(ascending: Floats, probability: float) -> float:
    """Between order statistics, at rank p · (n + 1) counted from 1."""
    at = min(max(probability * (len(ascending) + 1) - 1, 0.0), len(ascending) - 1.0)
    before = int(at)
    after = min(before + 1, len(ascending) - 1)
    return float(ascending[before] + (at - before) * (ascending[after] - ascending[before]))
