"""A million requests of 32 tokens from the spool to summary and verdict: how long, and with how much memory.

Beside it stands the time that decompressing the same frames and looking at each of their bytes once takes.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow.lib import Codec

from aiperf.spool import Exchange, SpoolWriter
from aiperf.store.parquet import PLAN_SCHEMA, write_plan
from harness import CHECKOUT, Table, command, play

TOKENS, SECONDS, TIMES, MEGABYTES = 32, 60, 8, 1000
MS = 1_000_000
T0 = 1_700_000_000 * 1000 * MS
CHUNK = (
    b'data: {"id":"chatcmpl-%07d","object":"chat.completion.chunk","created":1700000000,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":" %s"},"logprobs":null,"finish_reason":null}]}\n\n'
)
LAST = (
    b'data: {"id":"chatcmpl-%07d","object":"chat.completion.chunk","created":1700000000,"model":"m",'
    b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}\n\n'
    b'data: {"id":"chatcmpl-%07d","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":100,"completion_tokens":32,"total_tokens":132}}\n\ndata: [DONE]\n\n'
)


def campaign(folder: Path, requests: int) -> Path:
    """A run of one request at a simulator, its spool and plan replaced by many requests as a server would have answered them."""
    words = ("endpoint=simulator", "timing=request_rate", "timing.rate=1000", "timing.stop.duration_s=0.02", "output.level=raw")
    made = play(folder, *words, f"cluster.processors={os.cpu_count() or 1}", "verdict.window=whole").folder
    load, receipt = made / "trials/0001/load.json", made / "receipt.json"
    said, told = json.loads(load.read_text()), json.loads(receipt.read_text())
    rng = np.random.default_rng(5)
    due = np.cumsum(rng.exponential(1 * MS, requests)).astype(np.int64)
    told["generators"] = [{**told["generators"][0], "window": [T0, T0 + int(due[-1])], "requests": requests}]
    receipt.write_text(json.dumps(told))
    load.write_text(json.dumps({**said, "duration_ns": int(due[-1])}))
    planned(made / "trials/0001/plan.parquet", due)
    answered(made / "trials/0001/spool/generator-0.spool", due, rng)
    return made


def planned(path: Path, due: np.ndarray) -> None:
    path.unlink()
    count = len(due)
    same = {"phase": ["profiling"] * count, "turn": np.zeros(count, np.int32), "seed": np.zeros(count, np.int64)}
    numbers = {"request": np.arange(count), "conversation": np.arange(count), "due_ns": due}
    lengths = {"input_tokens": np.full(count, 100, np.int32), "output_tokens": np.full(count, TOKENS, np.int32)}
    table = pa.table({**same, **numbers, **lengths})
    write_plan(path, table.select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA))


def answered(path: Path, due: np.ndarray, rng: np.random.Generator) -> None:
    """A part a request, an event a read, first tokens after 5 to 15 ms, the others 1 to 2 ms apart."""
    path.unlink()
    words = [b"word%03d" % number for number in range(1000)]
    writer = SpoolWriter(path, offset=lambda: T0, now=lambda: 0)
    for number, at in enumerate(due.tolist()):
        gaps = rng.integers(MS, 2 * MS, TOKENS + 1)
        gaps[0] += 4 * MS + int(rng.integers(0, 9 * MS))
        stamps = (T0 + at + np.cumsum(gaps)).tolist()
        bodies = [CHUNK % (number, words[(number + token) % 1000]) for token in range(TOKENS)] + [LAST % (number, number)]
        writer.put(
            Exchange(
                number, phase=1, conversation=number, asked_input=100, asked_output=TOKENS, due=at, ready=T0 + at, started=T0 + at + 9_000,
                sent=T0 + at + 9_000, body_sent=T0 + at + 20_000, first_byte=stamps[0], first_body=stamps[0], end=stamps[-1], reused=True,
                status=200, content_type="text/event-stream", stamps=stamps, bodies=bodies, marks=[0, 1, T0 + at + 10_000],
            ),
            last=True,
        )  # fmt: skip
    writer.close()


def scanned(spool: Path) -> float:
    """Seconds to decompress every frame and look at each of its bytes once."""
    data, codec, at, began = spool.read_bytes(), Codec("zstd"), 0, time.perf_counter()
    while at < len(data):
        length, size = int.from_bytes(data[at : at + 4], "little"), int.from_bytes(data[at + 8 : at + 12], "little")
        zlib.crc32(codec.decompress(data[at + 12 : at + 8 + length], decompressed_size=size, asbytes=True))
        at += 8 + length
    return time.perf_counter() - began


def processed(made: Path) -> tuple[float, dict[str, float], str]:
    """Seconds of `report --from process`, the peak of each kind of process in MB, and the verdict."""
    began, peaks = time.perf_counter(), dict[str, float]()
    run = subprocess.Popen(command("report", made, "--from", "process"), stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    while run.poll() is None:
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                high = next(line for line in (entry / "status").read_text().splitlines() if line.startswith("VmHWM"))
            except (OSError, StopIteration, IndexError, ValueError):
                continue
            if int(entry.name) == run.pid or parent == run.pid:
                name = "judge" if int(entry.name) == run.pid else words[3].decode()
                peaks[name] = max(peaks.get(name, 0), int(high.split()[1]) / 1000)
        time.sleep(0.05)
    said = run.stdout.read() if run.stdout is not None else ""
    return time.perf_counter() - began, peaks, "VALID" if run.returncode == 0 else f"{run.returncode}\n{said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--goes", type=int, default=3)
    parser.add_argument("--requests", type=int, default=1_000_000)
    given = parser.parse_args()
    table = Table(f"{given.requests:,} requests of {TOKENS} tokens from the spool to the verdict")
    with tempfile.TemporaryDirectory(prefix="aiperf-benchmark-") as folder:
        made = campaign(Path(folder), given.requests)
        (spool,) = (made / "trials/0001/spool").iterdir()
        goes = [(*processed(made), scanned(spool)) for _ in range(given.goes)]
    seconds, scan = min(go[0] for go in goes), min(go[3] for go in goes)
    for took, peaks, verdict, looked in goes:
        print(f"{took:.1f} s, scan {looked:.1f} s, {verdict}: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in sorted(peaks.items())))
    share = given.requests / 1_000_000
    table.at_most(f"seconds, or {TIMES} x the scan of {scan:.1f} s", seconds, max(SECONDS * share, TIMES * scan), "s")
    table.at_most("memory of the process with the most", max(max(go[1].values()) for go in goes), MEGABYTES, "MB")
    table.equal("verdicts", {go[2] for go in goes}, {"VALID"})
    table.close()


if __name__ == "__main__":
    main()
