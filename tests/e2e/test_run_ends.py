"""However it ends: servers that are not there, Ctrl-C, kills, and disks that refuse."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from running import COMMAND, NOISE, QUICK, Finished, ended, ran, soon, started, unmarred
from simulating import simulator

from aiperf.spool import SpoolReader

LONG = (*QUICK, "timing.stop.requests=null", "timing.stop.duration_s=600", NOISE)
"""It outlasts every wait here: what does not stop it is seen."""


def children(pid: int, marker: str) -> list[int]:
    """Processes below a process whose command line holds the marker."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            said = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        if parent == pid and marker in said:
            found.append(int(folder.name))
    return found


def wait_for_load(outputs: Path, *, requests: int = 1, name: str = "*") -> None:
    """Until so many requests of the generator's have come to an end."""
    soon(lambda: list(outputs.glob(f"*/*/trials/0001/spool/{name}.spool")))
    (path,) = outputs.glob(f"*/*/trials/0001/spool/{name}.spool")
    spool, ends = SpoolReader(path), 0

    def enough() -> bool:
        nonlocal ends
        ends += sum(exchange.last for frame in spool.frames() for exchange in frame.rows)
        return ends >= requests

    soon(enough)


def is_patient(done: Finished) -> bool:
    """No worker was ended for its silence, as one is that the machine has kept from running for two seconds."""
    return "has said nothing for" not in done.out


