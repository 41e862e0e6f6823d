"""What judging a million records costs: time and memory, in a process of its own, of requests with four events each by an M/M/1 queue."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from aiperf.config.compose import load
from aiperf.metrics.columns import with_metrics
from aiperf.metrics.summary import summarise
from aiperf.records import SCHEMA
from aiperf.results import RunFacts, Window
from harness import Figures, Table, alternate, median

REQUESTS, EVENTS, BATCH = 1_000_000, 4, 50_000
MS = 1_000_000
SECONDS, MEGABYTES = 10, 1000
T0 = 1_700_000_000 * 1000 * MS


def records() -> pa.Table:
    """Poisson arrivals into one server at half its capacity; a batch at a time, as processors write them."""
    rng = np.random.default_rng(1)
    sent = T0 + np.cumsum(rng.exponential(2 * MS, REQUESTS)).astype(np.int64)
    service = rng.exponential(1 * MS, REQUESTS).astype(np.int64)
    free, began = 0, np.empty(REQUESTS, np.int64)
    for place, (at, takes) in enumerate(zip(sent.tolist(), service.tolist())):
        began[place] = free = max(free, at)
        free += takes
    return pa.concat_tables([batch(start, sent, began, service) for start in range(0, REQUESTS, BATCH)])


def batch(start: int, sent: np.ndarray, began: np.ndarray, service: np.ndarray) -> pa.Table:
    part = slice(start, start + BATCH)
    sent, began, service = sent[part], began[part], service[part]
    chunks = began[:, None] + service[:, None] * np.arange(1, EVENTS + 1) // EVENTS
    offsets = pa.array(np.arange(0, (len(sent) + 1) * EVENTS, EVENTS, dtype=np.int32))
    content = pa.array(["content"] * chunks.size).dictionary_encode().cast(SCHEMA.field("chunk_channel").type.value_type)
    same = {
        "phase": "profiling",
        "session": 0,
        "turn": 0,
        "generator": 0,
        "url": "http://h",
        "model": "m",
        "stamp": "kernel",
        "coalesced": 0,
    }
    columns = {name: pa.repeat(pa.scalar(value), len(sent)) for name, value in same.items()} | {
        "request": np.arange(start, start + len(sent)), "reused": pa.repeat(pa.scalar(value=True), len(sent)),
        **dict.fromkeys(("due_ns", "ready_ns", "started_ns", "sent_ns", "body_sent_ns"), sent),
        **dict.fromkeys(("first_byte_ns", "first_token_ns", "first_token_low_ns", "first_output_token_ns"), chunks[:, 0]),
        **dict.fromkeys(("last_token_ns", "end_ns"), chunks[:, -1]),
        **dict.fromkeys(("asked_input_tokens", "input_tokens"), np.full(len(sent), 10)),
        **dict.fromkeys(("asked_output_tokens", "output_tokens"), np.full(len(sent), EVENTS)),
        "chunk_ns": pa.ListArray.from_arrays(offsets, chunks.ravel()),
        "chunk_channel": pa.ListArray.from_arrays(offsets, content),
        "chunk_tokens": pa.ListArray.from_arrays(offsets, np.ones(chunks.size, np.int32)),
    }  # fmt: skip
    made = {
        field.name: pa.array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(len(sent), field.type)
        for field in SCHEMA
    }
    return with_metrics(pa.table(made, schema=SCHEMA))


def judge() -> None:
    """In a process of its own, so that its peak is that of the judging."""
    table = records()
    facts = RunFacts(Window(T0, int(table["sent_ns"][-1].as_py())), open_loop=True, planned=REQUESTS, mean_gap_ns=2 * MS)
    experiment = load(["experiment=poisson"]).experiment
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    summary = summarise(table, facts, experiment, samples={})
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert summary.counts["good"] == REQUESTS
    print(json.dumps({"seconds": seconds, "peak_mb": peak / 1024, "records_mb": table.nbytes / 1e6, "before_mb": held / 1024}))


def go(_: Path) -> Figures:
    said = subprocess.run([sys.executable, __file__, "--judge"], check=True, capture_output=True, text=True).stdout
    found: Figures = json.loads(said)
    return found


def main() -> None:
    goes = alternate(go)
    table = Table(f"Statistics of {REQUESTS:,} records, {EVENTS} events each")
    table.at_most("time from records to summary", median(goes, "seconds"), SECONDS, "s")
    table.at_most("peak memory of the process, records and libraries included", median(goes, "peak_mb"), MEGABYTES, "MB")
    table.note("of which records, MB", round(median(goes, "records_mb")))
    table.close()


if __name__ == "__main__":
    judge() if "--judge" in sys.argv else main()
