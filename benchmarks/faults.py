"""Are exactly those requests failed that failed? The simulator with 5 % of streams ended by an error event and 5 % truncated."""

import json
from pathlib import Path

from harness import Figures, Table, alternate, median, play, worst

REQUESTS, SHARE = 3000, 0.05
KINDS = ("error_event", "truncated")
LATENCIES = ("time_to_first_token", "time_to_first_output_token", "inter_token_latency", "request_latency", "planned_request_latency")


def load(log: Path, seed: int) -> tuple[str, ...]:
    return (
        "endpoint=simulator", f"endpoint.simulator.log={log}", f"endpoint.simulator.seed={seed}",
        "endpoint.simulator.ttft_ms=5", "endpoint.simulator.itl_ms=1", *(f"endpoint.simulator.faults.{kind}={SHARE}" for kind in KINDS),
        "timing=concurrency", "timing.concurrency=32", f"timing.stop.requests={REQUESTS}",
        "dataset.output_tokens=16", "dataset.input_tokens=100", "verdict.max_error_rate=0.2",
    )  # fmt: skip


def by_the_server(log: Path) -> dict[int, str | None]:
    """What went wrong with each numbered request, by the simulator's own log."""
    rows = (json.loads(line) for line in log.read_text().splitlines())
    return {row["request"]: row["fault"] for row in rows if row["request"] is not None and row["request"] < 1_000_000_000}


def go(folder: Path, seeds: list[int]) -> Figures:
    log = folder / "simulator.jsonl"
    trial = play(folder, *load(log, seeds.pop()))
    truth = by_the_server(log)
    rows = trial.records("request", "error", *LATENCIES).to_pylist()
    errors = {row["request"]: row["error"] for row in rows}
    good = sum(fault is None for fault in truth.values())
    return {
        "failed": len(truth) - good,
        "wrong": sum(errors.get(number, "none") != fault for number, fault in truth.items()) + len(errors.keys() ^ truth.keys()),
        "in_a_latency": sum(row["error"] is not None and any(row[name] is not None for name in LATENCIES) for row in rows),
        "good_off": max(abs(trial.summary["metrics"][name]["n"] - good) for name in ("request_latency", "time_to_first_token")),
    }


def main() -> None:
    seeds = list(range(100))
    goes = alternate(lambda folder: go(folder, seeds))
    table = Table(f"Simulator, {REQUESTS:,} requests, 5 % error events, 5 % truncated")
    table.at_most("requests whose class is not the simulator's, by number", worst(goes, "wrong"), 0)
    table.at_most("failed requests with a latency", worst(goes, "in_a_latency"), 0)
    table.at_most("latency samples more or fewer than good requests", worst(goes, "good_off"), 0)
    table.at_least("failed requests in a go", median(goes, "failed"), REQUESTS * SHARE)
    table.close()


if __name__ == "__main__":
    main()
