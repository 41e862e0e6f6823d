"""How dependent successive values are: their integrated autocorrelation time, by batch means over nested batch sizes.

With batches of m successive values, m · Var(batch mean) / Var(value) grows with m to the integrated autocorrelation time τ
(Bartlett; Fishman 1978) and levels off where batches are long against the memory of what is measured. The number of batches is
20, 40, 80 and so on; the most that are long enough are used, since many batches tell their variance well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 20
"""No interval of a mean is made from fewer batches."""
_MOST = FEWEST * 2**8
_LONG = 16
"""Batches are this many times as long as τ − 1 at the least: what is missing of the variance is then about 3 %."""
_NOISE = 2.0
"""Standard errors of τ within which two batch sizes agree."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One number of batches: their length, τ by them, and the skewness of their means."""

    batches: int
    length: float
    tau: float
    skewness: float

    @property
    def noise(self) -> float:
        return _NOISE * float(np.sqrt(2 / self.batches))


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
        return n / self.tau if self.tau > 1 + _NOISE * float(np.sqrt(2 / self.batches)) else float(n)


def dependence(values: NDArray[Any], *, batches: int | None = None) -> Dependence:
    """Of values in their order; independent where fewer than 20 or all alike. A number of `batches` overrides the choice."""
    steps = list(_steps(values))
    if not steps:
        return Dependence()
    worst = max((1.0, *(step.tau for step in steps)))
    early = max((1.0, *(step.tau for step in steps if step.batches >= 4 * FEWEST)))
    fit = (step for step in steps if step.batches == (batches or step.batches) and step.length >= _LONG * (worst - 1))
    used = next((step for step in fit if _is_level(step, steps)), steps[-1])
    return Dependence(used.tau, used.batches, used.skewness, worst, early, _is_level(steps[max(len(steps) - 2, 0)], steps))


def below(values: NDArray[np.float64], bound: float) -> NDArray[np.int8]:
    """Twice the indicator value <= bound, once where equal, so that a bound that many values share tells them from the rest."""
    told: NDArray[np.int8] = (values < bound).view(np.int8) + (values <= bound).view(np.int8)
    return told


def _is_level(step: _Step, steps: list[_Step]) -> bool:
    """Whether no longer batches found a τ that is larger by more than noise."""
    return all(longer.tau <= step.tau * (1 + longer.noise) for longer in steps if longer.batches < step.batches)


def _steps(values: NDArray[Any]) -> Iterator[_Step]:
    """From the most batches to 20; batches that do not divide n differ by one value in length."""
    n, spread = len(values), float(values.var()) if len(values) else 0.0
    batches = FEWEST
    while 2 * batches <= min(n, _MOST):
        batches *= 2
    if n < batches or not spread:
        return
    starts = np.arange(batches + 1) * n // batches
    off = np.add.reduceat(values, starts[:-1], dtype=np.float64) - np.diff(starts) * float(values.mean())
    while True:
        squares = off * off
        variance = float(squares.sum()) / (batches - 1)
        skewness = float(np.dot(squares, off)) / batches / variance**1.5 if variance else 0.0
        yield _Step(batches, n / batches, variance / spread / (n / batches), skewness)
        if batches == FEWEST:
            return
        batches, off = batches // 2, off[::2] + off[1::2]
