"""What does a stream cost the generator? 64 tokens at 1 ms, 392 streams a second, against floor at the same rate."""

import subprocess
import time
from pathlib import Path

from harness import Figures, NoiseError, Table, Truth, alternate, chat, cpu_s, floor, generator, landed, launch, median, truth

RATE, SECONDS, TOKENS = 392, 10, 64
IN_FLIGHT = 27
"""Floor is a closed loop: with 5 ms to the first token and 63 ms more, 27 in flight make 392 streams a second."""
LIMIT = 1.8
LOAD = (
    "timing=request_rate", f"timing.rate={RATE}", "timing.arrival=constant", f"timing.stop.duration_s={SECONDS}",
    f"dataset.output_tokens={TOKENS}", "dataset.input_tokens=100", "output.level=raw",
)  # fmt: skip


def floor_go(folder: Path) -> Figures:
    with truth(folder, 5000, 1000, TOKENS) as server:
        said = floor(server.port, IN_FLIGHT, RATE * SECONDS, TOKENS, "--stream")
    if said["req_per_s"] < 0.9 * RATE:
        raise NoiseError
    return {"floor_us": said["cpu_us_per_request"], "floor_rate": said["req_per_s"]}


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
        run = launch(folder, *chat(server), *LOAD)
        outside = from_outside(run, server)
        trial = landed(folder, run)
    said = trial.receipt["generators"]
    ours = sum(one["cpu_s"] for one in said) / sum(one["requests"] for one in said) * 1e6
    spool = sum(file.stat().st_size for file in (trial.first / "spool").rglob("*") if file.is_file())
    noise = floor_go(folder)
    return noise | {
        "ours_us": ours,
        "ratio": ours / noise["floor_us"],
        "outside_us": outside,
        "outside_ratio": outside / noise["floor_us"],
        "spool_mb": spool / 1e6,
    }


def main() -> None:
    goes = alternate(go)
    table = Table("CPU of the generator for a 64-token stream at 392/s, 1 ms ITL")
    table.at_most("generator's CPU a stream (its receipt), of floor's", median(goes, "ratio"), LIMIT)
    table.at_most("the same by the kernel's account, mid-run", median(goes, "outside_ratio"), LIMIT)
    table.at_least("spool written", min(g["spool_mb"] for g in goes), 0.1, "MB")
    table.note(
        "CPU a stream", f"{median(goes, 'ours_us'):.0f} us, floor {median(goes, 'floor_us'):.0f} us at {median(goes, 'floor_rate'):.0f}/s"
    )
    table.close()


if __name__ == "__main__":
    main()
