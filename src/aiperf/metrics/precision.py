"""Whether a run has shown enough, from its pulses: are the 95 % intervals of its percentiles as narrow as was asked for?

Effective n by batch means, as in MEASUREMENT.md: batches are equal numbers of pulses, and what is averaged is by how much
the requests of a batch below the percentile outnumber their share. Whoever looks again and again, and at several
percentiles, stops at a lucky moment: so looks are rare, a run must be as long as metrics.intervals wants it, the interval is
made from less than was seen, and its width is that of one twice as wide, which hangs less on the few that lie beyond p99.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aiperf.metrics.intervals import BEYOND, SETTLED, order_bounds
from aiperf.metrics.statistics import PERCENTILES
from aiperf.results import PULSED, Pulse

STEP = 1.02
"""Of the pulse's histograms."""

_PLACES = 1400  # up to 12 days
_BATCHES = 128
_LEAST_BATCHES, _LEAST_TIMES = 20, 10
"""Batches that a variance is taken from, and how many autocorrelation times each is to be long."""

_MARGIN = 1.15
"""By how much longer than metrics.intervals wants it a run must be: its records may show a little more dependence than its pulses did."""

_CAUTION, _WIDE, _GROWTH = 1.4, 2, 1.05
"""By how much less is believed than was seen, how much wider an interval is looked at, and how much more is seen at each look.

Calibrated by benchmarks/precision.py.
"""

Counts = NDArray[np.int64]


class PulsePrecision:
    """Judges `metric.stat`s (of results.PULSED, percentiles) of a run by its pulses: within `precision` of their values, or not yet.

    Batches double their length whenever there are twice `_BATCHES`, so that memory and the time of a look stay the same.
    """

    def __init__(self, of: Sequence[str], precision: float) -> None:
        named = [one.partition(".") for one in of]
        self._of = [(PULSED[metric], PERCENTILES[stat]) for metric, _, stat in named]
        self._steps = math.log1p(precision) / math.log(STEP)
        self._batches = {field: np.zeros((2 * _BATCHES, _PLACES), np.int64) for field, _ in self._of}
        self._batch = self._pulses = self._seen = 0
        self._pulses_each, self._look_at = 1, 1.0

    def __call__(self, pulse: Pulse) -> bool:
        """Take a pulse in; looks when a batch is full and there is a twentieth more than at the last look."""
        for field, batches in self._batches.items():
            for place, count in getattr(pulse, field).items():
                batches[self._batch, min(place, _PLACES - 2)] += count
                self._seen += count
        self._pulses += 1
        if self._pulses < self._pulses_each:
            return False
        self._pulses, self._batch = 0, self._batch + 1
        reached = self._look()
        if self._batch == 2 * _BATCHES:
            self._halve()
        return reached

    def _look(self) -> bool:
        if self._batch < _LEAST_BATCHES or self._seen < self._look_at:
            return False
        self._look_at = self._seen * _GROWTH
        return all(self._is_narrow(self._batches[field][: self._batch], percentile) for field, percentile in self._of)

    def _halve(self) -> None:
        self._batch, self._pulses_each = _BATCHES, 2 * self._pulses_each
        for batches in self._batches.values():
            batches[:_BATCHES] = batches[::2] + batches[1::2]
            batches[_BATCHES:] = 0

    def _is_narrow(self, batches: Counts, percentile: float) -> bool:
        """Whether the run is long enough and the interval no wider than twice the precision, by its steps."""
        whole, q = batches.sum(axis=0), percentile / 100
        if effective_n(batches, position(whole, 0.5), 0.5) < _MARGIN * max(SETTLED, BEYOND / min(q, 1 - q)):
            return False
        bounds = order_bounds(effective_n(batches, position(whole, q), q) / (_CAUTION * _WIDE**2), q)
        return bounds is not None and position(whole, bounds[1]) - position(whole, bounds[0]) <= 2 * _WIDE * self._steps


def position(counts: Counts, q: float) -> float:
    """Where the q-quantile lies, in steps of a histogram that is not empty; between the ends of a step by its share of what is in it."""
    upto = np.cumsum(counts)
    wanted = max(q * int(upto[-1]), math.ulp(0.0))
    place = min(int(np.searchsorted(upto, wanted)), len(counts) - 1)
    return float(place + 1 - (upto[place] - wanted) / max(1, counts[place]))


def effective_n(batches: Counts, at: float, q: float) -> float:
    """How many independent requests tell as much of the q-quantile, which lies `at`; 0 while batches are too short to know.

    Batches are joined two by two until each is some autocorrelation times long.
    """
    each, place = batches.sum(axis=1), int(at)
    n, below = int(each.sum()), batches[:, :place].sum(axis=1) + (at - place) * batches[:, place]
    off = below - q * each
    while len(off) >= _LEAST_BATCHES:
        length = n / len(off)
        times = max(1.0, float((off**2).mean()) / (length * q * (1 - q))) if n else math.inf
        if length >= _LEAST_TIMES * times:
            return n / times
        off = off[: len(off) // 2 * 2].reshape(-1, 2).sum(axis=1)
    return 0.0
