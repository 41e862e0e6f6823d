"""A virtual hour at 100 requests a second through the spool: the memory of the process that makes the load stays where it is."""

import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from harness import Table, launch

RATE, SECONDS, TOKENS, MEGABYTES = 100, 3600, 16, 20
WORDS = (
    "endpoint=simulator", "endpoint.simulator.clock=virtual", "endpoint.simulator.ttft_ms=50", "endpoint.simulator.itl_ms=5",
    "timing=request_rate", f"timing.rate={RATE}", f"timing.stop.duration_s={SECONDS}", f"dataset.output_tokens={TOKENS}",
)  # fmt: skip
SETTLED = 0.1
"""The share of the load after which nothing is new to the process any more."""


def watched(folder: Path, run: subprocess.Popen[str]) -> list[tuple[int, float]]:
    """Bytes of spool and MB of resident memory, ten times a second, until records begin to be made of it."""
    found = list[tuple[int, float]]()
    while run.poll() is None and not any(folder.glob("benchmark/*/trials/0001/records")):
        spool = next(folder.glob("benchmark/*/trials/0001/spool/*.spool"), None)
        if spool is not None:
            lines = Path(f"/proc/{run.pid}/status").read_text().splitlines()
            found.append((spool.stat().st_size, next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))))
        time.sleep(0.1)
    return found


def main() -> None:
    table = Table(f"a virtual hour at {RATE}/s, answers of {TOKENS} tokens")
    with tempfile.TemporaryDirectory(prefix="aiperf-benchmark-") as folder:
        began = time.perf_counter()
        run = launch(Path(folder), *WORDS)
        reader = threading.Thread(target=run.communicate)  # an hour of progress is more than a pipe holds
        reader.start()
        seen = watched(Path(folder), run)
        took = time.perf_counter() - began
        reader.join()
    sizes, memory = (np.array(column) for column in zip(*seen))
    settled = memory[sizes >= SETTLED * sizes[-1]]
    table.note("seconds of the load, samples", f"{took:.0f}, {len(seen)}")
    table.note("spool", f"{sizes[-1] / 1e6:.0f} MB")
    table.note("memory of the load at its end", f"{memory[-1]:.0f} MB")
    table.at_most("from its least to its most, once it has settled", float(settled.max() - settled.min()), MEGABYTES, "MB")
    table.equal("exit code", run.returncode, 0)
    table.close()


if __name__ == "__main__":
    main()
