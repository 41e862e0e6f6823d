"""Is a trace replayed as it is? The first 600 s of the full conversation trace at speedup 10 against truth (20 ms, 5 ms).

python benchmarks/mooncake.py TRACE.jsonl
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness import Table, Trial, chat, play, truth

END_S, SPEEDUP = 600, 10


def span(trace: Path) -> list[dict[str, int]]:
    """The trace's rows before its 600th second, in the order of time."""
    rows = [json.loads(line) for line in trace.read_text().splitlines() if line.strip()]
    return sorted((row for row in rows if row["timestamp"] < END_S * 1000), key=lambda row: row["timestamp"])


def replay(folder: Path, trace: Path) -> tuple[Trial, NDArray]:
    with truth(folder, 20_000, 5000) as server:
        words = (f"dataset.path={trace.resolve()}", f"timing.end_s={END_S}", f"timing.speedup={SPEEDUP}")
        trial = play(folder, "experiment=mooncake_replay", *chat(server), *words)
        return trial, server.end()


def plan_of(trial: Trial) -> pa.Table:
    """The run's own part of the plan, by number."""
    plan = pq.read_table(trial.first / "plan.parquet")
    return plan.filter(pa.array(np.asarray(plan["phase"].cast("string")) == "profiling")).sort_by("request")


def differences(ours: NDArray, theirs: list[int]) -> int:
    """Entries in which two columns differ; those that one lacks count."""
    wanted, both = np.asarray(theirs), min(len(ours), len(theirs))
    return int((ours[:both] != wanted[:both]).sum()) + abs(len(ours) - len(theirs))


def late(due_ns: NDArray, due_ms: list[int]) -> int:
    """How many due times, counted from the first, are not the trace's at the speedup; the plan's count from the warm-up's start."""
    if len(due_ns) != len(due_ms):
        return max(len(due_ns), len(due_ms))
    wanted = np.asarray(due_ms) * 1e6 / SPEEDUP
    return int((np.abs((due_ns - due_ns[0]) - (wanted - wanted[0])) > 1000).sum())


def check(trial: Trial, rows: NDArray, wanted: list[dict[str, int]]) -> Table:
    rows, plan = rows[np.argsort(rows["request"], stable=True)], plan_of(trial)
    usage = trial.records("request", "input_tokens").sort_by("request")["input_tokens"].to_numpy()
    conversations = plan["conversation"].to_pylist()
    planned = [wanted[place] for place in conversations if place < len(wanted)]
    asked, answered, due_ms = ([row[key] for row in planned] for key in ("input_length", "output_length", "timestamp"))
    table = Table(f"The first {END_S} s of {len(wanted):,} rows at speedup {SPEEDUP}")
    table.equal("requests at truth", len(rows), len(wanted))
    table.at_most("rows of the span not planned exactly once", differences(np.sort(conversations), list(range(len(wanted)))), 0)
    table.at_most("planned requests not at truth exactly once", differences(rows["request"], plan["request"].to_pylist()), 0)
    table.at_most("prompt tokens in truth's usage that are not the trace's", differences(rows["prompt"], asked), 0)
    table.at_most("records.input_tokens that are not the trace's", differences(usage, asked), 0)
    table.at_most("answers whose length is not the trace's", differences(rows["tokens"], answered), 0)
    table.at_most("due times more than 1 us off the trace's", late(plan["due_ns"].to_numpy(), due_ms), 0)
    table.equal("exit code", trial.code, 0)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    trace = parser.parse_args().trace
    with tempfile.TemporaryDirectory(prefix="aiperf-benchmark-") as folder:
        trial, rows = replay(Path(folder), trace)
        table = check(trial, rows, span(trace))
        table.note("verdict", f"{trial.verdict} {' '.join(trial.reasons)}")
        table.close()


if __name__ == "__main__":
    main()
