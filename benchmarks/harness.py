"""What all benchmarks share: truth, floor, our own command line, goes that alternate, and a table of figures.

Machines are shared, so every figure is a ratio or a difference taken in one go. A go is ours and then floor's in the same
minute; one in which floor itself misses the figure by half is noise of the machine and is repeated. Medians count.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

import truth_log

HERE = Path(__file__).parent
CHECKOUT = HERE.parent
GOES = 5
SPARE = 10
"""Goes that may be lost to noise before a benchmark gives up."""
START_S = 10


def compile_truth(folder: Path) -> Path:
    """Builds truth into `folder`, if what is there is older than its source. Raises FileNotFoundError without a C compiler."""
    source, binary = HERE / "truth" / "truth.c", folder / "truth"
    if binary.exists() and binary.stat().st_mtime >= source.stat().st_mtime:
        return binary
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise FileNotFoundError("no C compiler: cc, gcc or clang is needed to build truth")
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"truth.{secrets.token_hex(4)}"
    subprocess.run([compiler, "-O2", "-Wall", "-o", fresh, source], check=True)
    return fresh.replace(binary)


def cache() -> Path:
    """Where truth is kept between benchmarks."""
    return Path(tempfile.gettempdir()) / f"aiperf-benchmarks-{os.getuid()}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Truth:
    """A running truth server; its log can be read when it has ended."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def served(self) -> int:
        """Requests answered so far."""
        with socket.create_connection(("127.0.0.1", self.port)) as line:
            line.sendall(b"GET /metrics HTTP/1.1\r\nHost: truth\r\n\r\n")
            text = line.recv(4096).decode()
        return int(text.split("truth_requests_total ")[1].split()[0])

    def end(self) -> NDArray:
        """Ends it and returns the log of the run's numbered requests."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        return truth_log.read(self.log)


@contextlib.contextmanager
def truth(folder: Path, ttft_us: int, itl_us: int, tokens: int = 16) -> Iterator[Truth]:
    """A truth server on a free loopback port, ended with the block."""
    binary, port, log = compile_truth(cache()), free_port(), folder / f"truth-{secrets.token_hex(4)}.bin"
    said = {"--port": port, "--ttft-us": ttft_us, "--itl-us": itl_us, "--tokens": tokens, "--log": log}
    process = subprocess.Popen([binary, *(str(word) for pair in said.items() for word in pair)], stderr=subprocess.DEVNULL)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:  # the last core is the generator's (cluster.pin); a server elsewhere would not be on it either
        os.sched_setaffinity(process.pid, cores[:-1])
    try:
        await_port(port)
        yield Truth(port, log, process)
    finally:
        process.terminate()
        process.wait()


def await_port(port: int) -> None:
    """Returns when someone listens there. Raises TimeoutError."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise TimeoutError(f"nothing listens on port {port} after {START_S} s")


def floor(port: int, concurrency: int, requests: int, tokens: int, *options: object) -> dict[str, Any]:
    """One go of floor.py kernel: its line of JSON."""
    words = [sys.executable, HERE / "floor.py", "kernel", port, concurrency, requests, tokens, *options]
    said = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout
    answer: dict[str, Any] = json.loads(said)
    return answer


@dataclass(frozen=True)
class Trial:
    """What a run of ours left behind."""

    folder: Path
    code: int
    said: str

    @property
    def first(self) -> Path:
        return self.folder / "trials" / "0001"

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.first / "summary.json").read_text())
        return found

    @property
    def receipt(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "receipt.json").read_text())
        return found

    def stat(self, metric: str, stat: str) -> float:
        """A statistic of the window, in the metric's own unit."""
        return float(self.summary["metrics"][metric]["stats"][stat])

    @property
    def verdict(self) -> str:
        return str(self.summary["verdict"]["word"])

    @property
    def reasons(self) -> list[str]:
        return [reason["reason"] for reason in self.summary["verdict"]["reasons"]]

    def records(self, *columns: str) -> pa.Table:
        """The run's own records, without those of a warm-up."""
        table = pq.read_table(self.first / "records", columns=["phase", *columns])
        return table.filter(pc.equal(table["phase"].cast(pa.string()), "profiling"))


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "aiperf", *(str(word) for word in words)]


