"""Several generators on real sockets: one plan, one instant, one result."""

import os
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from running import NOISE, OPEN_NOISE, QUICK, Finished, ended, ran, started, unmarred
from test_run_ends import children, is_patient, wait_for_load

SERVED = (*QUICK[:4], "dataset.input_tokens={mean: 50, stddev: 20}", "dataset.salt=none")
OPEN = (*SERVED, "timing=request_rate", "timing.rate=100", "timing.stop.duration_s=1", "timing.warmup.duration_s=0.2")
CLOSED = (*SERVED, "timing=concurrency", "timing.concurrency=5", "timing.stop.requests=103", "timing.warmup.requests=7")
ASKED = ("request", "phase", "session", "asked_input_tokens", "asked_output_tokens", "url")


def asked(done: Finished) -> list[dict[str, object]]:
    """What was asked for, by number; the server's port is another one each time."""
    rows: list[dict[str, object]] = done.records.select(ASKED[:-1]).sort_by("request").to_pylist()
    return rows


def sent_by(records: pa.Table, generator: int) -> list[int]:
    numbers: list[int] = records.filter(pc.equal(records["generator"], generator))["request"].to_pylist()
    return sorted(numbers)


@pytest.mark.parametrize("arguments", [OPEN, CLOSED], ids=["open", "closed"])
def test_two_play_the_plan_that_one_would_have_played(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    one, two = (ran(tmp_path / f"out{n}", *arguments, f"cluster.generators={n}", OPEN_NOISE) for n in (1, 2))
    for done in (one, two):
        assert done.code == 0, done.out + done.err
    assert two.plan.equals(one.plan)
    assert asked(two) == asked(one)
    shares = [sent_by(two.records, generator) for generator in (0, 1)]
    assert sorted(shares[0] + shares[1]) == two.plan["request"].to_pylist()
    assert sent_by(one.records, 0) == one.plan["request"].to_pylist()
    assert {said["generator"] for said in two.receipt["generators"]} == {0, 1}
    if arguments is OPEN:
        assert shares[0] == [number for number in one.plan["request"].to_pylist() if number % 2 == 0]
        gaps = pc.subtract(two.records.sort_by("request")["due_ns"], two.plan["due_ns"]).to_numpy()
        assert gaps.max() - gaps.min() < 5_000_000, "one instant for both; the offset of the clocks is taken by each for itself"
    else:
        assert [len(share) for share in shares] == [3 * 20 + 2 + 3 + 1, 2 * 20 + 1 + 2 + 1]


def test_what_one_that_dies_had_left_is_unsent_and_the_other_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = started(out, *OPEN, "timing.stop.duration_s=8", "timing.warmup.duration_s=null", "cluster.generators=2", NOISE)
    wait_for_load(out, name="generator-1")
    (generator,) = children(process.pid, "generator-1")
    os.kill(generator, signal.SIGKILL)
    done = ended(process, out)
    assert done.code == 3, done.out + done.err
    assert "generator-1 was killed by signal 9" in done.out
    assert {"generator_died", "unsent"} <= set(done.reasons)
    records = done.records.sort_by("request")
    assert records["request"].to_pylist() == done.plan["request"].to_pylist()
    even, odd = (records.filter(pc.equal(pc.bit_wise_and(records["request"], 1), rest)) for rest in (0, 1))
    assert even["error"].null_count == even.num_rows
    assert {None, "unsent"} <= set(odd["error"].to_pylist()) <= {None, "unsent", "abandoned"}
    lost = odd.filter(pc.is_valid(odd["error"]))  # one that was in flight for long has left a part
    assert set(lost["reason"].to_pylist()) == {"the generator died"}
    assert lost.num_rows > 50
    assert lost["due_ns"].null_count == 0


@pytest.mark.parametrize("arguments", [(*OPEN, "timing.rate=1000"), CLOSED], ids=["open", "closed"])
def test_ctrl_c_ends_both_and_the_plan_where_it_stands(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    outs = iter(range(4))

    def go() -> Finished:
        out = tmp_path / str(next(outs))
        stop = ("timing.stop.requests=null", "timing.stop.duration_s=300", "timing.concurrency=4")
        process = started(out, *arguments, *stop, "cluster.generators=2", NOISE)
        for name in ("generator-0", "generator-1"):
            wait_for_load(out, name=name)
        process.send_signal(signal.SIGINT)
        return ended(process, out)  # long before its plan is

    done = unmarred(go, is_patient)
    assert done.code == 130, done.out + done.err
    records = done.records
    assert set(records["generator"].to_pylist()) == {0, 1}
    assert set(records["error"].to_pylist()) <= {None, "abandoned", "unsent"}
    assert done.summary["facts"]["stopped_by_user"]
    assert "unsent" not in done.reasons
    if arguments is CLOSED:
        assert done.plan["request"].to_pylist() == sorted(records["request"].to_pylist())
    else:
        assert 0 < records.num_rows < 150_000 < done.plan.num_rows
