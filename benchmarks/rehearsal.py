"""Does a rehearsal give theory's answer, and real time's? Queues by Lindley, an hour in seconds, counters by hand."""

import json
import os
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.simulator.draws import uniforms
from harness import Figures, Table, Trial, alternate, command, least, median, play, worst

VIRTUAL = ("endpoint=simulator", "endpoint.simulator.clock=virtual", "ui.type=none")
MEAN_MS = 100.0
REQUESTS = {0.5: 100_000, 0.8: 400_000, 0.95: 20_000}
"""By load: so many that a mean within 3 % of theory is no luck, where that is asked for."""
DISTRIBUTIONS = ("exponential", "fixed")
HOUR_S = 3600
SPEED = 150
LIGHT = (
    "endpoint=simulator", "endpoint.simulator.ttft_ms=20", "endpoint.simulator.itl_ms=5", "timing=request_rate", "timing.rate=20",
    "timing.stop.duration_s=10", "dataset.output_tokens=32", "dataset.input_tokens=100", "ui.type=none",
)  # fmt: skip


def textbook(folder: Path, distribution: str, rho: float, requests: int) -> Figures:
    """One queue: how many waits are not Lindley's over the same arrivals and services, and how far the mean is from theory's."""
    log = folder / f"{distribution}-{rho}.jsonl"
    trial = play(
        folder / f"{distribution}-{rho}", *VIRTUAL, "endpoint.simulator.preset=textbook", f"endpoint.simulator.log={log}",
        f"endpoint.simulator.service={{distribution: {distribution}, mean_ms: {MEAN_MS}}}", "timing=request_rate", "seed=11",
        f"timing.rate={rho / MEAN_MS * 1000}", f"timing.stop.requests={requests}", "dataset.output_tokens=1", "dataset.input_tokens=4",
        "timing.stop.grace_s=3600", "endpoint.timeout_s=86400", "endpoint.timeout_s.first_byte=86400", "endpoint.timeout_s.idle=86400",
    )  # fmt: skip
    table = trial.records("request", "sent_ns", "first_token_ns").sort_by("request")
    numbers, sent, first = (table[name].to_numpy() for name in ("request", "sent_ns", "first_token_ns"))
    service = served_ns(numbers, distribution)
    waits = lindley(sent, service)
    mean_wait = (rho / (1 - rho)) * MEAN_MS * (1 if distribution == "exponential" else 0.5)
    rows = {row["request"]: row for row in map(json.loads, log.read_text().splitlines()) if row.get("request") is not None}
    logged = np.array([rows[number]["first_ns"] for number in numbers.tolist()])
    return {
        "requests": float(len(sent)),
        "off_by_lindley": float(np.count_nonzero(first - sent - service != waits)),
        "off_by_log": float(np.count_nonzero(logged != first)),
        "mean_off": float(abs(waits.mean() / 1e6 / mean_wait - 1)),
    }


def served_ns(numbers: NDArray[np.int64], distribution: str) -> NDArray[np.int64]:
    """How long each request was served: what the simulator's draws say, written down once more."""
    if distribution == "fixed":
        return np.full(len(numbers), round(MEAN_MS * 1e6))
    return np.array([round(-np.log(uniforms(0, number, b"service")[0]) * MEAN_MS * 1e6) for number in numbers.tolist()])


def lindley(arrived: NDArray[np.int64], service: NDArray[np.int64]) -> NDArray[np.int64]:
    """W(n+1) = max(0, W(n) + S(n) - A(n)) (Lindley, 1952), in whole nanoseconds."""
    waits, wait = np.zeros(len(arrived), np.int64), 0
    gaps = np.diff(arrived)
    for place, (served, gap) in enumerate(zip(service[:-1].tolist(), gaps.tolist())):
        wait = max(0, wait + served - gap)
        waits[place + 1] = wait
    return waits


def hour(folder: Path, seed: int = 5) -> tuple[Trial, float, float]:
    """A virtual hour of ten requests a second with 100 tokens each: the trial, its wall seconds, its peak memory in MB."""
    words = (
        *VIRTUAL, "endpoint.simulator.preset=large_gpu", "timing=request_rate", "timing.rate=10", f"timing.stop.duration_s={HOUR_S}",
        "dataset.output_tokens={mean: 100, exact: true}", "dataset.input_tokens=200", f"seed={seed}", f"output.dir={folder}",
        "name=benchmark",
    )  # fmt: skip
    began = time.perf_counter()
    with subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    found = sorted((folder / "benchmark").glob("*/trials/0001/summary.json"))[-1]
    return Trial(found.parents[2], process.returncode, ""), time.perf_counter() - began, used.ru_maxrss / 1024


