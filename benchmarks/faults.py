"""Does every fault have its class? The simulator with each of its faults at 10 %: who failed and how, by number, against its own log."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness import Figures, Table, Trial, alternate, least, median, play, worst

REQUESTS, SHARE = 5000, 0.1
CHECKS = {
    "wrong": "requests whose class is not the simulator's, by number",
    "unknown": "requests that one of both does not know, or knows twice",
    "in_a_latency": "failed requests with a latency",
    "good_off": "latency samples more or fewer than good requests",
}
"""What has to be 0 in every run."""
LATENCIES = (
    "time_to_first_token", "time_to_first_output_token", "inter_token_latency", "inter_chunk_latency", "request_latency",
    "planned_time_to_first_token", "planned_request_latency",
)  # fmt: skip
AT_ONCE = (
    "error_event", "truncated", "http_500", "reset", "refused", "rate_limited", "http_400", "http_404_empty", "http_503_empty",
)  # fmt: skip
IN_TIME = ("reset_mid", "error_named", "malformed", "stall", "slow_headers", "endless", "wrong_content_type", "garbage")
CLASSES: Mapping[str | None, str | None] = {
    "error_event": "error_event", "truncated": "truncated", "http_500": "http_5xx", "reset": "reset", "refused": "connect",
    "rate_limited": "rate_limited", "http_400": "http_4xx", "http_404_empty": "http_4xx", "http_503_empty": "http_5xx",
    "reset_mid": "reset", "error_named": "error_event", "malformed": "malformed", "stall": "timeout_idle",
    "slow_headers": "timeout_first_byte", "endless": "too_large", "wrong_content_type": "malformed", "garbage": "malformed",
    "close_after": None, "close_idle": None, "close_idle_raced": "reset", None: None,
}  # fmt: skip
"""Written down once more, since what the simulator's own table says is what is to be shown."""
FORMS = {"streamed": ("endpoint.streaming=true",), "whole completions": ("endpoint.type=completions", "endpoint.streaming=false")}
CLOSED = ("timing=concurrency", "timing.concurrency=128")
IDLE = ("timing=request_rate", "timing.rate=1000", "timing.arrival=poisson", "endpoint.simulator.faults.idle_close_ms=1")
"""Connections idle for about as long as they are kept."""
RACE = (*CLOSED, "endpoint.simulator.faults.idle_close_ms=0")
"""The next request is on its way when the connection is closed."""


def load(log: Path, seed: int, kinds: tuple[str, ...], requests: int = REQUESTS) -> tuple[str, ...]:
    """A run with these faults, and deadlines that a stall does not keep."""
    return (
        "endpoint=simulator", f"endpoint.simulator.log={log}", f"endpoint.simulator.seed={seed}", "endpoint.simulator.ttft_ms=5",
        "endpoint.simulator.itl_ms=1", *(f"endpoint.simulator.faults.{kind}={SHARE}" for kind in kinds),
        "endpoint.timeout_s={first_byte: 1, idle: 1}", "endpoint.max_answer_bytes=100000", f"timing.stop.requests={requests}",
        "dataset.output_tokens=16", "dataset.input_tokens=100", "verdict.max_error_rate=1",
    )  # fmt: skip


def by_the_server(log: Path) -> Iterator[tuple[int, str | None]]:
    """What went wrong with each numbered request that arrived, and whose connections were refused up to the last of these."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    arrived = [(row["request"], row["fault"]) for row in rows if row.get("request") is not None and row["request"] < 1_000_000_000]
    yield from arrived
    for refused in (row["refused"] for row in rows if "refused" in row):
        ours = range(max(number for number, _ in arrived) + refused["every"])
        yield from ((number, "refused") for number in ours if number % refused["every"] in refused["places"])


def compared(trial: Trial, log: Path, requests: int = REQUESTS) -> Figures:
    """The records of a run against the server's log, by number."""
    said = [(number, fault) for number, fault in by_the_server(log) if number < requests]
    truth = {number: CLASSES[fault] for number, fault in said}
    rows = trial.records("request", "error", *LATENCIES).to_pylist()
    errors = {row["request"]: row["error"] for row in rows}
    good = sum(error is None for error in truth.values())
    metrics = trial.summary["metrics"]
    timed = [metrics[name]["n"] for name in ("request_latency", "time_to_first_token") if name in metrics]
    return {
        "failed": requests - good,
        "kinds": len({fault for _, fault in said} - {None, "close_idle_raced"}),
        "wrong": sum(errors.get(number, "none") != error for number, error in truth.items()),
        "unknown": len(set(range(requests)) ^ errors.keys()) + len(set(range(requests)) ^ truth.keys()) + len(said) - len(truth),
        "in_a_latency": sum(row["error"] is not None and any(row[name] is not None for name in LATENCIES) for row in rows),
        "good_off": max(abs(n - good) for n in timed),
        "reopened": sum(generator["reopened"] for generator in trial.receipt["generators"]),
    }


def runs() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Faults and words of each run of a go: every fault in both forms, and the ways of closing what goes well."""
    parts = {"1": AT_ONCE, "2": IN_TIME}
    failing = {f"{name}, {part}": (kinds, (*CLOSED, *form)) for name, form in FORMS.items() for part, kinds in parts.items()}
    closing = {"behind": (("close_after",), CLOSED), "idle": (("close_idle",), IDLE), "race": (("close_idle",), RACE)}
    return {**failing, **closing}


def go(folder: Path, seeds: list[int]) -> Figures:
    """What has to be 0, summed over the runs, and what has to come, by run."""
    figures: Figures = dict.fromkeys(CHECKS, 0)
    for number, (name, (kinds, words)) in enumerate(runs().items()):
        log = folder / f"simulator-{number}.jsonl"
        found = compared(play(folder / str(number), *load(log, seeds.pop(), kinds), *words), log)
        figures |= {check: figures[check] + found[check] for check in CHECKS}
        figures |= {f"{name}: {figure}": found[figure] for figure in ("failed", "reopened") if len(kinds) == 1 or figure == "failed"}
        figures[f"{name}: missing"] = len(kinds) - found["kinds"]
    return figures


def main() -> None:
    seeds = list(range(200))
    goes = alternate(lambda folder: go(folder, seeds))
    table = Table(f"Simulator, {len(runs())} runs of {REQUESTS:,} requests, every fault at {SHARE:.0%}")
    for check, what in CHECKS.items():
        table.at_most(what, worst(goes, check), 0)
    table.at_most("faults that never came", max(worst(goes, f"{name}: missing") for name in runs()), 0)
    for name, (kinds, _) in runs().items():
        if len(kinds) > 1:
            table.at_least(f"failed requests, {name}", median(goes, f"{name}: failed"), 0.95 * REQUESTS * SHARE * len(kinds))
        else:
            table.note(f"failed requests, closed {name}", median(goes, f"{name}: failed"))
            table.at_least(f"re-opened requests, closed {name}", least(goes, f"{name}: reopened"), 1)
    table.close()


if __name__ == "__main__":
    main()
