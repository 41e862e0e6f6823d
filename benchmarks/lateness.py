"""Are requests sent when they are due? Poisson 1,000/s for 10 s, plain answers, truth at 5 ms."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from harness import Figures, NoiseError, Table, alternate, chat, floor, median, missed_by_half, play, truth, worst

RATE, SECONDS = 1000, 10
LIMIT_MS = 0.1
LOAD = (
    "timing=request_rate", f"timing.rate={RATE}", "timing.arrival=poisson", f"timing.stop.duration_s={SECONDS}",
    "dataset.output_tokens=16", "dataset.input_tokens=100",
)  # fmt: skip


def floor_go(folder: Path) -> Figures:
    with truth(folder, 5000, 0) as server:
        late = floor(server.port, 128, RATE * SECONDS, 16, "--rate", RATE)["lateness_ms"]["p99"]
    if missed_by_half(late, LIMIT_MS):
        raise NoiseError
    return {"floor_late_ms": late}


def go(folder: Path) -> Figures:
    with truth(folder, 5000, 0) as server:
        trial = play(folder, *chat(server, streaming=False), *LOAD)
        rows = server.end()
    records = trial.records("request", "schedule_lateness", "sent_ns")
    plan = pq.read_table(trial.first / "plan.parquet")
    planned = plan["request"].filter(np.asarray(plan["phase"].cast("string")) == "profiling").to_numpy()
    seen = records["request"].to_numpy()
    late = records["schedule_lateness"].drop_null().to_numpy()
    return floor_go(folder) | {
        "late_p50_ms": float(np.percentile(late, 50)),
        "late_p99_ms": float(np.percentile(late, 99)),
        "late_max_ms": float(late.max()),
        "planned": len(planned),
        "not_recorded_once": len(np.setxor1d(planned, seen)) + len(seen) - len(np.unique(seen)),
        "not_at_truth": len(np.setdiff1d(records["request"].filter(records["sent_ns"].is_valid()).to_numpy(), rows["request"])),
        "valid": float(trial.code == 0),
    }


def main() -> None:
    goes = alternate(go)
    table = Table("Poisson 1,000/s for 10 s, plain, truth 5 ms")
    table.at_most("schedule_lateness p99", median(goes, "late_p99_ms"), LIMIT_MS, "ms")
    table.at_most("arrivals of the plan not in the records exactly once", worst(goes, "not_recorded_once"), 0)
    table.at_most("requests sent that truth has not seen", worst(goes, "not_at_truth"), 0)
    table.note("arrivals planned", f"{median(goes, 'planned'):.0f}")
    table.note("p50, largest", f"{median(goes, 'late_p50_ms'):.4f} ms, {median(goes, 'late_max_ms'):.3f} ms")
    table.note("goes that were VALID", f"{sum(g['valid'] for g in goes):.0f} of {len(goes)}")
    table.note("floor's p99", f"{median(goes, 'floor_late_ms'):.3f} ms")
    table.close()


if __name__ == "__main__":
    main()
