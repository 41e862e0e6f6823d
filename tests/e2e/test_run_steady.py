"""An open loop that asks for more than the server carries, on real sockets: its numbers are no steady state, and the verdict says so."""

from pathlib import Path

from running import ran, unmarred


def test_a_queue_that_grows_all_the_while_is_a_trend(tmp_path: Path) -> None:
    words = (
        "endpoint=simulator", "endpoint.simulator.preset=textbook", "endpoint.streaming=false",
        "endpoint.simulator.service={distribution: fixed, mean_ms: 20}",
        "timing=request_rate", "timing.rate=120", "timing.stop.duration_s=2.5", "timing.stop.grace_s=0.5", "ui.type=none",
        "verdict.ignore=[late_generator]",
    )  # fmt: skip
    goes = iter(range(6))
    done = unmarred(lambda: ran(tmp_path / f"{next(goes)}", *words), lambda done: "trend" in done.reasons, 6)
    assert done.code == 3, done.out + done.err
    (trend,) = (reason for reason in done.summary["verdict"]["reasons"] if reason["reason"] == "trend")
    assert "in flight went from" in trend["detail"]
    assert "lower timing.rate" in trend["advice"]
