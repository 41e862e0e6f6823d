"""What does one generator carry? Each figure as a ratio to floor.py, or to a bare loop, taken in one go on the same truth server.

    PEERS=dir python benchmarks/capacity.py [--goes N]

Plain requests and 32-token streams, 64 in flight, against a server that answers at once; a 64-token stream's CPU (cpu.py); how
late 2,000 requests a second are that go out while 500 streams of 1 ms between tokens are open, against bare_mixed.py, which
sends the same at the same times. With PEERS, the plain requests and the streams by those whose virtual environment is there
(dir/aiperf), by truth's own log. Best of the goes for ceilings, medians for the rest.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import cpu
import truth_log
from aiperf.spool import SpoolReader
from harness import HERE, Figures, Table, Trial, Truth, alternate, asked_goes, chat, floor, median, play, truth
from startup import tokenizer

IN_FLIGHT, TOKENS = 64, {"plain": 16, "streams": 32}
REQUESTS, PEER_REQUESTS = {"plain": 60_000, "streams": 15_000}, {"plain": 5000, "streams": 2500}
LEAST = {"plain": 0.3, "streams": 0.9}
STREAMS, PER_S, SECONDS = 500, 2000, 5
OPEN_MS, ENDLESS = 1000, 20_000
"""The streams are opened one a millisecond, before the first request is due, and have more tokens than the run has time for."""
LATE = STREAM_CPU = 1.5


def closed(kind: str) -> tuple[str, ...]:
    return (
        "timing=concurrency", f"timing.concurrency={IN_FLIGHT}", f"timing.stop.requests={REQUESTS[kind]}",
        f"dataset.output_tokens={TOKENS[kind]}", "dataset.input_tokens=100", "output.level=raw",
    )  # fmt: skip


def sent_per_s(trial: Trial) -> float:
    """Requests a second by our records, from the first that was sent to the last that was over."""
    records = trial.records("sent_ns", "end_ns")
    return len(records) / ((records["end_ns"].to_numpy().max() - records["sent_ns"].to_numpy().min()) / 1e9)


def reads(trial: Trial) -> float:
    """Reads with bytes of a body, a request."""
    rows = [row for spool in (trial.first / "spool").rglob("*.spool") for frame in SpoolReader(spool).frames() for row in frame.rows]
    return sum(len(row.stamps) for row in rows) / sum(row.last for row in rows)


def ceiling(folder: Path, kind: str) -> Figures:
    streaming = kind == "streams"
    with truth(folder, 0, 0) as server:
        trial = play(folder / kind, *chat(server, streaming=streaming), *closed(kind))
        bare = floor(server.port, IN_FLIGHT, REQUESTS[kind], TOKENS[kind], *(("--stream",) if streaming else ()))
    found = {"": sent_per_s(trial), "_reads": reads(trial), "_us": cpu.receipt_us(trial.receipt)}
    theirs = {"_floor": bare["req_per_s"], "_floor_reads": bare["reads_per_request"], "_floor_us": bare["cpu_us_per_request"]}
    return {kind + name: value for name, value in (found | theirs).items()}


def mix() -> list[list[int]]:
    """When each is due (ns from the start) and how many tokens it asks for: the streams, then the requests."""
    gaps = np.random.default_rng(7).exponential(1e9 / PER_S, PER_S * SECONDS)
    due = (OPEN_MS * 1_000_000 + np.cumsum(gaps)).astype(np.int64)
    return [[i * 1_000_000, ENDLESS] for i in range(STREAMS)] + [[at, 1] for at in due.tolist()]


def late_us(folder: Path) -> Figures:
    plan, trace = mix(), folder / "mixed.jsonl"
    given = folder / "mixed.json"
    given.write_text(json.dumps(plan))
    trace.write_text("".join(f'{{"timestamp": {at / 1e6}, "input_length": 20, "output_length": {tokens}}}\n' for at, tokens in plan))
    with truth(folder, 5000, 1000) as server:
        words = [sys.executable, HERE / "bare_mixed.py", str(server.port), given]
        said = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    with truth(folder, 5000, 1000) as server:
        replay = ("dataset=mooncake_trace", f"dataset.path={trace}", "timing=fixed_schedule", "timing.stop.grace_s=0", "output.level=raw")
        trial = play(folder / "mixed", *chat(server), *replay)
    records = trial.records("request", "schedule_lateness")
    ours = 1000 * records["schedule_lateness"].filter(records["request"].to_numpy() >= STREAMS).drop_null().to_numpy()
    bare = np.array(said["late_us"][STREAMS:])
    return {
        "late_p50_us": float(np.percentile(ours, 50)),
        "late_p99_us": float(np.percentile(ours, 99)),
        "bare_p50_us": float(np.percentile(bare, 50)),
        "bare_p99_us": float(np.percentile(bare, 99)),
        "bare_events_per_s": said["events"] / (SECONDS + OPEN_MS / 1000),
    }


def with_aiperf(environment: Path, server: Truth, kind: str, folder: Path) -> list[str]:
    """The incumbent, without its screen; its tokens are counted by the server."""
    return [
        f"{environment}/bin/aiperf", "profile", "--model", "truth", "--url", server.url, "--endpoint-type", "chat",
        "--tokenizer", str(tokenizer(folder / f"{kind}-words")), "--use-server-token-count", "--ui", "none",
        "--artifact-dir", str(folder / "theirs"), "--concurrency", str(IN_FLIGHT), "--request-count", str(PEER_REQUESTS[kind]),
        "--output-tokens-mean", str(TOKENS[kind]),
        "--synthetic-input-tokens-mean", "100", *(["--streaming"] if kind == "streams" else []),
    ]  # fmt: skip


PEERS = {"aiperf": with_aiperf}
"""How each is called; what its environment is called."""


def present() -> dict[str, Path]:
    """The environments of peers that are given."""
    given = os.environ.get("PEERS")
    return {name: Path(given) / name for name in PEERS if given and (Path(given) / name).exists()}


def by_peers(folder: Path) -> Figures:
    found: Figures = {}
    for name, environment in present().items():
        for kind in TOKENS:
            with truth(folder, 0, 0) as server:
                subprocess.run(PEERS[name](environment, server, kind, folder), check=True, capture_output=True)
                server.process.terminate()
                server.process.wait()
                found[f"{kind}_{name}"] = truth_log.rate(np.fromfile(server.log, dtype=truth_log.ROW))
    return found


def go(folder: Path) -> Figures:
    return ceiling(folder, "plain") | ceiling(folder, "streams") | late_us(folder) | by_peers(folder)


def best(goes: Sequence[Figures], name: str) -> float:
    return max(one[name] for one in goes)


def main() -> None:
    count = asked_goes()
    goes, streams = alternate(go, count), alternate(cpu.go, count)
    table = Table("Capacity: one generator, of what a bare client does on the same server")
    for kind in TOKENS:
        table.at_least(f"{kind}, {IN_FLIGHT} in flight: rate, of floor's", best(goes, kind) / best(goes, f"{kind}_floor"), LEAST[kind])
        table.note("  best rates", f"{best(goes, kind):,.0f}/s, floor {best(goes, f'{kind}_floor'):,.0f}/s")
        table.note("  reads a request", f"{median(goes, f'{kind}_reads'):.2f}, floor {median(goes, f'{kind}_floor_reads'):.2f}")
        table.note("  CPU a request", f"{median(goes, f'{kind}_us'):.1f} us, floor {median(goes, f'{kind}_floor_us'):.1f} us")
        for name in present():
            table.note(f"  {name}, of floor's", f"{best(goes, f'{kind}_{name}') / best(goes, f'{kind}_floor'):.3f}")
    table.at_most("CPU of a 64-token stream at 392/s, of floor's", median(streams, "ratio"), STREAM_CPU)
    ratios = [{"late": one["late_p99_us"] / one["bare_p99_us"]} for one in goes]
    table.at_most(f"{PER_S:,}/s while {STREAMS} streams are open: lateness p99, of a bare loop's", median(ratios, "late"), LATE)
    table.note("  p50, p99", f"{median(goes, 'late_p50_us'):.0f} us, {median(goes, 'late_p99_us'):.0f} us")
    table.note("  the bare loop's", f"{median(goes, 'bare_p50_us'):.0f} us, {median(goes, 'bare_p99_us'):.0f} us")
    table.note("  tokens a second that truth gave it", f"{median(goes, 'bare_events_per_s'):,.0f}")
    table.close()


if __name__ == "__main__":
    main()
