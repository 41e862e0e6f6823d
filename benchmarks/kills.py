"""kill -9 of a generator, a processor and the parent at random moments of a run.

What had been answered until a second before is there with its stamps, the rest is counted, the verdict says so, and nothing runs on.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from aiperf.errors import SpoolError
from aiperf.spool import SpoolReader
from harness import Figures, Table, Trial, alternate, chat, command, launch, median, truth, worst

SECONDS, RATE, TOKENS, KILLS = 5, 300, 16, 20
LOAD = (
    "timing=request_rate", f"timing.rate={RATE}", f"timing.stop.duration_s={SECONDS}", f"dataset.output_tokens={TOKENS}",
    "dataset.input_tokens=50", "output.level=raw",
    "verdict.ignore=[late_generator,coalesced_first_tokens,generator_saturated,plan_not_met]",
)  # fmt: skip
GONE_S, HANG_S, MISSING_MS = 3, 40, 1000
VICTIMS = ("generator-0", "processor-0", "parent")
DRAWN = random.Random(7)  # the moments, the same in every go


def workers(parent: int) -> dict[str, int]:
    """Every process of a run by the name of its job."""
    found = {"parent": parent}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            if "aiperf.cluster.child" in words and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found[words[words.index("aiperf.cluster.child") + 1]] = int(entry.name)
    return found


def running(pids: list[int]) -> int:
    alive = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            alive += Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return alive


def killed(folder: Path, run: subprocess.Popen[str], victim: str) -> tuple[int, list[int]]:
    """Kills one of the run's processes at a random moment of its load; when (CLOCK_REALTIME), and all of its processes."""
    spool = None
    while spool is None and run.poll() is None:
        spool = next(folder.glob("benchmark/*/trials/0001/spool/generator-0.spool"), None)
        time.sleep(0.01)
    time.sleep(DRAWN.uniform(0.2, SECONDS - 0.2))
    pids = workers(run.pid)
    os.kill(pids[victim], signal.SIGKILL)
    return time.time_ns(), list(pids.values())


def go(folder: Path, victim: str) -> Figures:
    with truth(folder, 5000, 1000, TOKENS) as server:
        run = launch(folder, *chat(server), *LOAD)
        at, pids = killed(folder, run, victim)
        began = time.monotonic()
        said, _ = run.communicate(timeout=HANG_S)
        time.sleep(max(0, GONE_S - (time.monotonic() - began)) if victim == "parent" else 0)
        (campaign,) = (folder / "benchmark").iterdir()
        left = running([pid for pid in pids if pid != run.pid]) + sum(1 for _ in campaign.rglob("*.part"))
        if victim == "parent":
            again = subprocess.run(command("report", campaign, "--from", "process"), capture_output=True, text=True, check=False)
            said, code = again.stdout, again.returncode
        else:
            code = run.returncode
        answered = server.end()
    return {"left": left, "seconds": time.monotonic() - began, "code": code, **missing(Trial(campaign, code, said), answered, at)}


def missing(trial: Trial, answered: np.ndarray, at: int) -> Figures:
    """What truth had answered before the kill and the records do not have whole; the oldest of it, in ms before the kill."""
    records = trial.records("request", "error", "first_token_ns", "last_token_ns", "generator")
    whole = records.filter(pc.is_null(records["error"]))["request"].to_numpy()
    before = answered[answered["last"] < at]
    lost = before[~np.isin(before["request"], whole)]
    died = [reason["detail"] for reason in trial.summary["verdict"]["reasons"] if reason["reason"] == "generator_died"]
    return {
        "frames_unread": float(unread(trial.first / "spool")),
        "lost": float(len(lost)),
        "oldest_ms": float((at - lost["last"].min()) / 1e6) if len(lost) else 0.0,
        "planned": float(trial.summary["counts"]["planned"]),
        "records": float(records.num_rows),
        "died": float(bool(died)),
    }


def unread(spools: Path) -> int:
    """Bytes of damage: a torn end of under a megabyte is what a kill leaves."""
    bad = 0
    for path in spools.glob("*.spool"):
        reader = SpoolReader(path)
        try:
            for _ in reader.frames():
                pass
        except SpoolError:
            bad += 1
        bad += reader.torn() > 1 << 20
    return bad


def main() -> None:
    table = Table(f"kill -9, {KILLS} random moments each of a {SECONDS} s run at {RATE} streams/s")
    kills = int(sys.argv[sys.argv.index("--goes") + 1]) if "--goes" in sys.argv else KILLS
    for victim in VICTIMS:
        goes = alternate(lambda folder, victim=victim: go(folder, victim), kills)
        is_invalid = 0 if victim == "processor-0" else 3
        table.at_most(f"{victim}: frames that could not be read", worst(goes, "frames_unread"), 0)
        table.at_most(f"{victim}: oldest answer that is missing, before the kill", worst(goes, "oldest_ms"), MISSING_MS, "ms")
        table.note(f"{victim}: answers missing, median and worst", f"{median(goes, 'lost'):.0f}, {worst(goes, 'lost'):.0f}")
        table.at_most(
            f"{victim}: planned requests without a record", worst([{"d": abs(one["planned"] - one["records"])} for one in goes], "d"), 0
        )
        table.equal(f"{victim}: exit codes", sorted({int(one["code"]) for one in goes}), [is_invalid])
        table.equal(f"{victim}: verdicts that name who died", sum(one["died"] for one in goes), float(kills if is_invalid else 0))
        table.at_most(f"{victim}: processes and temporary files left", worst(goes, "left"), 0)
        table.at_most(f"{victim}: seconds from the kill to the verdict", worst(goes, "seconds"), HANG_S, "s")
    table.close()


if __name__ == "__main__":
    main()
