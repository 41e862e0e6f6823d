"""Does `stop.precision` end a run when its p50 and p99 are known to 5 %, and not much later? In virtual time, against known servers.

Two servers, 100 seeds each: M/M/1 at a load of 0.5, whose times depend on each other, and one whose times are lognormal and
independent. Poisson arrivals, 100 a second; the generator, its pulses and the stop rule are those of every run.

- The truth is inside ±5 % of what the pulses said at the stop: p50 and p99 both, in at least 93 of 100 runs.
- No run is longer than 3 times the shortest sufficient one: the requests after which the 95 % interval of p99 is ±5 % wide if
  autocorrelation and density are known, n = τ q (1 - q) (1.96 / (0.05 x f(x)))², with τ from 4 million requests by Lindley's
  recursion. (p50 needs a fifth of that.)
- A look costs under 1 ms of the parent's time on average, and so does a pulse, of 36,000.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from aiperf.cluster.inline import InlineChannel
from aiperf.load.generator import Generator, LoadPlan
from aiperf.load.loop import VirtualLoop
from aiperf.metrics.precision import STEP, PulsePrecision, position
from aiperf.results import Pulse
from aiperf.seams import Flights
from aiperf.spool import Exchange
from aiperf.timing.arrivals import PoissonIntervalGenerator
from aiperf.timing.stops import Precise
from aiperf.workload import Phase, Request, Schedule

SECOND = 1_000_000_000
PRECISION, LEAST_RIGHT, MOST_LENGTH, MOST_LOOK_S = 0.05, 0.93, 3.0, 1e-3
RATE, MEAN_S, SPREAD, MEDIAN_S = 100.0, 0.005, 0.5, 0.05
QUANTILES = {"p50": 0.5, "p99": 0.99}
LONG = 4_000_000


class Server:
    """Answers after times that are known beforehand, one request after the other if it has a queue, in body events of no bytes."""

    def __init__(self, loop: VirtualLoop, service_ns: Sequence[int], *, queue: bool) -> None:
        self._loop, self._service_ns, self._queue, self._free = loop, service_ns, queue, 0
        self._flights: Flights

    def tell(self, flights: Flights) -> None:
        """Whom to tell what lands."""
        self._flights = flights

    def send(self, exchange: Exchange, number: bytes, body: bytes) -> None:  # noqa: ARG002 - the seam's
        """Take a request."""
        now = exchange.started = exchange.sent = self._loop.now_ns()
        begins = max(now, self._free) if self._queue else now
        self._free = begins + self._service_ns[exchange.request]
        self._loop.at(self._free, partial(self._land, exchange))

    def _land(self, exchange: Exchange) -> None:
        exchange.status, exchange.first_body, exchange.end = 200, self._loop.now_ns(), self._loop.now_ns()
        self._flights.landed(exchange)

    def sweep(self) -> None:
        """Nothing grows old."""

    def abandon(self, error: str, reason: str) -> None:
        """Nothing hangs."""

    def close(self) -> None:
        """Nothing is open."""


class Nowhere:
    """A spool that forgets."""

    def put(self, exchange: Exchange, *, last: bool) -> None:
        """Forget it."""

    def tick(self) -> None:
        """Nothing waits."""


class Case(NamedTuple):
    """A server: does it queue, service times (s) by generator and number, true quantiles (s), and requests that are just enough."""

    queue: bool
    service: Callable[[np.random.Generator, int], NDArray[np.float64]]
    truth: dict[str, float]
    enough: float


class Ran(NamedTuple):
    """How one run ended: requests sent, estimates (s), and seconds of judging by pulse."""

    sent: int
    said: dict[str, float] | None
    judging_s: float
    pulses: int


def exponential(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Service times of M/M/1."""
    return rng.exponential(MEAN_S, count)


