"""What does a stream cost the generator? 64 tokens at 1 ms, 392 streams a second, against floor at the same rate."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import Figures, NoiseError, Table, Truth, alternate, chat, cpu_s, floor, generator, landed, launch, median, truth

RATE, SECONDS, TOKENS = 392, 10, 64
IN_FLIGHT = 27
"""With 5 ms to the first token and 63 ms more, 27 in flight make 392 streams a second, in floor's closed loop and in ours."""
LIMIT = 1.5
STREAMS = (f"dataset.output_tokens={TOKENS}", "dataset.input_tokens=100", "output.level=raw")
CLOSED = ("timing=concurrency", f"timing.concurrency={IN_FLIGHT}", f"timing.stop.requests={RATE * SECONDS}", *STREAMS)
OPEN = ("timing=request_rate", f"timing.rate={RATE}", "timing.arrival=constant", f"timing.stop.duration_s={SECONDS}", *STREAMS)


def floors(folder: Path, *how: object) -> tuple[float, float]:
    """Floor's CPU microseconds and sleeps a stream."""
    with truth(folder, 5000, 1000, TOKENS) as server:
        said = floor(server.port, IN_FLIGHT * (2 if how else 1), RATE * SECONDS, TOKENS, "--stream", *how)
    if said["req_per_s"] < 0.9 * RATE:
        raise NoiseError
    return float(said["cpu_us_per_request"]), float(said["sleeps_per_request"])


def receipt_us(receipt: dict[str, Any]) -> float:
    said = receipt["generators"]
    return float(sum(one["cpu_s"] for one in said) / sum(one["requests"] for one in said) * 1e6)


def from_outside(run: subprocess.Popen[str], server: Truth) -> tuple[float, float]:
    """CPU microseconds and sleeps a request over the middle of the run, by the kernel's account and truth's of the requests."""
    while run.poll() is None and server.served() < RATE:
        time.sleep(0.05)
    pid = generator(run.pid)
    if pid is None:
        return float("nan"), float("nan")
    began, slept, before = cpu_s(pid), sleeps(pid), server.served()
    time.sleep(SECONDS * 0.6)
    served = server.served() - before
    return (cpu_s(pid) - began) / served * 1e6, (sleeps(pid) - slept) / served


def sleeps(pid: int) -> int:
    """How often the main thread of a process has given up its core by itself."""
    return int(Path(f"/proc/{pid}/task/{pid}/status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])


def at_rate(folder: Path) -> Figures:
    """Both at a constant rate: the same requests at the same times."""
    with truth(folder, 5000, 1000, TOKENS) as server:
        run = launch(folder, *chat(server), *OPEN)
        _, slept = from_outside(run, server)
        ours = receipt_us(landed(folder, run).receipt)
    bare, bare_slept = floors(folder, "--rate", RATE, "--arrival", "constant")
    return {"open_us": ours, "open_sleeps": slept, "open_floor_us": bare, "open_floor_sleeps": bare_slept, "open_ratio": ours / bare}


def go(folder: Path) -> Figures:
    with truth(folder, 5000, 1000, TOKENS) as server:
        run = launch(folder, *chat(server), *CLOSED)
        outside, slept = from_outside(run, server)
        trial = landed(folder, run)
    ours, (noise, bare_slept) = receipt_us(trial.receipt), floors(folder)
    spool = sum(file.stat().st_size for file in (trial.first / "spool").rglob("*") if file.is_file())
    return at_rate(folder) | {
        "ours_us": ours,
        "floor_us": noise,
        "ratio": ours / noise,
        "outside_us": outside,
        "outside_ratio": outside / noise,
        "spool_mb": spool / 1e6,
        "sleeps": slept,
        "floor_sleeps": bare_slept,
    }


def main() -> None:
    goes = alternate(go)
    table = Table("CPU of the generator for a 64-token stream at 392/s, 1 ms ITL")
    rows(table, goes)
    table.at_least("spool written", min(g["spool_mb"] for g in goes), 0.1, "MB")
    table.close()


def rows(table: Table, goes: Sequence[Figures]) -> None:
    """At the same times, and in closed loop, where each makes its own: streams begin together there, and a wake is for several."""
    table.at_most(f"CPU of a {TOKENS}-token stream at {RATE}/s, of floor's at the same times", median(goes, "open_ratio"), LIMIT)
    table.note("  CPU, sleeps", f"{at(goes, 'open_us', 'open_sleeps')}; floor {at(goes, 'open_floor_us', 'open_floor_sleeps')}")
    table.at_most(f"the same in closed loop, {IN_FLIGHT} in flight", median(goes, "ratio"), LIMIT)
    table.note("  CPU, sleeps", f"{at(goes, 'ours_us', 'sleeps')}; floor {at(goes, 'floor_us', 'floor_sleeps')}")
    table.note("  by the kernel's account, mid-run", f"{median(goes, 'outside_ratio'):.2f}")


def at(goes: Sequence[Figures], cpu: str, slept: str) -> str:
    return f"{median(goes, cpu):.0f} us, {median(goes, slept):.1f}"


if __name__ == "__main__":
    main()
