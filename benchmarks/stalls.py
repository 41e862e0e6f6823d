"""Does a generator that is stopped for 20 ms every 80 to 120 ms still report when first tokens arrived? The load of ttft_truth.py."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

import truth_log
from harness import Figures, Table, alternate, chat, generator, landed, launch, least, median, truth, worst
from ttft_truth import LOAD, floor_go

STALL_S, GAP_S = 0.020, (0.080, 0.120)
TOLERATED_MS = 0.1


def stall(run: subprocess.Popen[str], seed: int) -> int:
    """Stops and continues the run's generator until it is gone; how many times."""
    draws, times, pid = random.Random(seed), 0, None
    while run.poll() is None and (pid := generator(run.pid)) is None:
        time.sleep(0.002)
    try:
        while pid is not None and run.poll() is None:
            time.sleep(draws.uniform(*GAP_S))
            os.kill(pid, signal.SIGSTOP)
            time.sleep(STALL_S)
            os.kill(pid, signal.SIGCONT)
            times += 1
    except ProcessLookupError:
        return times
    return times


def go(folder: Path) -> Figures:
    noise = floor_go(folder)
    with truth(folder, 5000, 1000) as server:
        run = launch(folder, *chat(server), *LOAD)
        times = stall(run, seed=server.port)
        trial = landed(folder, run)
        rows = server.end()
    joined = truth_log.join(rows, trial.first / "records")
    return {
        "stalls": times,
        "off": int((joined.arrival_error_ms() > TOLERATED_MS).sum()),
        "ttft_off": int((np.abs(joined.ttft_error_ms()) > TOLERATED_MS).sum()),
        "interval_share": joined.interval_share,
        "false_intervals": joined.intervals_without_truth(),
        "unmatched": joined.missing + joined.extra + joined.repeated,
        "rate": truth_log.rate(rows),
        "floor_rate": noise["floor_rate"],
        "late_named": float(trial.verdict == "INVALID" and any("late" in reason for reason in trial.reasons)),
    }


def main() -> None:
    goes = alternate(go)
    table = Table("The same with the generator stopped for 20 ms every 80 to 120 ms")
    table.at_least("stalls in a go", least(goes, "stalls"), 10)
    table.at_most("exact first tokens off by more than 0.1 ms", worst(goes, "off"), 0)
    table.at_most("share of intervals", median(goes, "interval_share"), 0.01)
    table.at_most("intervals that do not hold the truth", worst(goes, "false_intervals"), 0)
    table.at_most("requests not in both logs once", worst(goes, "unmatched"), 0)
    table.at_least("goes whose verdict names the lateness, all", least(goes, "late_named"), 1)
    table.note("TTFT off by more than 0.1 ms (stopped between stamp and send)", f"{median(goes, 'ttft_off'):.0f}")
    table.note("rate", f"{median(goes, 'rate'):.0f}/s, floor without stalls {median(goes, 'floor_rate'):.0f}/s")
    table.close()


if __name__ == "__main__":
    main()
