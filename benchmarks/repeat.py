"""Ten runs that differ in everything: `aiperf report --from process` makes each derived file and each row of the tables the same again."""

import hashlib
import json
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from harness import Table, command, landed, launch

SIMULATOR = ("endpoint=simulator", "endpoint.simulator.ttft_ms=5", "endpoint.simulator.itl_ms=1", "dataset.output_tokens=16")
OPEN = ("timing=request_rate", "timing.rate=200", "timing.stop.duration_s=3")
CLOSED = ("timing=concurrency", "timing.concurrency=16", "timing.stop.requests=600")
FAULTS = tuple(f"endpoint.simulator.faults.{name}=0.05" for name in ("truncated", "http_500", "reset_mid", "malformed", "error_named"))
RUNS: dict[str, tuple[str, ...]] = {
    "open loop": (*SIMULATOR, *OPEN),
    "closed loop": (*SIMULATOR, *CLOSED),
    "faults of five kinds": (*SIMULATOR, *OPEN, *FAULTS, "verdict.max_error_rate=1"),
    "warm-up, a cap, promises": (
        *SIMULATOR, *OPEN, "timing.warmup.requests=50", "timing.concurrency=8", "goodput.slos.time_to_first_token=20ms",
    ),
    "answers in one piece": (*SIMULATOR, *CLOSED, "endpoint.streaming=false"),
    "three processors": (*SIMULATOR, *OPEN, *FAULTS, "cluster.processors=3"),
    "two generators": (*SIMULATOR, *OPEN, "cluster.generators=2", "cluster.processors=2"),
    "a virtual clock, batching": (
        "endpoint=simulator", "endpoint.simulator.clock=virtual", "endpoint.simulator.preset=small_gpu", "timing=request_rate",
        "timing.rate=20", "timing.stop.duration_s=300", "dataset.output_tokens=64",
    ),
    "ended by a stop rule": (*SIMULATOR, *OPEN, *FAULTS, "timing.stop.duration_s=30", "timing.stop.max_errors=20"),
    "ended by Ctrl-C": (*SIMULATOR, *OPEN, "timing.stop.duration_s=30"),
}  # fmt: skip
TABLES = ("sweeps", "trials", "params", "metrics", "reasons", "slos", "points")


def derived(campaign: Path) -> dict[str, str]:
    files = [path for path in campaign.rglob("*") if path.is_file() and path.name not in ("run.log", "sweep.duckdb")]
    return {str(path.relative_to(campaign)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(campaign: Path) -> list[str]:
    words = [command("query", f"FROM {table} SELECT * ORDER BY ALL", "--in", campaign, "--format", "csv") for table in TABLES]
    return [subprocess.run(one, check=True, capture_output=True, text=True).stdout for one in words]


def main() -> None:
    table = Table("`report --from process` of ten runs")
    with tempfile.TemporaryDirectory(prefix="aiperf-benchmark-") as made:
        for name, words in RUNS.items():
            folder = Path(made) / name.replace(" ", "-").replace(",", "")
            run = launch(folder, *words, "output.level=raw", "output.formats=[csv,jsonl]")
            if name == "ended by Ctrl-C":
                time.sleep(4)
                run.send_signal(signal.SIGINT)
            trial = landed(folder, run)
            before, told = derived(trial.folder), rows(trial.folder)
            again = subprocess.run(command("report", trial.folder, "--from", "process"), capture_output=True, text=True, check=False)
            after = derived(trial.folder)
            differ = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
            counts = json.loads((trial.first / "summary.json").read_text())["counts"]
            table.equal(f"{name}: files that differ of {len(after)} ({counts['planned']:,} requests, exit {trial.code})", differ, [])
            table.equal(
                f"{name}: same rows in the tables, same exit code", (rows(trial.folder) == told, again.returncode), (True, trial.code)
            )
    table.close()


if __name__ == "__main__":
    main()
