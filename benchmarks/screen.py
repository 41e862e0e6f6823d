"""Does it cost truth to watch? `ui=simple` on a terminal against `ui=none` on one: 32 streams in flight, about 1,500 requests a second."""

import contextlib
import fcntl
import itertools
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import truth_log
from harness import Figures, Table, Trial, alternate, chat, command, cpu_s, landed, least, median, truth, worst
from ttft_truth import P50_MS, P99_MS, floor_go

REQUESTS, TOKENS = 15_000, 16
LOAD = (
    "timing=concurrency", "timing.concurrency=32", f"timing.stop.requests={REQUESTS}", f"dataset.output_tokens={TOKENS}",
    "dataset.input_tokens=100",
)  # fmt: skip
OFF_MS = {"p50": P50_MS, "p99": P99_MS}
SHARE, LEAST_MS = 0.05, 0.05
COLUMNS, LINES = 120, 40
CPU_S = (3.0, 7.0)
"""The parent's CPU is that between these seconds after its start, when it only follows the load."""
UIS = ("none", "simple")
turns = itertools.count()


@dataclass
class Watched:
    """A run on a terminal of its own."""

    trial: Trial
    said: str
    cpu_share: float


@dataclass
class Watcher:
    """Takes what a program writes to its terminal, and its CPU time now and then."""

    process: subprocess.Popen[str]
    terminal: int
    said: bytearray = field(default_factory=bytearray)
    cpu: list[tuple[float, float]] = field(default_factory=list)

    def read(self) -> None:
        """To the end: a terminal whose programs have all ended fails to be read."""
        with contextlib.suppress(OSError):
            while some := os.read(self.terminal, 1 << 16):
                self.said += some

    def sample(self) -> None:
        began = time.monotonic()
        while self.process.poll() is None and (now := time.monotonic() - began) < CPU_S[1]:
            if now > CPU_S[0]:
                with contextlib.suppress(OSError, IndexError):
                    self.cpu.append((now, cpu_s(self.process.pid)))
            time.sleep(0.1)

    @property
    def cpu_share(self) -> float:
        (then, before), (now, after) = self.cpu[0], self.cpu[-1]
        return (after - before) / (now - then)


def watched(folder: Path, *words: object) -> Watched:
    """A run as a person starts it. Raises RuntimeError if it left no result."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    given = command(*words, f"output.dir={folder}", "name=benchmark")
    process = subprocess.Popen(given, stdin=slave, stdout=slave, stderr=slave, text=True, env={**os.environ, "TERM": "xterm-256color"})
    os.close(slave)
    watcher = Watcher(process, master)
    threads = [threading.Thread(target=work) for work in (watcher.read, watcher.sample)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(master)
    try:
        trial = landed(folder, process)
    except RuntimeError as exc:
        exc.add_note(watcher.said.decode())
        raise
    return Watched(trial, watcher.said.decode(), watcher.cpu_share)


def go(folder: Path) -> Figures:
    """Both screens in the same minute, and each of them first in every other go. Raises NoiseError if floor misses truth."""
    floor = floor_go(folder)
    found: Figures = {"floor_p99_off_ms": floor["floor_p99_off_ms"]}
    for ui in UIS if next(turns) % 2 else reversed(UIS):
        place = folder / ui
        place.mkdir()
        with truth(place, 5000, 1000, TOKENS) as server:
            seen = watched(place, *chat(server), *LOAD, f"ui={ui}")
            theirs = truth_log.ttft_ms(server.end())
        if seen.trial.reasons:
            print(f"ui={ui} is void: {', '.join(seen.trial.reasons)}")
        seconds = REQUESTS / seen.trial.stat("request_throughput", "avg")
        found |= {
            f"{ui}_p50_ms": seen.trial.stat("time_to_first_token", "p50"),
            f"{ui}_p99_ms": seen.trial.stat("time_to_first_token", "p99"),
            f"{ui}_p50_off_ms": abs(seen.trial.stat("time_to_first_token", "p50") - float(np.percentile(theirs, 50))),
            f"{ui}_p99_off_ms": abs(seen.trial.stat("time_to_first_token", "p99") - float(np.percentile(theirs, 99))),
            f"{ui}_rate": REQUESTS / seconds,
            f"{ui}_drawn_per_s": seen.said.count("first event") / seconds,
            f"{ui}_cpu": seen.cpu_share,
            f"{ui}_valid": float(seen.trial.verdict == "VALID" and seen.trial.code == 0),
        }
    return found


def main() -> None:
    goes = alternate(go)
    table = Table(f"TTFT while somebody watches: 5 ms / 1 ms / {TOKENS} tokens, 32 in flight, {REQUESTS:,} requests")
    for q in ("p50", "p99"):
        alone, drawn = median(goes, f"none_{q}_ms"), median(goes, f"simple_{q}_ms")
        table.at_most(f"TTFT {q} moved by", abs(drawn - alone), max(SHARE * alone, LEAST_MS), "ms")
        table.at_most(f"TTFT {q} off truth's log by, with", median(goes, f"simple_{q}_off_ms"), OFF_MS[q], "ms")
        table.note(f"TTFT {q} off truth's log by, without", f"{median(goes, f'none_{q}_off_ms'):.3f} ms")
        table.note(f"TTFT {q} without and with", f"{alone:.3f} ms, {drawn:.3f} ms")
    table.at_least("rate, of that without", median([{"x": g["simple_rate"] / g["none_rate"]} for g in goes], "x"), 0.97)
    table.at_least("drawn a second, in every go", least(goes, "simple_drawn_per_s"), 2.5)
    table.at_most("drawn a second, in every go", worst(goes, "simple_drawn_per_s"), 4.2)
    table.equal("drawn without", worst(goes, "none_drawn_per_s"), 0.0)
    table.at_most("the parent's share of a core", median(goes, "simple_cpu"), 0.03)
    table.note("the parent's share of a core without", f"{median(goes, 'none_cpu'):.4f}")
    table.at_least("VALID, in the median go", median(goes, "simple_valid"), 1)
    table.note("rate without and with", f"{median(goes, 'none_rate'):.0f}/s, {median(goes, 'simple_rate'):.0f}/s")
    table.close()


if __name__ == "__main__":
    main()
