"""Does a full trace start as fast as nothing at all, and go out as exactly as bytes can? The Mooncake conversation trace at truth.

    python benchmarks/full_trace.py TRACE.jsonl

Launch to first request of the whole trace against that of the trivial experiment, the peak memory of all our processes, and
its first 60 s replayed: lengths against truth's usage, lateness against replay_floor.py, which sends the same bodies at the
same times in the same go.
"""

import argparse
import contextlib
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiperf.app import plan as planning
from aiperf.app.data import data
from aiperf.app.jobs import Render, Target, speaker
from aiperf.config.compose import load
from harness import GOES, HERE, Figures, NoiseError, Table, Truth, alternate, ancestors, chat, landed, launch, median, truth, worst

END_S, TTFT_US, ITL_US = 60, 20_000, 5000
TRIVIAL = ("timing=concurrency", "timing.concurrency=8", "timing.stop.requests=50", "dataset.output_tokens=16", "dataset.input_tokens=100")
PATIENCE_S = 60


def replayed(trace: Path, *more: str) -> tuple[str, ...]:
    return ("experiment=mooncake_replay", f"dataset.path={trace.resolve()}", "dataset.salt=none", "goodput=none", *more)


def first_seen_s(folder: Path, server: Truth, *words: str) -> tuple[float, float]:
    """Seconds from launch to the first request of the run at truth, and the peak memory of all our processes in MB; then it is ended."""
    began = time.time_ns()
    process = launch(folder, *words, *chat(server))
    peak, until = 0.0, time.monotonic() + PATIENCE_S
    while server.served() < 3 and time.monotonic() < until and process.poll() is None:  # two probes come first
        peak = max(peak, memory_mb(process.pid))
        time.sleep(0.02)
    for _ in range(20):
        peak = max(peak, memory_mb(process.pid))
        time.sleep(0.05)
    process.send_signal(2)
    process.communicate()
    return (server.end()["arrived"].min() - began) / 1e9, peak


def memory_mb(parent: int) -> float:
    """What a process and those that it started hold of their own and their share of the rest (PSS)."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            if int(entry.name) == parent or parent in ancestors(int(entry.name)):
                lines = (entry / "smaps_rollup").read_text().splitlines()
                total += int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return total / 1000


def bodies(trace: Path, port: int) -> tuple[list[int], list[bytes]]:
    """What the run sends, made by the same parts."""
    experiment = load(
        [*replayed(trace), "endpoint=vllm", f"endpoint.url=http://127.0.0.1:{port}", f"timing.end_s={END_S}", "~timing.warmup"]
    )
    plan = planning.make(experiment.experiment, data(experiment.experiment, "", print))
    run, options = plan.schedule.run, experiment.experiment.endpoint
    render = Render(plan.source, speaker(Target(options, options.url, "truth", "/v1/chat/completions", True)))
    assert run.due_ns is not None
    return run.due_ns.tolist(), [render(run, place).body for place in range(len(run.due_ns))]


def floor_late_ms(folder: Path, trace: Path) -> NDArray:
    with truth(folder, TTFT_US, ITL_US) as server:
        given = folder / "bodies.pickle"
        given.write_bytes(pickle.dumps(bodies(trace, server.port)))
        command = [sys.executable, HERE / "replay_floor.py", str(server.port), given]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return np.array(json.loads(said)["late_us"]) / 1000


def go(folder: Path, trace: Path) -> Figures:
    with truth(folder, TTFT_US, ITL_US) as server:
        whole, memory = first_seen_s(folder / "whole", server, *replayed(trace, "~timing.warmup"))
    with truth(folder, 5000, 1000) as server:
        trivial, _ = first_seen_s(folder / "trivial", server, *TRIVIAL)
    floor = floor_late_ms(folder, trace)
    if np.percentile(floor, 99) > 50:
        raise NoiseError
    with truth(folder, TTFT_US, ITL_US) as server:
        trial = landed(folder, launch(folder, *replayed(trace, "~timing.warmup"), *chat(server), f"timing.end_s={END_S}"))
        rows = server.end()
    wanted = [row["input_length"] for row in map(json.loads, trace.read_text().splitlines()) if row["timestamp"] < END_S * 1000]
    records = trial.records("request", "due_ns", "schedule_lateness").sort_by("request")
    late, due = records["schedule_lateness"].to_numpy(), records["due_ns"].to_numpy()
    firsts = np.concatenate(([True], np.diff(due) > 1_000_000))  # the clocks' offset moves by some nanoseconds
    rows = rows[np.argsort(rows["request"])]
    return {
        "whole_s": whole, "trivial_s": trivial, "startup": whole / trivial, "memory_mb": memory,
        "wrong_lengths": float((rows["prompt"] != np.array(wanted)).sum()) if len(rows) == len(wanted) else float(len(wanted)),
        "late_p99_ms": float(np.percentile(late, 99)), "floor_p99_ms": float(np.percentile(floor, 99)),
        "late_ratio": float(np.percentile(late, 99) / np.percentile(floor, 99)),
        "first_ms": float(late[firsts].max()), "floor_first_ms": float(floor[firsts].max()),
        "late_p50_ms": float(np.median(late)), "floor_p50_ms": float(np.median(floor)),
        "exit": float(trial.code),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--goes", type=int, default=GOES)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    goes = alternate(lambda folder: go(folder, given.trace), given.goes)
    table = Table("The full conversation trace, and its first 60 s")
    table.at_most("launch to first request, of the trivial experiment's", median(goes, "startup"), 2)
    table.at_most("peak memory of all processes", worst(goes, "memory_mb"), 1000, "MB")
    table.at_most("prompt tokens in truth's usage that are not the trace's", worst(goes, "wrong_lengths"), 0)
    table.at_most("lateness p99, of the bare loop's", median(goes, "late_ratio"), 1.5)
    table.at_most("first request of each batch of equal times, the worst", median(goes, "first_ms"), 0.1, "ms")
    table.note("launch to first request", f"{median(goes, 'whole_s'):.2f} s, trivial {median(goes, 'trivial_s'):.2f} s")
    table.note("lateness p99, p50", f"{median(goes, 'late_p99_ms'):.3f}, {median(goes, 'late_p50_ms'):.3f} ms")
    table.note("the bare loop's p99, p50", f"{median(goes, 'floor_p99_ms'):.3f}, {median(goes, 'floor_p50_ms'):.3f} ms")
    table.note("the bare loop's worst first of a batch", f"{median(goes, 'floor_first_ms'):.3f} ms")
    table.note("goes that were VALID", f"{sum(g['exit'] == 0 for g in goes)} of {len(goes)}")
    table.close()


if __name__ == "__main__":
    main()
