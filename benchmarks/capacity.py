"""What does one generator carry? Each figure as a ratio to floor.py, or to a bare loop, taken in one go on the same truth server.

    PEERS=dir python benchmarks/capacity.py [--goes N]

Plain requests and 32-token streams, 64 in flight, against a server that answers at once; a 64-token stream's CPU (cpu.py); how
late 2,000 requests a second are that go out while 500 streams of 1 ms between tokens are open, against bare_mixed.py, which
sends the same at the same times. With PEERS, the plain requests and the streams by those whose virtual environment is there
(peers.py). Best of the goes for ceilings, medians for the rest.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

import cpu
import peers
from aiperf.spool import SpoolReader
from harness import HERE, Figures, Table, Trial, alternate, asked_goes, chat, floor, median, play, truth
from peers import IN_FLIGHT, REQUESTS, TOKENS, best

LEAST = {"plain": 0.3, "streams": 0.9}
STREAMS, PER_S, SECONDS = 500, 2000, 5
OPEN_MS, ENDLESS = 1000, 20_000
"""The streams are opened one a millisecond, before the first request is due, and have more tokens than the run has time for."""
LATE, QUANTILES = 1.5, ("p50", "p95", "p99")


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
        **{f"late_{q}_us": float(np.percentile(ours, int(q[1:]))) for q in QUANTILES},
        **{f"bare_{q}_us": float(np.percentile(bare, int(q[1:]))) for q in QUANTILES},
        "bare_events_per_s": said["events"] / (SECONDS + OPEN_MS / 1000),
    }


def go(folder: Path) -> Figures:
    return ceiling(folder, "plain") | ceiling(folder, "streams") | late_us(folder)


def main() -> None:
    count = asked_goes()
    others = peers.present()
    goes, streams = alternate(lambda folder: go(folder) | others.go(folder), count), alternate(cpu.go, count)
    table = Table("Capacity: one generator, of what a bare client does on the same server")
    for kind in TOKENS:
        table.at_least(f"{kind}, {IN_FLIGHT} in flight: rate, of floor's", best(goes, kind) / best(goes, f"{kind}_floor"), LEAST[kind])
        table.note("  best rates", f"{best(goes, kind):,.0f}/s, floor {best(goes, f'{kind}_floor'):,.0f}/s")
        table.note("  reads a request", f"{median(goes, f'{kind}_reads'):.2f}, floor {median(goes, f'{kind}_floor_reads'):.2f}")
        table.note("  CPU a request", f"{median(goes, f'{kind}_us'):.1f} us, floor {median(goes, f'{kind}_floor_us'):.1f} us")
        others.note(table, goes, kind)
    cpu.rows(table, streams)
    ratios = [{q: one[f"late_{q}_us"] / one[f"bare_{q}_us"] for q in QUANTILES} for one in goes]
    table.at_most(f"{PER_S:,}/s while {STREAMS} streams are open: lateness p99, of a bare loop's", median(ratios, "p99"), LATE)
    table.note("  p95, of a bare loop's", f"{median(ratios, 'p95'):.2f}")
    for name, whose in (("late", "ours"), ("bare", "the bare loop's")):
        found = (f"{median(goes, f'{name}_{q}_us'):,.0f} ({min(one[f'{name}_{q}_us'] for one in goes):,.0f})" for q in QUANTILES)
        table.note(f"  {whose}, {', '.join(QUANTILES)}: median, least of the goes", f"{', '.join(found)} us")
    table.note("  tokens a second that truth gave it", f"{median(goes, 'bare_events_per_s'):,.0f}")
    table.close()


if __name__ == "__main__":
    main()
