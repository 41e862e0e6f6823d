"""Is waiting left out? One slot, ten arrivals a second, a server that takes 500 ms, eight requests: 1.9 s on average from the plan."""

from pathlib import Path

from harness import Figures, Table, alternate, chat, least, median, play, truth

LOAD = (
    "timing=request_rate", "timing.rate=10", "timing.arrival=constant", "timing.concurrency=1", "timing.stop.requests=8",
    "dataset.output_tokens=16", "dataset.input_tokens=100",
)  # fmt: skip
SERVER_MS = 500
PLANNED_MS = sum(SERVER_MS * (i + 1) - 100 * i for i in range(8)) / 8


def go(folder: Path) -> Figures:
    with truth(folder, SERVER_MS * 1000, 0) as server:
        trial = play(folder, *chat(server, streaming=False), *LOAD)
    return {
        "planned_ms": trial.stat("planned_request_latency", "avg"),
        "latency_ms": trial.stat("request_latency", "avg"),
        "code": trial.code,
        "invalid": float(trial.verdict == "INVALID"),
        "two_of_eight": float(any("2 of" in reason["detail"] for reason in trial.summary["verdict"]["reasons"])),
    }


def main() -> None:
    goes = alternate(go)
    table = Table("One slot, 10 arrivals/s, a 500 ms server, 8 requests")
    table.at_most("planned_request_latency, mean, off 1,900 ms by", abs(median(goes, "planned_ms") / PLANNED_MS - 1), 0.03)
    table.at_most("request_latency, mean, off 500 ms by", abs(median(goes, "latency_ms") / SERVER_MS - 1), 0.03)
    table.equal("exit codes", sorted({int(g["code"]) for g in goes}), [3])
    table.at_least("goes that say that 2 of 8 were sent in time, all", least(goes, "two_of_eight"), 1)
    table.note("means", f"{median(goes, 'planned_ms'):.1f} ms from the plan, {median(goes, 'latency_ms'):.1f} ms from the send")
    table.close()


if __name__ == "__main__":
    main()