def trials(done: Finished) -> str:
    command = [*COMMAND, "query", "SELECT state, error FROM trials", "--in", str(done.outputs), "--format", "csv"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ctrl_c_stops_the_load_and_the_report_follows(tmp_path: Path) -> None:
    process = started(tmp_path / "out", *LONG, "timing.stop.precision=0.01", "timing.stop.precision_of=[time_to_first_token.p99.9]")
    wait_for_load(tmp_path / "out")
    process.send_signal(signal.SIGINT)
    done = ended(process, tmp_path / "out")
    assert done.code == 130
    assert "stopping" in done.out
    assert "was not reached before the plan ended" not in done.out
    errors = done.records["error"].to_pylist()
    assert errors.count(None) > 0
    assert set(errors) <= {None, "abandoned"}
    assert done.summary["counts"]["good"] == errors.count(None)


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    outs = iter(range(4))

    def go() -> Finished:
        out = tmp_path / str(next(outs))
        process = started(out, *LONG)
        wait_for_load(out)
        (generator,) = children(process.pid, "generator-0")
        os.kill(generator, signal.SIGSTOP)  # so that the first one cannot be obeyed
        process.send_signal(signal.SIGINT)
        (log,) = out.glob("*/*/trials/0001/run.log")
        soon(lambda: "stopped by the user" in log.read_text())
        process.send_signal(signal.SIGINT)
        done = ended(process, out)
        assert done.code == 130
        assert not alive(generator)
        return done

    done = unmarred(go, is_patient)
    assert is_patient(done)  # the second one ended it, and not the silence after the first
    assert f"stopped before its results: what there is lies in {done.folder}" in done.out
    assert (done.receipt["error"], trials(done)) == ("stopped by the user", "state,error\nstopped,stopped by the user\n")


def test_ctrl_c_before_the_load(tmp_path: Path) -> None:
    process = started(tmp_path / "out", "endpoint=vllm", "endpoint.url=http://127.0.0.1:9", "endpoint.wait_s=60", "timing.concurrency=1")
    assert process.stdout
    while not process.stdout.readline().startswith("disk"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    done = ended(process, tmp_path / "out")
    assert done.code == 130
    assert "Traceback" not in done.err
    assert (done.receipt["error"], trials(done)) == ("stopped by the user", "state,error\nstopped,stopped by the user\n")


@pytest.mark.parametrize("hanging", ["simulator", "generator-0"])
def test_what_hangs_does_not_keep_the_report_from_who_pressed_ctrl_c(tmp_path: Path, hanging: str) -> None:
    process = started(tmp_path / "out", *LONG)
    wait_for_load(tmp_path / "out")
    (stopped,) = children(process.pid, hanging)
    os.kill(stopped, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    done = ended(process, tmp_path / "out")
    assert time.monotonic() - began < 30  # for as long is waited for whom nobody hurries
    assert done.code == 130
    assert ("generator-0 has said nothing for 2 s and is ended" in done.out) == (hanging == "generator-0")
    assert "stopped by the user" in "".join(done.summary["verdict"]["notes"])
    assert not alive(stopped)


def test_a_simulator_that_dies_is_named(tmp_path: Path) -> None:
    process = started(tmp_path / "out", *LONG, "timing.stop.max_errors=5", "verdict.max_error_rate=0", "timing.concurrency=1")
    wait_for_load(tmp_path / "out")
    (simulating,) = children(process.pid, "simulator")
    os.kill(simulating, signal.SIGKILL)
    done = ended(process, tmp_path / "out")
    assert done.code == 3
    assert "the simulator was killed by signal 9 during the run" in done.out
    assert done.summary["errors"]["connect"] > 0


def test_kill_9_of_the_parent_stops_the_load_within_two_seconds(tmp_path: Path) -> None:
    outs = iter(range(4))

    def last_after() -> float:
        """Seconds from the kill until the last request came."""
        out = tmp_path / str(next(outs))
        with simulator(tmp_path / f"{out.name}.jsonl", ttft_ms=5, itl_ms=1) as server:
            process = started(out, "endpoint=vllm", f"endpoint.url=http://127.0.0.1:{server.port}", *LONG[3:])
            wait_for_load(out, requests=20)
            workers = children(process.pid, "aiperf.cluster.child")
            assert len(workers) >= 2
            process.kill()
            killed = time.time_ns()
            process.communicate()
            soon(lambda: not any(map(alive, workers)))
        rows = server.rows()
        assert len(rows) > 20
        return (max(row["arrived_ns"] for row in rows) - killed) / 1e9

    assert unmarred(last_after, lambda seconds: seconds < 2) < 2


def test_a_generator_that_dies_is_named_and_what_was_measured_is_whole(tmp_path: Path) -> None:
    process = started(tmp_path / "out", *QUICK[:4], NOISE, "timing=request_rate", "timing.rate=200", "timing.stop.duration_s=60")
    wait_for_load(tmp_path / "out", requests=60)
    (generator,) = children(process.pid, "generator-0")
    os.kill(generator, signal.SIGKILL)
    done = ended(process, tmp_path / "out")
    assert done.code == 3, done.out + done.err
    assert "generator_died" in done.reasons
    assert "generator-0 was killed by signal 9" in done.out
    records = done.records
    assert records["request"].to_pylist() == list(range(done.plan.num_rows))
    errors = records["error"].to_pylist()
    assert errors.count(None) > 50
    assert errors.count("unsent") > 4000


@pytest.mark.parametrize("kills", [1, 2])
def test_a_processor_that_dies_begins_again_once_and_then_leaves_the_raw_bytes(tmp_path: Path, kills: int) -> None:
    outs = iter(range(4))

    def go() -> tuple[int, Finished]:
        """How many could be killed before the run was over, and how it ended."""
        out, killed = tmp_path / str(next(outs)), set[int]()
        process = started(out, *LONG, "timing.stop.duration_s=4", "cluster.processors=1")
        wait_for_load(out)
        while len(killed) < kills and process.poll() is None:
            for processor in set(children(process.pid, "processor-0")) - killed:
                os.kill(processor, signal.SIGKILL)
                killed.add(processor)
            time.sleep(0.05)
        return len(killed), ended(process, out)

    killed, done = unmarred(go, lambda gone: gone[0] == kills)
    assert killed == kills
    assert "processor-0 was killed by signal 9; it begins again from the spool" in done.out
    if kills == 1:
        assert done.code == 0, done.out + done.err
        assert done.summary["counts"]["good"] == done.records.num_rows
        return
    assert done.code == 1
    assert "processor-0 was killed by signal 9" in done.err
    assert "Traceback" not in done.err
    (spool,) = done.folder.glob("trials/0001/spool/*.spool")
    assert spool.stat().st_size > 0


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    began = time.monotonic()
    done = ran(tmp_path / "out", "endpoint=vllm", "endpoint.url=http://127.0.0.1:9", "timing.concurrency=1")
    assert time.monotonic() - began < 60
    assert done.code == 1
    assert "GET http://127.0.0.1:9/v1/models: Connection refused" in done.err
    assert "Traceback" not in done.err


def test_a_server_that_is_still_loading_is_waited_for(tmp_path: Path) -> None:
    with simulator(tmp_path / "never.jsonl", load_s=3600) as server:
        done = ran(tmp_path / "now", "endpoint=vllm", f"endpoint.url=http://127.0.0.1:{server.port}", *QUICK[3:])
        assert done.code == 1
        assert "503" in done.err
    with simulator(tmp_path / "log.jsonl", ttft_ms=5, itl_ms=1, load_s=4) as server:
        where = ("endpoint=vllm", f"endpoint.url=http://127.0.0.1:{server.port}", "endpoint.model=simulator")
        done = ran(tmp_path / "then", *where, *QUICK[3:], "endpoint.wait_s=60")
        assert done.code == 0, done.out + done.err


def test_all_requests_fail(tmp_path: Path) -> None:
    done = ran(tmp_path / "out", *QUICK, "endpoint.simulator.faults.http_500=1")
    assert done.code == 1
    assert "no_results" in done.reasons
    assert done.summary["counts"]["failed"] == 100


def test_one_request_is_enough_to_say_something(tmp_path: Path) -> None:
    done = ran(tmp_path / "out", *QUICK, "timing.stop.requests=1", "timing.concurrency=1")
    assert done.summary["counts"]["good"] == 1
    assert done.summary["metrics"]["time_to_first_token"]["n"] == 1
    assert "Traceback" not in done.err


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="needs a folder that even root cannot write")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with simulator(log, ttft_ms=5) as server:
        done = ran(Path("/proc/self/nowhere"), "endpoint=vllm", f"endpoint.url=http://127.0.0.1:{server.port}", *QUICK[3:])
        assert server.rows_so_far() == []
    assert done.code == 2
    assert "output.dir" in done.err
    assert "Traceback" not in done.err


def test_nothing_listens_beyond_loopback(tmp_path: Path) -> None:
    process = started(tmp_path / "out", *LONG)
    wait_for_load(tmp_path / "out")
    listening = [line for table in ("tcp", "tcp6") for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]]
    sockets = {link for pid in [process.pid, *children(process.pid, "aiperf")] for link in _sockets(pid)}
    open_doors = [line.split() for line in listening if line.split()[3] == "0A" and line.split()[9] in sockets]
    assert open_doors
    assert all(door[1].startswith("0100007F:") for door in open_doors)
    process.send_signal(signal.SIGINT)
    ended(process, tmp_path / "out")


def _sockets(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def test_json_of_the_summary_is_strict(tmp_path: Path) -> None:
    done = ran(tmp_path / "out", *QUICK, "timing.stop.requests=3", "timing.concurrency=1", "dataset.output_tokens=1")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for path in done.outputs.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)
