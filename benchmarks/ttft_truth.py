"""Is the time to first token true? 32 streams in flight against truth (5 ms, 1 ms, 16 tokens), 3,000 requests."""

from pathlib import Path

import numpy as np

import truth_log
from harness import Figures, NoiseError, Table, alternate, chat, floor, median, missed_by_half, play, truth, worst

CONCURRENCY, REQUESTS, TOKENS = 32, 3000, 16
LOAD = (
    "timing=concurrency", f"timing.concurrency={CONCURRENCY}", f"timing.stop.requests={REQUESTS}",
    f"dataset.output_tokens={TOKENS}", "dataset.input_tokens=100",
)  # fmt: skip
P50_MS, P99_MS = 0.10, 1.0


def floor_go(folder: Path) -> Figures:
    """Floor's rate by truth's log; raises NoiseError if even floor does not see truth's TTFT."""
    with truth(folder, 5000, 1000) as server:
        said = floor(server.port, CONCURRENCY, REQUESTS, TOKENS, "--stream")
        rows = server.end()
    off = {q: said["ttft_ms"][f"p{q}"] - float(np.percentile(truth_log.ttft_ms(rows), q)) for q in (50, 99)}
    if missed_by_half(off[50], P50_MS) or missed_by_half(off[99], P99_MS):
        raise NoiseError
    return {"floor_rate": truth_log.rate(rows), "floor_p50_off_ms": off[50], "floor_p99_off_ms": off[99]}


def go(folder: Path) -> Figures:
    with truth(folder, 5000, 1000) as server:
        trial = play(folder, *chat(server), *LOAD)
        rows = server.end()
    joined, theirs = truth_log.join(rows, trial.first / "records"), truth_log.ttft_ms(rows)
    off = {q: trial.stat("time_to_first_token", f"p{q}") - float(np.percentile(theirs, q)) for q in (50, 99)}
    return floor_go(folder) | {
        "p50_off_ms": abs(off[50]),
        "p99_off_ms": abs(off[99]),
        "error_p99_ms": float(np.percentile(np.abs(joined.ttft_error_ms()), 99)),
        "interval_share": joined.interval_share,
        "false_intervals": joined.intervals_without_truth(),
        "unmatched": joined.missing + joined.extra + joined.repeated,
        "rate": truth_log.rate(rows),
        "valid": float(trial.verdict == "VALID" and trial.code == 0),
    }


def main() -> None:
    goes = alternate(go)
    table = Table("TTFT against truth: 5 ms / 1 ms / 16 tokens, 32 in flight, 3,000 requests")
    table.at_most("TTFT p50 off truth's log by", median(goes, "p50_off_ms"), P50_MS, "ms")
    table.at_most("TTFT p99 off truth's log by", median(goes, "p99_off_ms"), P99_MS, "ms")
    table.at_most("TTFT error of exact first tokens, p99", median(goes, "error_p99_ms"), 0.1, "ms")
    table.at_most("intervals that do not hold the truth", worst(goes, "false_intervals"), 0)
    table.note("share of intervals", f"{median(goes, 'interval_share'):.4%}")
    table.at_most("requests not in both logs once", worst(goes, "unmatched"), 0)
    table.at_least("rate by truth's log, of floor's", median([{"share": g["rate"] / g["floor_rate"]} for g in goes], "share"), 0.97)
    table.at_least("VALID, in the median go", median(goes, "valid"), 1)
    table.note("rate", f"{median(goes, 'rate'):.0f}/s, floor {median(goes, 'floor_rate'):.0f}/s")
    table.note("floor's p50 and p99 off by", f"{median(goes, 'floor_p50_off_ms'):.3f} ms, {median(goes, 'floor_p99_off_ms'):.3f} ms")
    table.close()


if __name__ == "__main__":
    main()
