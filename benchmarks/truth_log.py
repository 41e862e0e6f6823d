"""What really happened on truth's side, and how far off a client's own stamps are.

    python benchmarks/truth_log.py LOG [RECORDS]  ->  one line of JSON (milliseconds)

RECORDS, a Parquet file or a folder of them, holds the columns request, sent_ns, first_token_ns and last_token_ns, and
first_token_low_ns where a client gives intervals (int64, CLOCK_REALTIME, nulls allowed). Rows are joined to truth's by
the request's number. Requests without a number (a probe's) and those of a warm-up are left out everywhere.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

STAMPED, COUNTED = ("request", "arrived", "first", "out", "last"), ("tokens", "prompt", "conn", "stream")
ROW = np.dtype([(name, "i8") for name in STAMPED] + [(name, "i4") for name in COUNTED])
"""A row of truth's log: stamps in CLOCK_REALTIME nanoseconds, counts in tokens."""

WARMUP_FROM = 1_000_000_000
MILLISECOND = 1e6
STAMPS = ("sent_ns", "first_token_ns", "first_token_low_ns", "last_token_ns")


def read(log: Path) -> NDArray:
    """The numbered requests of the run, in the order in which they ended."""
    rows = np.fromfile(log, dtype=ROW)
    return rows[(rows["request"] >= 0) & (rows["request"] < WARMUP_FROM)]


def rate(rows: NDArray) -> float:
    """Requests a second, from the first arrival to the last token."""
    return len(rows) / ((rows["last"].max() - rows["arrived"].min()) / 1e9)


def ttft_ms(rows: NDArray) -> NDArray:
    """Each request's time to first token as truth gave it."""
    return (rows["first"] - rows["arrived"]) / MILLISECOND


def gaps_ms(rows: NDArray) -> NDArray:
    """Gaps between arrivals."""
    return np.diff(np.sort(rows["arrived"])) / MILLISECOND


@dataclass(frozen=True)
class Joined:
    """Truth's rows beside a client's stamps of the same requests; -1 where the client has none."""

    truth: NDArray
    sent: NDArray
    first: NDArray
    low: NDArray
    last: NDArray
    missing: int
    extra: int
    repeated: int

    @property
    def exact(self) -> NDArray:
        """Which first tokens the client says to know exactly."""
        return (self.first >= 0) & (self.low == self.first)

    @property
    def interval(self) -> NDArray:
        """Which it gives as an interval."""
        return (self.first >= 0) & (self.low != self.first)

    def ttft_error_ms(self) -> NDArray:
        """Client's TTFT minus truth's, of exact first tokens."""
        error = (self.first - self.sent) - (self.truth["first"] - self.truth["arrived"])
        return error[self.exact] / MILLISECOND

    def arrival_error_ms(self) -> NDArray:
        """How far exact first tokens lie outside of what truth knows: not before `first`, not after `out`."""
        early, late = self.truth["first"] - self.first, self.first - self.truth["out"]
        return np.maximum(np.maximum(early, late), 0)[self.exact] / MILLISECOND

    def intervals_without_truth(self) -> int:
        """Intervals that cannot hold the arrival."""
        holds = (self.low <= self.truth["out"]) & (self.truth["first"] <= self.first)
        return int((self.interval & ~holds).sum())

    @property
    def interval_share(self) -> float:
        """Share of first tokens that are intervals."""
        return float(self.interval.sum() / max((self.first >= 0).sum(), 1))


def join(rows: NDArray, records: Path) -> Joined:
    """Puts a client's records beside truth's rows; of a number that comes twice the first row counts."""
    have = pq.ParquetDataset(records).schema.names
    table = pq.read_table(records, columns=["request", *(name for name in STAMPS if name in have)])
    numbers = table["request"].fill_null(-1).to_numpy()
    kept = np.flatnonzero((numbers >= 0) & (numbers < WARMUP_FROM))
    _, ours, theirs = np.intersect1d(rows["request"], numbers[kept], return_indices=True)
    place = kept[theirs]
    sent, first, low, last = (table[name if name in have else "first_token_ns"].fill_null(-1).to_numpy()[place] for name in STAMPS)
    missing = int((~np.isin(rows["request"], numbers)).sum())
    extra = int((~np.isin(numbers[kept], rows["request"])).sum())
    repeated = sum(len(a) - len(np.unique(a)) for a in (rows["request"], numbers[kept]))
    return Joined(rows[ours], sent, first, low, last, missing, extra, repeated)


def quantiles(values: NDArray) -> dict[str, float] | None:
    """Mean, p50, p99 and extremes, in the unit of `values`."""
    if not len(values):
        return None
    points = {"p50": 50, "p99": 99, "min": 0, "max": 100}
    return {"avg": round(float(values.mean()), 4)} | {name: round(float(np.percentile(values, q)), 4) for name, q in points.items()}


def against(joined: Joined) -> dict[str, object]:
    """What a client has missed, and by how much it was off."""
    known = joined.sent >= 0
    return {
        "joined": len(joined.truth),
        "missing": joined.missing,
        "extra": joined.extra,
        "repeated": joined.repeated,
        "sent_to_arrived_ms": quantiles((joined.truth["arrived"] - joined.sent)[known] / MILLISECOND),
        "ttft_error_ms": quantiles(joined.ttft_error_ms()),
        "outside_ms": quantiles(joined.arrival_error_ms()),
        "last_token_error_ms": quantiles((joined.last - joined.truth["last"])[joined.last >= 0] / MILLISECOND),
        "intervals": int(joined.interval.sum()),
        "intervals_without_truth": joined.intervals_without_truth(),
    }


def said(rows: NDArray) -> dict[str, object]:
    """Truth's own account of a run."""
    several = rows[rows["tokens"] > 1]
    gap = gaps_ms(rows)
    return {
        "requests": len(rows),
        "req_per_s": round(rate(rows), 1),
        "connections": len(np.unique(rows["conn"])),
        "ttft_ms": quantiles(ttft_ms(rows)),
        "itl_ms": quantiles((several["last"] - several["first"]) / (several["tokens"] - 1) / MILLISECOND),
        "latency_ms": quantiles((rows["last"] - rows["arrived"]) / MILLISECOND),
        "gap_cv": round(float(gap.std() / gap.mean()), 3) if len(gap) else None,
    }


def main() -> None:
    rows = read(Path(sys.argv[1]))
    client = {"client": against(join(rows, Path(sys.argv[2])))} if sys.argv[2:] else {}
    print(json.dumps(said(rows) | client))


if __name__ == "__main__":
    main()
