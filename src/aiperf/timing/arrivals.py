"""Arrival processes: pure, seeded, whole arrays before the start."""

import math
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.clock import SECOND


@dataclass(frozen=True, slots=True)
class ConstantIntervalGenerator:
    """Equal gaps at `rate` a second, the first arrival at 0; each is rounded for itself, so nothing drifts. `seed` changes nothing."""

    rate: float
    _: KW_ONLY
    seed: int

    def offsets(self, count: int) -> NDArray[np.int64]:
        """The first `count` arrivals."""
        found: NDArray[np.int64] = np.rint(np.arange(count) * float(SECOND) / self.rate).astype(np.int64)
        return found

    def until(self, duration_ns: int) -> NDArray[np.int64]:
        """The arrivals before `duration_ns`."""
        return _before(self.offsets(math.ceil(self.rate * duration_ns / SECOND) + 1), duration_ns)


@dataclass(frozen=True, slots=True)
class PoissonIntervalGenerator:
    """Exponential gaps with a mean of 1 / `rate` seconds, the first one included."""

    rate: float
    _: KW_ONLY
    seed: int

    def offsets(self, count: int) -> NDArray[np.int64]:
        """The first `count` arrivals."""
        gaps = chance.exponential(chance.draws(chance.child_seed(self.seed, "arrivals"), count))
        return np.rint(np.cumsum(gaps) * float(SECOND) / self.rate).astype(np.int64)

    def until(self, duration_ns: int) -> NDArray[np.int64]:
        """The arrivals before `duration_ns`."""
        mean = self.rate * duration_ns / SECOND
        count = math.ceil(mean + 6 * math.sqrt(mean)) + 16  # enough but for one in 10⁹
        while (found := self.offsets(count))[-1] < duration_ns:
            count *= 2
        return _before(found, duration_ns)


def _before(offsets: NDArray[np.int64], duration_ns: int) -> NDArray[np.int64]:
    return offsets[: int(np.searchsorted(offsets, duration_ns))]