def launch(folder: Path, *words: object) -> subprocess.Popen[str]:
    """Starts a run of ours with its results below `folder`."""
    given = command(*words, f"output.dir={folder}", "name=benchmark")
    return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def landed(folder: Path, process: subprocess.Popen[str]) -> Trial:
    """Waits for a run to end. Raises RuntimeError with what it said, if it left no result."""
    said, _ = process.communicate()
    found = sorted((folder / "benchmark").glob("*/trials/0001/summary.json"))
    if not found:
        raise RuntimeError(f"aiperf ended with {process.returncode} and no summary:\n{said}")
    return Trial(found[-1].parents[2], process.returncode, said)


def play(folder: Path, *words: object) -> Trial:
    """One run of ours, from start to end."""
    return landed(folder, launch(folder, *words))


def chat(truth_: Truth, *, streaming: bool = True) -> tuple[str, ...]:
    """The words that point a run at truth."""
    return ("endpoint=vllm", f"endpoint.url={truth_.url}", "endpoint.model=truth", f"endpoint.streaming={str(streaming).lower()}")


def generator(parent: int) -> int | None:
    """The process id of a run's load generator, None while there is none."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"aiperf.cluster.child" in b" ".join(words) and b"generator-0" in words and parent in ancestors(int(entry.name)):
                return int(entry.name)
    return None


def ancestors(pid: int) -> Iterator[int]:
    """The parent of a process, its parent, and so on."""
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        yield pid


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process so far, to the nanosecond."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


Figures = dict[str, float]
"""What one go found, by name."""


class NoiseError(Exception):
    """The machine, not what is measured: floor itself missed the figure by half."""


def missed_by_half(value: float, limit: float) -> bool:
    """Whether floor itself was this far off: the figure and half of it again."""
    return abs(value) > 1.5 * limit


def asked_goes() -> int:
    """`--goes N` of the command line, for a quick look; five are what counts."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--goes", type=int, default=GOES)
    return int(parser.parse_args().goes)


def alternate(go: Callable[[Path], Figures], goes: int | None = None) -> list[Figures]:
    """As many goes as asked, each in a folder of its own that is dropped after it; those that raise NoiseError are repeated."""
    found: list[Figures] = []
    goes = asked_goes() if goes is None else goes
    for number in range(goes + SPARE):
        with tempfile.TemporaryDirectory(prefix="aiperf-benchmark-") as folder, contextlib.suppress(NoiseError):
            found.append(go(Path(folder)))
            print(f"go {number + 1}: " + "  ".join(f"{name} {value:.4g}" for name, value in found[-1].items()), flush=True)
            if len(found) == goes:
                return found
            continue
        print(f"go {number + 1}: noise of the machine, repeated", flush=True)
    raise SystemExit(f"only {len(found)} of {goes} goes were quiet enough to count")


def median(goes: Sequence[Figures], name: str) -> float:
    return statistics.median(go[name] for go in goes)


def worst(goes: Sequence[Figures], name: str) -> float:
    """For what has to hold in every go."""
    return max(go[name] for go in goes)


def least(goes: Sequence[Figures], name: str) -> float:
    return min(go[name] for go in goes)


@dataclass
class Table:
    """Figures against their limits; printed row by row when closed."""

    title: str
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    failed: int = 0

    def at_most(self, what: str, value: float, limit: float, unit: str = "") -> None:
        self._row(what, f"{value:.4g} {unit}", f"<= {limit:.4g} {unit}", met=value <= limit)

    def at_least(self, what: str, value: float, limit: float, unit: str = "") -> None:
        self._row(what, f"{value:.4g} {unit}", f">= {limit:.4g} {unit}", met=value >= limit)

    def equal(self, what: str, value: object, wanted: object) -> None:
        self._row(what, str(value), f"= {wanted}", met=value == wanted)

    def note(self, what: str, value: object) -> None:
        """A figure without a limit."""
        self.rows.append((what, str(value), "", ""))

    def _row(self, what: str, value: str, limit: str, *, met: bool) -> None:
        self.failed += not met
        self.rows.append((what, value.strip(), limit.strip(), "PASS" if met else "FAIL"))

    def close(self) -> None:
        """Prints the table and ends the program: 1 if a figure was missed."""
        widths = [max(len(row[i]) for row in self.rows) for i in range(3)]
        print(f"\n{self.title}")
        for row in self.rows:
            print("  " + "  ".join(text.ljust(width) for text, width in zip(row[:3], widths)) + f"  {row[3]}")
        raise SystemExit(1 if self.failed else 0)
