"""How long does `aiperf query` take over 1,000 campaigns, and does a reader ever meet a writer?

Each campaign is a real one of one trial, as a run commits it. Beside the whole command stands DuckDB alone, which opens the
same files one after the other and counts their rows. A reader then looks every 50 ms while trials are committed.
"""

import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from aiperf.errors import AiperfError
from aiperf.plugin.plugins import of_requests, of_runs
from aiperf.results import STATS, MetricValue, Summary, Verdict, Window
from aiperf.store import joined
from aiperf.store.aggregate import commit
from aiperf.store.rows import Sweep, Trial
from harness import Figures, Table, alternate, command, least, median, worst

CAMPAIGNS = 1_000
TRIALS = 40
LIMIT_S = 4.0
LOOK_S = 0.05
ASKED = {
    "points": "SELECT verdict, count(*), avg(request_latency_p99) FROM points GROUP BY verdict",
    "metrics": "SELECT metric, stat, avg(value) FROM metrics JOIN trials USING (campaign, trial_id) GROUP BY ALL",
}
BARE = """
import sys, pathlib, duckdb
connection, rows = duckdb.connect(), 0
for path in pathlib.Path(sys.argv[1]).glob("*/*/sweep.duckdb"):
    connection.execute(f"ATTACH '{path}' AS one (READ_ONLY)")
    rows += connection.execute("SELECT count(*) FROM one.metrics").fetchall()[0][0]
    connection.execute("DETACH one")
print(rows)
"""


def summary() -> Summary:
    """Every metric that a run has, with every statistic."""
    kinds = ((of_requests(), STATS), (of_runs(), ("avg",)))
    found = (
        MetricValue(entry.name, entry.metadata["unit"], dict.fromkeys(stats, 2.5), 100) for entries, stats in kinds for entry in entries
    )
    return Summary(Window(0, 10**10), tuple(found), (), {}, {}, {}, (), Verdict())


def trial(number: int) -> Trial:
    params = {"timing.concurrency": number, "dataset.input_tokens.mean": 100.0, "endpoint.type": "chat", "seed": 42}
    return Trial(number, f"trials/{number:04d}", params, 0, 10**10, summary=summary())


def campaigns(below: Path) -> None:
    """One is committed; the others are its file under other names and ids, which SQL sets."""
    import duckdb  # noqa: PLC0415 - only here

    made = below / "made"
    made.mkdir()
    commit(made, Sweep("made", "benchmark", "seed: 42\n" * 200, 0, 10**10), [trial(1)])
    for number in range(CAMPAIGNS):
        folder = below / "outputs" / f"experiment-{number % 20}" / f"20260102T030405Z-{number:06x}"
        folder.mkdir(parents=True)
        shutil.copyfile(made / "sweep.duckdb", folder / "sweep.duckdb")
        with duckdb.connect(folder / "sweep.duckdb", config={"threads": 1}) as connection:
            connection.execute("UPDATE about SET sweep_id = ?", [folder.name])


def seconds(words: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def asking(folder: Path) -> Figures:
    campaigns(folder)
    found = {f"{name}_s": seconds(command("query", sql), folder) for name, sql in ASKED.items()}
    return found | {"bare_s": seconds([sys.executable, "-c", BARE, "outputs"], folder)}


def watching(folder: Path) -> Figures:
    """Looks every 50 ms while another process commits; errors and halves are counted."""
    commit(folder, Sweep("s", "benchmark", "", 0), [trial(1)])
    code = "import query, sys; from pathlib import Path; query.committing(Path(sys.argv[1]))"
    looks, errors = 0, 0
    with subprocess.Popen([sys.executable, "-c", code, folder], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as writer:
        while writer.poll() is None:
            looks += 1
            errors += not whole(folder)
            time.sleep(LOOK_S)
        first, last = (float(word) for word in writer.stdout.read().split())
    return {"looks": looks, "errors": errors, "failed": writer.returncode, "first_commit_ms": 1000 * first, "last_commit_ms": 1000 * last}


def whole(folder: Path) -> bool:
    """Whether a reader finds as many points as trials."""
    try:
        sql = "SELECT (SELECT count(*) FROM trials) AS trials, (SELECT count(*) FROM points) AS points"
        with joined.asked(sql, joined.campaigns(folder)) as answer:
            (found,) = (row for batch in answer.batches for row in batch.to_pylist())
    except AiperfError:
        return False
    return found["trials"] == found["points"] > 0


def committing(folder: Path) -> None:
    """A sweep of TRIALS trials; prints how long the first five commits and the last five took, by their medians."""
    took = []
    for number in range(1, TRIALS + 1):
        began = time.perf_counter()
        commit(folder, replace(Sweep("s", "benchmark", "", 0), ended_ns=number), [trial(number)])
        took.append(time.perf_counter() - began)
    print(statistics.median(took[:5]), statistics.median(took[-5:]))


def main() -> None:
    goes = alternate(asking)
    reads = alternate(watching)
    table = Table(f"aiperf query over {CAMPAIGNS:,} campaigns of one trial")
    for name in ASKED:
        table.at_most(f"{name}, from launch to exit", median(goes, f"{name}_s"), LIMIT_S, "s")
    table.equal(f"errors of a reader every {LOOK_S * 1000:g} ms during {TRIALS} commits", worst(reads, "errors"), 0)
    table.equal("commits that failed", worst(reads, "failed"), 0)
    table.at_least("looks", least(reads, "looks"), 10)
    table.note("DuckDB alone, one file after the other", f"{median(goes, 'bare_s'):.2f} s")
    table.note("a commit, first and last five", f"{median(reads, 'first_commit_ms'):.0f} ms, {median(reads, 'last_commit_ms'):.0f} ms")
    table.close()


if __name__ == "__main__":
    main()
