"""From a command to files, numbers and an exit code, on real sockets against the packaged simulator."""

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from running import OPEN_NOISE, QUICK, Finished, ran, unmarred

from aiperf.records import SCHEMA
from aiperf.workload import WARMUP_FROM


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return ran(
        tmp_path_factory.mktemp("quick") / "out", *QUICK, "timing.warmup.requests=20", "name=quick", "endpoint.api_key=hunter2secret",
        "endpoint.headers={X-Api-Token: letmein42}", "goodput.slos.time_to_first_token=60s", "goodput.min_fraction=0.5",
    )  # fmt: skip


def test_it_ends_valid_and_says_so(quick: Finished) -> None:
    assert quick.code == 0, quick.out + quick.err
    assert "VALID" in quick.out
    assert str(quick.folder) in quick.out
    assert "no sampling parameters are sent" in quick.out
    assert quick.err == ""


def test_every_request_has_its_row(quick: Finished) -> None:
    records = quick.records
    run = records.filter(pc.less(records["request"], WARMUP_FROM))
    assert run["request"].to_pylist() == list(range(100))
    assert records.num_rows == 120
    assert set(SCHEMA.names) <= set(records.column_names)
    assert run["error"].null_count == 100
    assert pc.all(pc.less_equal(run["sent_ns"], run["first_token_ns"])).as_py()
    assert pc.all(pc.less_equal(run["first_token_ns"], run["last_token_ns"])).as_py()
    assert set(run["output_tokens"].to_pylist()) == {8}
    assert set(run["input_tokens"].to_pylist()) == {100}
    assert set(run["stamp"].to_pylist()) == {"kernel"}
    assert all(len(chunks) == 8 for chunks in run["chunk_ns"].to_pylist())


def test_its_latencies_are_those_of_the_server(quick: Finished, tmp_path: Path) -> None:
    goes = iter(range(5))

    def medians() -> tuple[float, float, float]:
        number = next(goes)
        done = ran(tmp_path / f"{number}", *QUICK) if number else quick
        run = done.records.filter(pc.less(done.records["request"], WARMUP_FROM))
        first, between = (float(np.median(run[name].to_numpy())) for name in ("time_to_first_token", "inter_token_latency"))
        return first, between, done.summary["metrics"]["time_to_first_token"]["stats"]["p50"]

    wanted = (pytest.approx(5, abs=1), pytest.approx(1, abs=0.5), pytest.approx(5, abs=1))
    assert unmarred(medians, lambda found: found == wanted, 5) == wanted


def test_the_summary_has_numbers_units_and_a_verdict(quick: Finished) -> None:
    summary = quick.summary
    ttft = summary["metrics"]["time_to_first_token"]
    assert (ttft["unit"], ttft["n"]) == ("ms", 100)
    assert "p99" in ttft["unsupported"]
    assert summary["verdict"]["verdict" if "verdict" in summary["verdict"] else "word"] == "VALID"
    assert summary["counts"]["good"] == 100
    assert summary["metrics"]["good_request_fraction"]["stats"]["avg"] == 1
    table = (quick.folder / "trials/0001/summary.csv").read_text()
    assert "time_to_first_token,ms,100" in table
    assert "nan" not in table.lower()


def test_the_plan_and_the_receipt_are_there(quick: Finished) -> None:
    assert quick.plan["request"].to_pylist() == quick.records["request"].to_pylist()
    receipt = quick.receipt
    assert [stage["stage"] for stage in receipt["stages"]] == ["plan", "probe", "load", "process", "judge", "report"]
    assert {stage["outcome"] for stage in receipt["stages"]} == {"done"}
    assert receipt["probe"]["streaming"]
    assert receipt["probe"]["template_tokens"] == 0
    assert receipt["model"] == "simulator"
    assert receipt["generators"][0]["requests"] == 120
    assert receipt["stamps"] == {"kernel": 120}
    assert not (quick.folder / "trials/0001/spool").exists()
    asked = list((quick.folder / "trials/0001/server_metrics").glob("*-0.txt"))  # before and after, if the server answers in two seconds
    assert asked
    assert all(path.read_text() for path in asked)


def test_no_secret_is_in_any_file_or_on_the_screen(quick: Finished) -> None:
    for path in quick.outputs.rglob("*"):
        if path.is_file():
            assert b"hunter2secret" not in path.read_bytes(), path
            assert b"letmein42" not in path.read_bytes(), path
    assert "hunter2secret" not in quick.out + quick.err
    assert "letmein42" not in quick.out + quick.err


def test_a_secret_from_the_environment_stays_a_name(tmp_path: Path) -> None:
    done = ran(tmp_path / "out", *QUICK, "endpoint.api_key=${oc.env:MY_KEY}", MY_KEY="hunter2secret")
    assert done.code == 0, done.err
    assert "${oc.env:MY_KEY}" in (done.folder / "experiment.yaml").read_text()
    assert all(b"hunter2secret" not in path.read_bytes() for path in done.outputs.rglob("*") if path.is_file())


