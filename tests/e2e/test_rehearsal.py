"""Rehearsals by the command line: the packaged server on a clock that jumps, and rules that end a run by what it shows."""

from pathlib import Path

import pytest
import yaml
from running import ran

from aiperf.app.run import evaluator
from aiperf.records import STOP_RULES
from aiperf.store.parquet import read_records

VIRTUAL = ("endpoint=simulator", "endpoint.simulator.clock=virtual", "timing=request_rate", "dataset.output_tokens=16")
ENGINE = (*VIRTUAL, "endpoint.simulator.preset=large_gpu", "timing.rate=50", "seed=3")


def test_the_same_seed_leaves_the_same_records(tmp_path: Path) -> None:
    runs = [ran(tmp_path / name, *ENGINE, "timing.stop.duration_s=40", "timing.warmup.duration_s=5") for name in ("one", "other")]
    assert [done.code for done in runs] == [0, 0], runs[0].err
    one, other = (done.records for done in runs)
    assert one.equals(other)
    assert len(one) > 2000
    assert set(one["stamp"].to_pylist()) == {"virtual"}
    made = yaml.safe_load((runs[0].folder / "experiment.yaml").read_text())
    assert (made["cluster"]["type"], made["endpoint"]["transport"]) == ("inline", "memory")
    assert (runs[0].folder / "trials/0001/server_metrics/after-0.txt").read_text().count("vllm:") > 10


def test_a_run_ends_when_its_statistics_are_known(tmp_path: Path) -> None:
    words = (*VIRTUAL, "endpoint.simulator.preset=textbook", "dataset.output_tokens=1", "timing.rate=5", "timing.stop.duration_s=100000")
    runs = [
        ran(tmp_path / name, *words, "timing.stop.precision=0.2", "timing.stop.precision_of=[time_to_first_token.p50]")
        for name in ("one", "other")
    ]
    assert [done.code for done in runs] == [0, 0], runs[0].err
    found = runs[0].summary["metrics"]["time_to_first_token"]
    assert found["n"] < 100_000
    low, high = (found["intervals"]["p50"][end] for end in ("ci_low", "ci_high"))
    assert (high - low) / 2 < 0.2 * found["stats"]["p50"]
    assert runs[0].summary["counts"]["planned"] == found["n"]
    assert "ended by a stop rule (precision)" in runs[0].out
    assert runs[0].records.equals(runs[1].records)


def test_a_run_ends_when_too_much_fails(tmp_path: Path) -> None:
    done = ran(tmp_path / "out", *ENGINE, "endpoint.simulator.faults.http_500=0.5", "timing.stop.max_errors=10", "timing.concurrency=2")
    assert done.code == 3
    counts = done.summary["counts"]
    assert counts["failed"] >= 10
    assert counts["planned"] < 200
    assert set(done.records["reason"].filter(done.records["status"].is_null()).to_pylist()) <= set(STOP_RULES)


def test_a_function_from_outside_ends_a_run(tmp_path: Path) -> None:
    evaluate = evaluator([*ENGINE, "timing.stop.duration_s=3600", f"output.dir={tmp_path}"], say=lambda _: None)
    ended = evaluate({"timing.rate": 20, "name": "a-point"}, until=lambda pulse: pulse.sent >= 300 and "enough")
    assert (ended.code, ended.folder.parent.name) == (0, "a-point")
    assert ended.summary is not None
    assert 300 <= ended.summary.counts["planned"] < 310
    assert "ended by a stop rule (until: enough): nothing was sent from then on" in ended.summary.verdict.notes
    assert len(read_records(ended.folder / "trials/0001/records")) == ended.summary.counts["planned"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("endpoint.simulator.preset=gpu",),
            "endpoint.simulator.preset: expected one of fixed, textbook, small_gpu, large_gpu, overloaded, not 'gpu'",
        ),
        (("endpoint.simulator.kv_blocks=3",), "endpoint.simulator.kv_blocks=3: request 0 does not fit"),
        (("endpoint.url=http://127.0.0.1:1",), "virtual is for the packaged server, not for one at a URL"),
        (("cluster=local",), "endpoint.simulator.clock=virtual needs inline"),
        (("endpoint.transport=wire",), "endpoint.simulator.clock=virtual needs memory"),
        (("endpoint.simulator.ttft_ms=5",), "ttft_ms is not used by preset=large_gpu"),
        (
            ("endpoint.streaming=false", "timing.stop.precision=0.1", "timing.stop.precision_of=[time_to_first_token.p50]"),
            "time_to_first_token.p50 needs a streamed answer",
        ),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_with_its_place(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = ran(tmp_path / "out", *ENGINE, *words)
    assert done.code == 2
    assert says in done.err
    assert "nothing was sent" in done.err or done.err.count("\n") == 1


def test_a_server_that_loads_is_waited_for_in_virtual_time(tmp_path: Path) -> None:
    words = (*ENGINE, "timing.stop.duration_s=5", "endpoint.simulator.load_s=3600")
    late, soon = (ran(tmp_path / name, *words, f"endpoint.wait_s={name}") for name in ("3700", "3500"))
    assert (late.code, soon.code) == (0, 1), late.err
    assert "status 503" in soon.err


@pytest.mark.parametrize("grace_s", [30, 3600])
def test_what_outlives_its_grace_voids_the_run_and_more_grace_mends_it(tmp_path: Path, grace_s: int) -> None:
    words = (
        *VIRTUAL,
        "endpoint.simulator.preset=small_gpu",
        "endpoint.simulator.kv_blocks=10",
        "timing.rate=4",
        "seed=3",
        "verdict.ignore=[]",
    )
    done = ran(tmp_path / "out", *words, "timing.stop.duration_s=40", f"timing.stop.grace_s={grace_s}", "endpoint.timeout_s=3600")
    assert done.code == 3, done.err
    counts, reasons = done.summary["counts"], {reason["reason"]: reason for reason in done.summary["verdict"]["reasons"]}
    assert ("abandoned" in reasons) == (counts["abandoned"] > 0) == (grace_s == 30)
    if "abandoned" in reasons:
        assert f"{counts['abandoned']} of {counts['sent']} requests sent were abandoned" in reasons["abandoned"]["detail"]
        assert counts["abandoned"] > counts["sent"] / 3