def counters(folder: Path) -> Figures:
    """Hits of the prefix cache and preemptions: the log's, the server's own counters, and those counted by hand."""
    log, texts = folder / "hits.jsonl", folder / "hits.data.jsonl"
    shared = " ".join(f"w{n}" for n in range(64))
    rows = [{"text_input": f"{shared} " + " ".join(f"r{k}x{n}" for n in range(16)), "output_length": 4} for k in range(20)]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    trial = play(
        folder / "hits", *VIRTUAL, "endpoint.simulator.preset=small_gpu", f"endpoint.simulator.log={log}", "timing=concurrency",
        "timing.concurrency=1", "timing.stop.requests=20", "dataset=file", f"dataset.path={texts}", "seed=1",
        "endpoint.simulator.prefix_cache=true",
    )  # fmt: skip
    ours = [row for row in map(json.loads, log.read_text().splitlines()) if row.get("request") is not None]
    page = (trial.first / "server_metrics" / "after-0.txt").read_text()
    before = (trial.first / "server_metrics" / "before-0.txt").read_text()
    by_hand = 19 * 64  # the first brings the 64 words, four blocks of 16, and each after it finds them
    return {
        "hits_log": float(sum(row["cached_tokens"] for row in ours) - by_hand),
        "hits_page": counter(page, "vllm:prefix_cache_hits_total") - counter(before, "vllm:prefix_cache_hits_total") - by_hand,
        "preempted": preempted(folder),
    }


def preempted(folder: Path) -> float:
    """Two requests that fit one at a time: the second is preempted once, by hand; how far log and page are off."""
    log = folder / "kv.jsonl"
    trial = play(
        folder / "kv", *VIRTUAL, "endpoint.simulator.preset=small_gpu", "endpoint.simulator.kv_blocks=5",
        "endpoint.simulator.prefix_cache=false", f"endpoint.simulator.log={log}", "timing=concurrency", "timing.concurrency=2",
        "timing.stop.requests=2", "dataset.input_tokens=32", "dataset.output_tokens={mean: 32, exact: true}",
    )  # fmt: skip
    ours = [row for row in map(json.loads, log.read_text().splitlines()) if row.get("request") is not None]
    page = (trial.first / "server_metrics" / "after-0.txt").read_text()
    return abs(sum(row["preemptions"] for row in ours) - 1) + abs(counter(page, "vllm:num_preemptions_total") - 1)


def counter(page: str, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} ")))


def equal(trials: Sequence[Trial]) -> float:
    """Whether both left the same records, but for the name of the run."""
    one, other = (
        trial.records("request", "sent_ns", "first_token_ns", "chunk_ns", "end_ns", "due_ns", "output_tokens", "stamp") for trial in trials
    )
    return float(one.equals(other))


def go(folder: Path) -> Figures:
    found: Figures = {}
    for distribution in DISTRIBUTIONS:
        for rho in REQUESTS:
            figures = textbook(folder, distribution, rho, REQUESTS[rho])
            found |= {f"{distribution}_{rho}_{name}": value for name, value in figures.items()}
    hours = [hour(folder / f"hour-{place}") for place in range(2)]
    found |= {"hour_s": hours[0][1], "hour_mb": hours[0][2], "equal": equal([trial for trial, _, _ in hours])}
    found["virtual"] = float(pc.all(pc.equal(hours[0][0].records("stamp")["stamp"].cast("string"), "virtual")).as_py())
    virtual, real = (play(folder / clock, *LIGHT, f"endpoint.simulator.clock={clock}") for clock in ("virtual", "real"))
    for metric in ("time_to_first_token", "inter_token_latency"):
        found[f"{metric}_off_ms"] = abs(virtual.stat(metric, "p50") - real.stat(metric, "p50"))
        found[f"{metric}_allowed_ms"] = max(0.1, virtual.stat(metric, "p50") * 0.01)
    return found | counters(folder)


def main() -> None:
    goes = alternate(go)
    table = Table("Rehearsals: a server whose queueing is known, a clock that jumps")
    for distribution in DISTRIBUTIONS:
        for rho in REQUESTS:
            name = f"{distribution}_{rho}"
            what = f"{'M/M/1' if distribution == 'exponential' else 'M/D/1'} at rho {rho}"
            table.equal(f"{what}: waits that are not Lindley's, to the nanosecond", worst(goes, f"{name}_off_by_lindley"), 0)
            table.equal(f"{what}: first tokens that are not the log's", worst(goes, f"{name}_off_by_log"), 0)
            if rho < 0.9:
                table.at_most(f"{what}: mean wait off theory by", worst(goes, f"{name}_mean_off"), 0.03)
    table.at_least("a virtual hour, times real", HOUR_S / median(goes, "hour_s"), SPEED)
    table.note("its peak memory, MB (all records are read at once to be judged)", round(median(goes, "hour_mb")))
    table.equal("records of the same seed are equal, all goes", least(goes, "equal"), 1)
    table.equal("their stamps are virtual", least(goes, "virtual"), 1)
    for metric in ("time_to_first_token", "inter_token_latency"):
        table.at_most(
            f"{metric}, median, virtual against real", median(goes, f"{metric}_off_ms"), median(goes, f"{metric}_allowed_ms"), "ms"
        )
    for name, what in {"hits_log": "cached tokens by log", "hits_page": "cached tokens by /metrics", "preempted": "preemptions"}.items():
        table.equal(f"{what}, off those counted by hand", worst(goes, name), 0)
    table.note("peak memory of this benchmark, MB", round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    table.close()


if __name__ == "__main__":
    main()