def test_failed_streams_are_counted_by_number_and_are_in_no_latency(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    done = ran(
        tmp_path / "out", *QUICK, "timing.stop.requests=400", "timing.concurrency=16", f"endpoint.simulator.log={log}",
        "endpoint.simulator.faults={error_event: 0.05, truncated: 0.05, http_500: 0.05, reset: 0.05}",
    )  # fmt: skip
    said = {row["request"]: row["fault"] for row in map(json.loads, log.read_text().splitlines()) if row["request"] is not None}
    names = {"error_event": "error_event", "truncated": "truncated", "http_500": "http_5xx", "reset": "reset", None: None}
    records = done.records
    assert {r: names[f] for r, f in said.items()} == dict(zip(records["request"].to_pylist(), records["error"].to_pylist()))
    failed = sum(fault is not None for fault in said.values())
    assert failed > 20
    assert done.summary["metrics"]["time_to_first_token"]["n"] == 400 - failed
    assert done.summary["counts"]["failed"] == failed
    assert (done.code, done.reasons) == (3, ["errors"])
    assert set(done.summary["samples"]) == {"error_event", "truncated", "http_5xx", "reset"}


def test_waiting_for_a_slot_is_not_left_out(tmp_path: Path) -> None:
    words = (
        "endpoint=simulator", "endpoint.simulator.ttft_ms=250", "endpoint.simulator.itl_ms=0", "dataset.output_tokens=4",
        "timing=request_rate", "timing.rate=20", "timing.arrival=constant", "timing.concurrency=1", "timing.stop.requests=8",
    )  # fmt: skip
    goes = iter(range(6))

    def averages(done: Finished) -> list[float]:
        return [done.summary["metrics"][name]["stats"]["avg"] for name in ("request_latency", "planned_request_latency")]

    wanted = [pytest.approx(250, rel=0.05), pytest.approx(950, rel=0.05)]
    done = unmarred(lambda: ran(tmp_path / f"{next(goes)}", *words), lambda done: averages(done) == wanted, 6)
    assert averages(done) == wanted
    assert done.code == 3
    assert "plan_not_met" in done.reasons


def test_a_trace_is_played_at_its_times_with_its_lengths(tmp_path: Path) -> None:
    dependent = OPEN_NOISE.replace("]", ", too_few_samples]")  # so that a p95 would need more of them
    done = ran(
        tmp_path / "out", "experiment=mooncake_replay", "timing.speedup=30", "endpoint.simulator.ttft_ms=5",
        "endpoint.simulator.itl_ms=0.2", "timing.warmup.duration_s=null", "goodput.min_fraction=null", dependent,
    )  # fmt: skip
    assert done.code == 0, done.out + done.err
    rows = [
        json.loads(line) for line in (Path(__file__).parents[2] / "src/aiperf/dataset/samples/mooncake_200.jsonl").read_text().splitlines()
    ]
    records = done.records
    assert records["input_tokens"].to_pylist() == [row["input_length"] for row in rows]
    assert records["output_tokens"].to_pylist() == [row["output_length"] for row in rows]
    due = records["due_ns"].to_numpy()
    expected = np.array([row["timestamp"] for row in rows]) * 1e6 / 30
    assert np.abs((due - due[0]) - expected).max() < 1e6


@pytest.mark.parametrize("arguments", [["cluster=inline"], ["endpoint.streaming=false"], ["cluster.processors=3", "output.level=raw"]])
def test_other_ways_to_the_same_records(tmp_path: Path, arguments: list[str]) -> None:
    done = ran(tmp_path / "out", *QUICK, *arguments)
    assert done.code == 0, done.out + done.err
    assert done.records["request"].to_pylist() == list(range(100))
    assert set(done.records["output_tokens"].to_pylist()) == {8}
    assert (done.folder / "trials/0001/spool").exists() == ("output.level=raw" in arguments)


def test_the_same_seed_is_the_same_plan(tmp_path: Path) -> None:
    common = (
        "endpoint=simulator",
        "timing=request_rate",
        "timing.rate=200",
        "timing.stop.duration_s=0.5",
        "dataset.input_tokens={mean: 50, stddev: 20}",
    )
    plans = [ran(tmp_path / f"out{i}", *common, f"seed={seed}", "--dry-run").plan for i, seed in enumerate((7, 7, 8))]
    assert plans[0].equals(plans[1])
    assert not plans[0].equals(plans[2])


def test_a_dry_run_sends_nothing_and_shows_what_it_would(tmp_path: Path) -> None:
    done = ran(tmp_path / "out", "endpoint=vllm", "endpoint.url=http://127.0.0.1:9", "timing.concurrency=2", "--dry-run")
    assert done.code == 0, done.err
    assert "nothing was sent" in done.out
    bodies = [json.loads(line) for line in (done.folder / "requests.jsonl").read_text().splitlines()]
    assert len(bodies) == 5
    assert all(len(body["messages"][0]["content"].split()) == 100 for body in bodies)
    assert len({body["messages"][0]["content"] for body in bodies}) == 5
    assert not {"temperature", "top_p", "seed"} & set(bodies[0])


def test_a_gate_that_is_not_met(tmp_path: Path) -> None:
    done = ran(tmp_path / "out", *QUICK, "goodput.slos.time_to_first_token=1ms", "goodput.min_fraction=0.9")
    assert done.code == 4
    assert done.summary["metrics"]["good_request_fraction"]["stats"]["avg"] == 0
