"""Whether a 95 % interval holds the truth 95 times of 100: record tables whose truth is known, at many lengths.

Tables are of queues by Lindley's recursion, of arrivals one by one (M/M/1) and in batches of eight, and of an autoregressive
process, all begun in their stationary state; and of the simulator's engine, whose truth is that of 40 further tables of the
greatest length. A shorter length is the beginning of the same table. A cell is the share of the printed intervals that hold
the truth, behind it how many tables of all printed one; in brackets what an interval would hold that takes the values as
independent. Where fewer than one table in twenty prints one, a cell is shown and not judged. Where there are fewer than a
thousand tables, which is so of the engine's, a cell may miss by its luck, three standard errors.
"""

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, signal
from scipy import stats as known

from aiperf.config.simulator import Simulator
from aiperf.metrics.intervals import SETTLED, Sample, of_mean, of_percentile, order_bounds, rate_interval
from aiperf.simulator.engine import Engine
from aiperf.simulator.model import Ask

LENGTHS = (200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
STATS = ("avg", "rate", "p50", "p90", "p99")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
LEAST, MOST = 0.93, 0.97
JUDGED = 0.05
TABLES = 1000
OF_ENGINE = 200
BATCH = 8
MS = 1e6
NORMAL = 1.96
ENGINE = Simulator(preset="large_gpu", max_running=8, max_batched_tokens=256, kv_blocks=56)
PROMPT, ANSWER = (32, 225), 4.0
EARLY = 5_000
NEAR = 500
TRUTHS = 40
ENGINE_SHORTEST = 2_000


@dataclass(frozen=True)
class Table:
    """Values in order of completion, ends that ascend, and the window that those ends are counted in for `n` values."""

    values: NDArray[np.float64]
    ended: NDArray[np.float64]
    begins: float
    a_value: float

    def window(self, n: int) -> tuple[int, int]:
        return round(self.begins * MS), round((self.begins + n * self.a_value) * MS)


@dataclass(frozen=True)
class Queue:
    """One server of exponential service times with mean 1 ms, Poisson arrivals of `batch` requests; values are sojourn times."""

    load: float
    batch: int = 1

    @cached_property
    def before(self) -> NDArray[np.float64]:
        """How many are in the system, by probability: the flow up over each level equals the flow down."""
        flow, size = self.load / self.batch, round(80 * self.batch / (1 - self.load)) + 200
        chance = np.zeros(size)
        chance[0] = 1 - self.load
        for k in range(size - 1):
            chance[k + 1] = flow * chance[max(0, k - self.batch + 1) : k + 1].sum()
        return chance / chance.sum()

    @cached_property
    def truth(self) -> dict[str, float]:
        """A request waits for those before it and those of its batch before it: so many exponential services and its own."""
        chance = np.convolve(self.before, np.full(self.batch, 1 / self.batch))
        stages = np.arange(1, len(chance) + 1)
        mean = float(chance @ stages)

        def beyond(at: float, q: float) -> float:
            return float(chance @ known.gamma.cdf(at, stages)) - q

        found = {stat: optimize.brentq(beyond, 0, 60 * mean, args=(q,)) for stat, q in QUANTILES.items()}
        return {"avg": mean, "rate": self.load * 1e3, **found}

    def table(self, chance: np.random.Generator, n: int) -> Table:
        """Those in the system at time 0 end first; they are counted for the rate but have no known sojourn."""
        size = n + 10 * round(n**0.5 * self.batch) + 1000
        there = int(np.searchsorted(np.cumsum(self.before), chance.random()))
        first = np.cumsum(chance.exponential(1, there))
        arrived = np.repeat(np.cumsum(chance.exponential(self.batch / self.load, -(-size // self.batch))), self.batch)[:size]
        services = chance.exponential(1, size)
        worked = np.cumsum(services)
        idle = np.maximum.accumulate(np.maximum(arrived - (worked - services), first[-1] if there else 0.0))
        return Table((worked + idle - arrived)[:n], np.concatenate((first, worked + idle)), 0.0, 1 / self.load)


@dataclass(frozen=True)
class Autoregressive:
    """x[i] = φ x[i-1] + noise, normal with deviation 1; the ends have gaps exp(x / 2)."""

    phi: float

    @cached_property
    def truth(self) -> dict[str, float]:
        return {"avg": 0.0, "rate": 1e3 / np.exp(1 / 8), **{stat: float(known.norm.ppf(q)) for stat, q in QUANTILES.items()}}

    def table(self, chance: np.random.Generator, n: int) -> Table:
        size, early = n + 10 * round(n**0.5 * 5) + 1000, 500
        noise = chance.normal(scale=(1 - self.phi**2) ** 0.5, size=size)
        values, _ = signal.lfilter([1], [1, -self.phi], noise, zi=[self.phi * chance.normal()])
        ended = np.cumsum(np.exp(values / 2))
        return Table(values[:n], ended, float(ended[early]), float(np.exp(1 / 8)))


class Bench:
    """Plays requests against an engine that is looked at when it says; rows are in order of completion, in ns."""

    def __init__(self, asks: Iterator[Ask]) -> None:
        self._engine, self._now_ns, self._first_ns = Engine(ENGINE), 0, dict[Ask, int]()
        self.rows: list[tuple[int, int, int]] = []
        while near := list(islice(asks, NEAR)):
            for ask in near:
                self._engine.arrive(ask, partial(self._tell, ask))
            self._run(near[-1].arrived_ns)
        self._run(None)

    def _run(self, until_ns: int | None) -> None:
        """As far as the arrivals are known."""
        while (due_ns := self._engine.advance(self._now_ns)) is not None and (until_ns is None or due_ns <= until_ns):
            self._now_ns = due_ns

    def _tell(self, ask: Ask, count: int) -> None:  # noqa: ARG002 - the seam's
        """A row is when it ended, its latency and its time to first token."""
        first_ns = self._first_ns.setdefault(ask, self._now_ns)
        if ask not in self._engine.asked:
            del self._first_ns[ask]
            self.rows.append((self._now_ns, self._now_ns - ask.arrived_ns, first_ns - ask.arrived_ns))


@dataclass(frozen=True)
class Batching:
    """The simulator's engine with Poisson arrivals at `load` of what it carries; tables are of latency and time to first token.

    Prompts of 32 to 224 tokens are cut to chunks, answers have 4 tokens on average, geometric; memory is short for eight of them.
    """

    load: float
    longest: int

    @cached_property
    def gap_ns(self) -> float:
        """Between arrivals, of that between ends when all are there at once."""
        ended = np.array(Bench(self.asks(np.random.default_rng(0), 4 * EARLY, 0.0)).rows)[:, 0]
        return float(ended[3 * EARLY] - ended[EARLY]) / (2 * EARLY) / self.load

    def asks(self, chance: np.random.Generator, n: int, gap_ns: float) -> Iterator[Ask]:
        arrived = np.cumsum(chance.exponential(gap_ns, n)).astype(np.int64)
        drawn = (chance.integers(*PROMPT, n), chance.geometric(1 / ANSWER, n), arrived)
        return (Ask(None, *lengths) for lengths in zip(*(column.tolist() for column in drawn)))

    def tables(self, chance: np.random.Generator, n: int) -> tuple[Table, Table]:
        """Begun empty, counted from a time when that is forgotten."""
        size = EARLY + n + 10 * round(n**0.5) + 1000
        ended, *both = np.array(Bench(self.asks(chance, size, self.gap_ns)).rows).T / MS
        gap = self.gap_ns / MS
        first = int(np.searchsorted(ended, EARLY * gap, "right"))
        latency, ttft = (Table(values[first : first + n], ended, EARLY * gap, gap) for values in both)
        return latency, ttft


SYSTEMS: dict[str, Queue | Autoregressive] = {
    "M/M/1 0.5": Queue(0.5),
    "M/M/1 0.9": Queue(0.9),
    "AR(1) 0.5": Autoregressive(0.5),
    "AR(1) 0.9": Autoregressive(0.9),
    "M[8]/M/1 0.5": Queue(0.5, BATCH),
    "M[8]/M/1 0.9": Queue(0.9, BATCH),
}
ENGINES = {"engine 0.5": Batching(0.5, 20_000), "engine 0.9": Batching(0.9, 100_000)}
MEASURES = ("latency", "TTFT")


def holds(bounds: tuple[float, float] | None, truth: float) -> float:
    """1 or 0; NaN without bounds."""
    return float("nan") if bounds is None else float(bounds[0] <= truth <= bounds[1])


def look(table: Table, n: int, truth: dict[str, float]) -> list[tuple[float, float]]:
    """For each statistic whether the interval holds the truth, and whether one would that takes the values as independent."""
    values = table.values[:n]
    ascending = np.sort(values)
    sample, mean = Sample.of(values), float(values.mean())
    half = NORMAL * float(values.std(ddof=1)) / n**0.5
    _, one = of_mean(sample, mean)
    found = [(holds(one and (one.low, one.high), truth["avg"]), holds((mean - half, mean + half), truth["avg"]))]
    start, end = table.window(n)
    one = rate_interval((table.ended * MS).astype(np.int64), start, end, border=sample.border(SETTLED))
    events = np.count_nonzero((table.ended * MS > start) & (table.ended * MS <= end))
    seconds = (end - start) / 1e9
    plain = ((events - NORMAL * events**0.5) / seconds, (events + NORMAL * events**0.5) / seconds)
    found.append((holds(one and (one.low, one.high), truth["rate"]), holds(plain, truth["rate"])))
    for stat, q in QUANTILES.items():
        _, one = of_percentile(sample, q, float(np.quantile(ascending, q)))
        ranks = order_bounds(n, q)
        bounds = None if ranks is None else tuple(np.quantile(ascending, ranks))
        found.append((holds(one and (one.low, one.high), truth[stat]), holds(bounds, truth[stat])))
    return found


def part(name: str, tables: int, lengths: tuple[int, ...], seed: int) -> NDArray[np.float64]:
    """Table by length by statistic by (ours, naive)."""
    chance, system = np.random.default_rng(seed), SYSTEMS[name]
    made = (system.table(chance, lengths[-1]) for _ in range(tables))
    return np.array([[look(table, n, system.truth) for n in lengths] for table in made])


def engine_values(name: str, tables: int, n: int, seed: int) -> NDArray[np.float64]:
    """Table by measure by value, to make the truth of."""
    chance, system = np.random.default_rng(seed), ENGINES[name]
    return np.array([[table.values for table in system.tables(chance, n)] for _ in range(tables)])


def engine_truths(name: str, values: NDArray[np.float64]) -> list[dict[str, float]]:
    """By measure; told with the standard errors, which are those of as many independent tables."""
    truths, rate = [], 1e9 / ENGINES[name].gap_ns
    print()
    for measure, found in zip(MEASURES, values.swapaxes(0, 1)):
        each = np.array([found.mean(axis=1), *np.quantile(found, list(QUANTILES.values()), axis=1)])
        errors = each.std(axis=1, ddof=1) / len(found) ** 0.5
        of_all = dict(zip(("avg", *QUANTILES), (found.mean(), *np.quantile(found, list(QUANTILES.values())))))
        said = ", ".join(f"{stat} {of_all[stat]:.3f} ± {error:.3f}" for stat, error in zip(of_all, errors))
        print(f"{name} {measure}: {said} ms of {found.size:,} (standard errors), {rate:.2f}/s")
        truths.append({**{stat: float(one) for stat, one in of_all.items()}, "rate": rate})
    return truths


def engine_part(name: str, tables: int, lengths: tuple[int, ...], seed: int, *, truths: list[dict[str, float]]) -> NDArray[np.float64]:
    """Measure by table by length by statistic by (ours, naive)."""
    chance, system = np.random.default_rng(seed), ENGINES[name]
    made = (zip(system.tables(chance, lengths[-1]), truths) for _ in range(tables))
    return np.array([[[look(table, n, truth) for n in lengths] for table, truth in both] for both in made]).swapaxes(0, 1)


def cell(ours: NDArray[np.float64], naive: NDArray[np.float64]) -> tuple[str, bool]:
    """Its text, and whether it misses."""
    printed = ~np.isnan(ours)
    beside = f"[{100 * np.nanmean(naive):.0f}]" if not np.isnan(naive).all() else "[-]"
    if not printed.any():
        return f"- {beside}", False
    share = float(ours[printed].mean())
    luck = 3 * (0.95 * 0.05 / printed.sum()) ** 0.5 if len(ours) < TABLES else 0.0
    misses = printed.mean() >= JUDGED and not LEAST - luck <= share <= MOST + luck
    few = "?" if printed.mean() < JUDGED else "!" if misses else ""
    return f"{100 * share:.1f}{few} of {printed.sum()} {beside}", misses


def show(name: str, found: NDArray[np.float64], lengths: tuple[int, ...]) -> int:
    """One system's rows; returns the cells that miss."""
    print(f"\n{name}\n{'':6}" + "".join(f"{n:>20,}" for n in lengths) + "  half print from")
    missed = 0
    for column, stat in enumerate(STATS):
        cells = [cell(found[:, row, column, 0], found[:, row, column, 1]) for row in range(len(lengths))]
        missed += sum(misses for _, misses in cells)
        half = [n for row, n in enumerate(lengths) if np.isnan(found[:, row, column, 0]).mean() <= 1 / 2]
        print(f"{stat:6}" + "".join(f"{text:>20}" for text, _ in cells) + (f"  {half[0]:,}" if half else "  longer"))
    return missed


def judge_engine(pool: ProcessPoolExecutor, name: str, lengths: tuple[int, ...], *, tables: int, seed: int) -> int:
    """The truth, then the tables; returns the cells that miss."""
    fit = tuple(n for n in lengths if ENGINE_SHORTEST <= n <= ENGINES[name].longest)
    further = [pool.submit(engine_values, name, 2, lengths[-1], seed + k) for k in range(TRUTHS // 2)]
    truths = engine_truths(name, np.concatenate([one.result() for one in further]))
    parts = [pool.submit(engine_part, name, tables // 20, fit, seed + TRUTHS + k, truths=truths) for k in range(20)]
    found = np.concatenate([one.result() for one in parts], axis=1)
    return sum(show(f"{name} {measure}", one, fit) for measure, one in zip(MEASURES, found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 tables, 40 of each engine, to 20,000 values")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[*SYSTEMS, *ENGINES], help="one system")
    asked = parser.parse_args()
    tables, of_engine, longest = (200, 40, 20_000) if asked.quick else (TABLES, OF_ENGINE, LENGTHS[-1])
    lengths = tuple(n for n in LENGTHS if n <= longest)
    workers, missed = len(os.sched_getaffinity(0)), 0
    with ProcessPoolExecutor(workers) as pool:
        jobs = {
            name: [pool.submit(part, name, tables // 20, lengths, 1000 * asked.seed + 20 * row + k) for k in range(20)]
            for row, name in enumerate(SYSTEMS)
            if asked.only in (None, name)
        }
        for name, parts in jobs.items():
            missed += show(name, np.concatenate([one.result() for one in parts]), lengths)
        for row, name in enumerate(ENGINES):
            if asked.only in (None, name):
                missed += judge_engine(pool, name, lengths, tables=of_engine, seed=1000 * asked.seed + 500 + 100 * row)
    print(f"\n! misses {100 * LEAST:.0f} to {100 * MOST:.0f} %: {missed} cells; ? too few printed one to judge")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
