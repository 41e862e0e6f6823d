"""Does the window begin where a warm-up ends, and does a steady run keep all of it and show no trend?

python benchmarks/steady.py [SEED]

200 runs whose beginning has a known length: a step, a line or an exponential from three times the level, or a queue that fills
from nothing. The length of an exponential is the time until 5 % of the level is left of it. Runs have 3,000 to 10,000 requests,
beginnings are 10 to 30 % of them, noise is 10 to 20 % of the level, independent or autoregressive (0.5, 0.9 from one request to
the next). 1,000 steady runs of 200 to 20,000 requests: independent, autoregressive, and M/M/1 at loads of 0.5 and 0.9 by
Lindley's recursion, begun in their steady state. Beside them, what is harder: noise of 30 %, 0.9 from one request to the next.
"""

import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from aiperf.metrics.steady import LEFT, beginning, trend
from harness import Table

Values = NDArray[np.float64]
LENGTHS = (200, 1_000, 5_000, 20_000)
NOISES = ((0.1, 0.0), (0.2, 0.0), (0.2, 0.5), (0.1, 0.9))
HARDER = ((0.3, 0.9),)
SHAPES: dict[str, Callable[[Values], Values]] = {
    "step": lambda at: 1 + 2.0 * (at < 1),
    "line": lambda at: 1 + 2 * np.maximum(1 - at, 0),
    "exponential": lambda at: 1 + 2 * np.exp(at * np.log(LEFT / 2)),
    "queue that fills": lambda at: np.minimum(at, 1),
}
"""The level over time, in lengths of the beginning."""


def autoregressive(rng: Generator, n: int, spread: float, follows: float) -> Values:
    noise = rng.normal(0, spread * np.sqrt(1 - follows**2), n + 200)
    found = [0.0]
    for one in noise:
        found.append(follows * found[-1] + one)
    return 1 + np.array(found[-n:])


def queue(rng: Generator, n: int, load: float) -> Values:
    """How long requests stay in an M/M/1 queue: waits by Lindley's recursion, the first of a steady state."""
    waits = rng.exponential(1, n) - rng.exponential(1 / load, n)
    walk = np.concatenate(([0.0], np.cumsum(waits)))[:n] + (rng.random() < load) * rng.exponential(1 / (1 - load))
    return walk - np.minimum(np.minimum.accumulate(walk), 0) + rng.exponential(1, n)


def steady(rng: Generator, kind: int, n: int) -> Values:
    if kind == 0:
        return autoregressive(rng, n, 0.3, 0.0)
    if kind in (1, 2):
        return autoregressive(rng, n, 0.3, (0.5, 0.9)[kind - 1])
    return queue(rng, n, (0.5, 0.9)[kind - 3])


def begun(rng: Generator, shape: str, noise: tuple[float, float]) -> float:
    """Where the window of one run begins, in lengths of its beginning; a trend behind it counts as nothing found."""
    n = int(rng.integers(3_000, 10_001))
    length = n * rng.uniform(0.1, 0.3)
    values = SHAPES[shape](np.arange(n) / length) * autoregressive(rng, n, *noise)
    start = beginning(values)
    return 0.0 if trend(values[start:]).found else start / length


def share_right(rng: Generator, runs: int, noises: tuple[tuple[float, float], ...]) -> tuple[int, int, Counter[str]]:
    """How many runs begin between 0.9 and 1.2 of the truth, how many earlier than that, and the others by shape."""
    found = [(shape, begun(rng, shape, noises[i // 4 % len(noises)])) for i in range(runs) for shape in [list(SHAPES)[i % 4]]]
    wrong = Counter(shape for shape, at in found if not 0.9 <= at <= 1.2)
    return runs - wrong.total(), sum(at < 0.9 for _, at in found), wrong


def main() -> None:
    rng, table = np.random.default_rng(int(sys.argv[1]) if len(sys.argv) > 1 else 1), Table("the steady window and the trend test")
    right, early, wrong = share_right(rng, 200, NOISES)
    table.at_least("beginnings found within 20 %, of 200", right, 190)
    table.at_most("begun more than 10 % before the truth", early, 2)
    table.note("the others, by shape", dict(wrong))
    clean = [steady(rng, i % 5, LENGTHS[i // 5 % 4]) for i in range(1_000)]
    starts = [beginning(values) for values in clean]
    lines = [trend(values[start:]).found for values, start in zip(clean, starts)]
    table.at_most("trends in 1,000 steady runs", lines.count(True), 3)
    table.at_most("steady runs that lost their beginning", sum(start > 0 for start in starts), 3)
    table.note("too short to tell", lines.count(None))
    right, early, _ = share_right(rng, 200, HARDER)
    table.note("harder noise: within 20 %, of 200", f"{right}, {early} too early")
    table.close()


if __name__ == "__main__":
    main()
