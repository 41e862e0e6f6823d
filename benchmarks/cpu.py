"""What does a stream cost the generator? 64 tokens at 1 ms, 392 streams a second, against floor at the same rate."""

import subprocess
import time
from pathlib import Path
from typing import Any

from harness import Figures, NoiseError, Table, Truth, alternate, chat, cpu_s, floor, generator, landed, launch, median, play, truth

RATE, SECONDS, TOKENS = 392, 10, 64
IN_FLIGHT = 27
"""With 5 ms to the first token and 63 ms more, 27 in flight make 392 streams a second, in floor's closed loop and in ours."""
LIMIT = 1.8
STREAMS = (f"dataset.output_tokens={TOKENS}", "dataset.input_tokens=100", "output.level=raw")
CLOSED = ("timing=concurrency", f"timing.concurrency={IN_FLIGHT}", f"timing.stop.requests={RATE * SECONDS}", *STREAMS)
OPEN = ("timing=request_rate", f"timing.rate={RATE}", "timing.arrival=constant", f"timing.stop.duration_s={SECONDS}", *STREAMS)


def floor_us(folder: Path, *how: object) -> float:
    with truth(folder, 5000, 1000, TOKENS) as server:
        said = floor(server.port, IN_FLIGHT * (2 if how else 1), RATE * SECONDS, TOKENS, "--stream", *how)
    if said["req_per_s"] < 0.9 * RATE:
        raise NoiseError
    return float(said["cpu_us_per_request"])


def receipt_us(receipt: dict[str, Any]) -> float:
    said = receipt["generators"]
    return float(sum(one["cpu_s"] for one in said) / sum(one["requests"] for one in said) * 1e6)


def from_outside(run: subprocess.Popen[str], server: Truth) -> float:
    """CPU microseconds a request over the middle of the run, by the kernel's account of the process and truth's of the requests."""
    while run.poll() is None and server.served() < RATE:
        time.sleep(0.05)
    pid = generator(run.pid)
    if pid is None:
        return float("nan")
    began, before = cpu_s(pid), server.served()
    time.sleep(SECONDS * 0.6)
    return (cpu_s(pid) - began) / (server.served() - before) * 1e6


def go(folder: Path) -> Figures:
    with truth(folder, 5000, 1000, TOKENS) as server:
        run = launch(folder, *chat(server), *CLOSED)
        outside = from_outside(run, server)
        trial = landed(folder, run)
    ours, noise = receipt_us(trial.receipt), floor_us(folder)
    spool = sum(file.stat().st_size for file in (trial.first / "spool").rglob("*") if file.is_file())
    with truth(folder, 5000, 1000, TOKENS) as server:
        open_us = receipt_us(play(folder, *chat(server), *OPEN).receipt)
    return {
        "ours_us": ours,
        "floor_us": noise,
        "ratio": ours / noise,
        "outside_us": outside,
        "outside_ratio": outside / noise,
        "spool_mb": spool / 1e6,
        "open_us": open_us,
        "open_ratio": open_us / floor_us(folder, "--rate", RATE, "--arrival", "constant"),
    }


def main() -> None:
    goes = alternate(go)
    table = Table("CPU of the generator for a 64-token stream at 392/s, 1 ms ITL")
    table.at_most("generator's CPU a stream (its receipt), of floor's", median(goes, "ratio"), LIMIT)
    table.at_most("the same by the kernel's account, mid-run", median(goes, "outside_ratio"), LIMIT)
    table.at_least("spool written", min(g["spool_mb"] for g in goes), 0.1, "MB")
    table.note("CPU a stream", f"{median(goes, 'ours_us'):.0f} us, floor {median(goes, 'floor_us'):.0f} us")
    table.note("at a constant rate, of floor's at that rate", f"{median(goes, 'open_ratio'):.2f} ({median(goes, 'open_us'):.0f} us)")
    table.close()


if __name__ == "__main__":
    main()
