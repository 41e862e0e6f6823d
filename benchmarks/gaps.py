"""Is a constant rate constant where it arrives? 200/s for 20 s; the gaps are those at truth."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import truth_log
from harness import Figures, NoiseError, Table, alternate, chat, floor, median, play, truth

RATE, SECONDS = 200, 20
GAP_MS, WITHIN = 1000 / RATE, 0.05
SHARE = 0.99
LOAD = (
    "timing=request_rate", f"timing.rate={RATE}", "timing.arrival=constant", f"timing.stop.duration_s={SECONDS}",
    "dataset.output_tokens=16", "dataset.input_tokens=100",
)  # fmt: skip


def share_within(rows: NDArray) -> float:
    gaps = truth_log.gaps_ms(rows)
    return float((np.abs(gaps - GAP_MS) <= WITHIN * GAP_MS).mean())


def floor_go(folder: Path) -> Figures:
    """Floor's share; noise, if it has half as many again outside as the figure allows."""
    with truth(folder, 5000, 0) as server:
        floor(server.port, 32, RATE * SECONDS, 16, "--rate", RATE, "--arrival", "constant")
        share = share_within(server.end())
    if 1 - share > 1.5 * (1 - SHARE):
        raise NoiseError
    return {"floor_share": share}


def go(folder: Path) -> Figures:
    with truth(folder, 5000, 0) as server:
        play(folder, *chat(server, streaming=False), *LOAD)
        rows = server.end()
    return floor_go(folder) | {"share": share_within(rows), "arrivals": len(rows)}


def main() -> None:
    goes = alternate(go)
    table = Table("Constant 200/s for 20 s: gaps at truth within 5 % of 5 ms")
    table.at_least("share of gaps within 5 %", median(goes, "share"), SHARE)
    table.at_least("arrivals at truth", median(goes, "arrivals"), RATE * SECONDS - 1)
    table.note("floor's share", f"{median(goes, 'floor_share'):.4f}")
    table.close()


if __name__ == "__main__":
    main()