def lognormal(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Times of a server that has room for all."""
    return rng.lognormal(math.log(MEDIAN_S), SPREAD, count)


def enough(q: float, x: float, density: float, tau: float) -> float:
    """Requests after which the 95 % interval of a quantile is as wide as asked."""
    return tau * q * (1 - q) * (norm.ppf(0.975) / (PRECISION * x * density)) ** 2


def autocorrelation_time(below: NDArray[np.bool_], q: float, batch: int = 5_000) -> float:
    """τ of an indicator, by batch means."""
    return float((below.reshape(-1, batch).sum(axis=1) - batch * q).var() / (batch * q * (1 - q)))


def cases() -> dict[str, Case]:
    """Both servers with what is known of them."""
    leaves = 1 / MEAN_S - RATE
    truth = {stat: -math.log(1 - q) / leaves for stat, q in QUANTILES.items()}
    rng = np.random.default_rng(1)
    service, gaps = exponential(rng, LONG), rng.exponential(1 / RATE, LONG)
    walk = np.cumsum(np.concatenate(([0.0], service[:-1] - gaps[1:])))
    stays = walk - np.minimum.accumulate(walk) + service
    queued = [enough(q, truth[stat], leaves * (1 - q), autocorrelation_time(stays <= truth[stat], q)) for stat, q in QUANTILES.items()]
    free = {stat: MEDIAN_S * math.exp(SPREAD * norm.ppf(q)) for stat, q in QUANTILES.items()}
    alone = [enough(q, free[stat], norm.pdf(norm.ppf(q)) / (SPREAD * free[stat]), 1) for stat, q in QUANTILES.items()]
    return {"M/M/1 at 0.5": Case(True, exponential, truth, max(queued)), "lognormal": Case(False, lognormal, free, max(alone))}


def ran(case: Case, seed: int) -> Ran:
    """One run, to its stop or to 1.1 times the longest that is allowed."""
    count = int(1.1 * MOST_LENGTH * case.enough)
    service_ns = np.rint(case.service(np.random.default_rng([seed, 7]), count) * SECOND).astype(np.int64).tolist()
    due_ns = PoissonIntervalGenerator(RATE, seed=seed).offsets(count)
    schedule = Schedule((Phase("profiling", due_ns, duration_ns=int(due_ns[-1]) + 1),), 60 * SECOND)
    loop, channel, seen, spent = VirtualLoop(), InlineChannel(), np.zeros(1400, np.int64), [0.0, 0]
    rule = Precise(PulsePrecision([f"time_to_first_token.{stat}" for stat in QUANTILES], PRECISION))
    said: list[dict[str, float]] = []

    def hear(message: object) -> None:
        if not isinstance(message, Pulse) or said:
            return
        for place, number in message.first.items():
            seen[place] += number
        began = time.perf_counter()
        why = rule(message)
        spent[0], spent[1] = spent[0] + time.perf_counter() - began, spent[1] + 1
        if why is not None:
            said.append({stat: STEP ** position(seen, q) / 1e6 for stat, q in QUANTILES.items()})
            channel.down.append(("end", why))

    channel.hear = hear
    plan = LoadPlan(schedule, lambda _, place: Request(place, b"", 1, 1), 1, None)
    generator = Generator(plan, loop, Nowhere(), channel)  # type: ignore[arg-type]  # what a generator needs of a spool
    told = generator.run(Server(loop, service_ns, queue=case.queue))
    return Ran(int(told["requests"]), said[0] if said else None, spent[0], int(spent[1]))


def right(case: Case, run: Ran) -> bool:
    """Whether every estimate is within the precision of the truth."""
    return run.said is not None and all(abs(run.said[stat] / true - 1) <= PRECISION for stat, true in case.truth.items())


def cost(pulses: int = 36_000) -> float:
    """Mean seconds of judging a pulse, over an hour of pulses of 10 requests each."""
    rng = np.random.default_rng(3)
    judge = PulsePrecision(["time_to_first_token.p50", "time_to_first_token.p99"], 0.01)
    places = np.maximum(0, np.log(lognormal(rng, pulses * 10) * 1e6) / math.log(STEP)).astype(int).reshape(pulses, 10)
    made = []
    for row in places.tolist():
        counts = {place: row.count(place) for place in row}
        made.append(Pulse(0, 0, "profiling", 0, 0, 0, 0, {}, 0, 0, 0.0, counts, counts))
    began = time.perf_counter()
    for pulse in made:
        judge(pulse)
    return (time.perf_counter() - began) / pulses


def main() -> int:
    """Print the figures beside their limits; 1 if one is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options, missed = parser.parse_args(), 0
    for name, case in cases().items():
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            runs = list(pool.map(partial(ran, case), range(options.first, options.first + options.seeds)))
        share = sum(right(case, run) for run in runs) / len(runs)
        lengths = np.array([run.sent for run in runs]) / case.enough
        print(f"{name}: truth inside ±5 % in {share:.0%} of {len(runs)} runs (at least {LEAST_RIGHT:.0%})")
        print(
            f"  requests: {case.enough:,.0f} are enough; runs had {lengths.min():.2f} to {lengths.max():.2f} times that "
            f"(at most {MOST_LENGTH:g}), median {np.median(lengths):.2f}"
        )
        missed += share < LEAST_RIGHT or lengths.max() > MOST_LENGTH
    each = cost()
    print(f"a pulse is judged in {each * 1e6:.0f} µs on average of 36,000 (at most {MOST_LOOK_S * 1e6:.0f})")
    return int(bool(missed) or each > MOST_LOOK_S)


if __name__ == "__main__":
    sys.exit(main())
