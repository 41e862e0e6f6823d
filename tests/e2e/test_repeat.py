"""From the disk: stages again, a folder verified, a run again, and what a killed one leaves."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from running import COMMAND, NOISE, QUICK, STARTED, Finished, ended, ran, soon, started, unmarred
from test_run_ends import alive, children, wait_for_load

from aiperf import __version__
from aiperf.app.repeat import again
from aiperf.spool import SpoolReader
from aiperf.store.campaign import Campaign

LONG = (*QUICK, "timing.stop.requests=null", "timing.stop.duration_s=600", "output.level=raw", NOISE)
DERIVED = ("trials/0001/records/0000.parquet", "trials/0001/records.jsonl", "trials/0001/summary.json", "trials/0001/summary.csv")
NO_PLAN = "is not there, and nothing else says what was planned: put it back from a copy of the folder"


def asked(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=90, check=False)


def tables(folder: Path) -> str:
    names = ("sweeps", "trials", "params", "metrics", "reasons", "slos", "points")
    said = [asked("query", f"FROM {name} SELECT * EXCLUDE (campaign) ORDER BY ALL", "--in", folder, "--format", "csv") for name in names]
    assert all(one.returncode == 0 for one in said), said
    return "".join(one.stdout for one in said)


def states(folder: Path) -> str:
    return asked("query", "SELECT state, error FROM trials", "--in", folder, "--format", "csv").stdout


def sums(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in DERIVED}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose bytes were kept, with failures of all kinds in it."""
    faults = ("endpoint.simulator.faults.truncated=0.1", "endpoint.simulator.faults.http_500=0.1", "verdict.max_error_rate=0.5")
    open_loop = ("timing=request_rate", "timing.rate=100", "timing.stop.duration_s=1", "timing.warmup.requests=10")
    words = (*QUICK[:4], *open_loop, *faults, "output.level=raw", "output.formats=[csv,jsonl]")

    def has_several_frames(done: Finished) -> bool:
        return len(list(SpoolReader(done.folder / "trials/0001/spool/generator-0.spool").frames())) > 1

    return unmarred(lambda: ran(tmp_path_factory.mktemp("raw") / "outputs", *words), has_several_frames)


@pytest.fixture
def kept(raw: Finished, tmp_path: Path) -> Path:
    return Path(shutil.copytree(raw.folder, tmp_path / "outputs" / "moved"))


@pytest.mark.parametrize("since", ["process", "judge", "report"])
def test_what_is_derived_again_is_the_same_to_the_byte(raw: Finished, kept: Path, since: str) -> None:
    before = sums(kept)
    again = asked("report", kept, "--from", since)
    assert again.returncode == raw.code, again.stderr
    assert sums(kept) == before
    assert tables(kept).replace("moved", raw.folder.name) == tables(raw.folder)
    assert raw.out.endswith(again.stdout.partition("results:")[0].partition("\n\n")[2] + f"results: {raw.folder}\n")
    assert asked("verify", kept).returncode == 0
    assert not list(kept.rglob("*.part"))


def test_a_sum_is_what_sha256sum_makes_of_it(raw: Finished) -> None:
    checked = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=raw.folder, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_judged_anew_by_other_limits_it_is_another_verdict(kept: Path) -> None:
    load = kept / "trials/0001/load.json"
    said = json.loads(load.read_text())
    said["experiment"]["verdict"]["max_error_rate"] = 0.0
    load.write_text(json.dumps(said))
    again = asked("report", kept, "--from", "judge")
    assert again.returncode == 3
    assert "errors" in again.stdout
    checked = asked("validate", kept)
    assert checked.returncode == 3
    assert "sums     wrong  trials/0001/load.json was changed" in checked.stdout


def damaged_plan(folder: Path) -> None:
    (folder / "trials/0001/plan.parquet").write_bytes(b"PAR1")


def lost_plan(folder: Path) -> None:
    (folder / "trials/0001/plan.parquet").unlink()


def lost_records(folder: Path) -> None:
    (folder / "trials/0001/records/0000.parquet").unlink()


def other_summary(folder: Path) -> None:
    path = folder / "trials/0001/summary.json"
    said = json.loads(path.read_text())
    said["metrics"]["request_throughput"]["stats"]["avg"] *= 2
    path.write_text(json.dumps(said))


def flipped_byte(folder: Path) -> None:
    path = folder / "trials/0001/spool/generator-0.spool"
    data = bytearray(path.read_bytes())
    data[12] ^= 1  # within the first frame: in the length of one it would be a torn end
    path.write_bytes(data)


def lost_bytes(folder: Path) -> None:
    (folder / "trials/0001/spool/generator-0.spool").unlink()


def damaged_receipt(folder: Path) -> None:
    (folder / "receipt.json").write_text("")


def empty_sums(folder: Path) -> None:
    (folder / "SHA256SUMS").write_text("")


def lost_tables(folder: Path) -> None:
    (folder / "sweep.duckdb").unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (damaged_plan, ["plan.parquet was changed", "plan.parquet: the plan cannot be read"]),
        (lost_plan, ["plan.parquet is missing", f"plan.parquet {NO_PLAN}", "summary  wrong  cannot be looked at, for the reason above"]),
        (lost_records, ["records/0000.parquet is missing"]),
        (other_summary, ["summary.json was changed", "metrics comes out otherwise", "request_throughput.avg"]),
        (flipped_byte, ["generator-0.spool: the frame at byte"]),
        (lost_bytes, ["generator-0.spool: 0 of "]),
        (damaged_receipt, ["receipt.json was changed", "receipt.json: is no receipt that can be read"]),
        (empty_sums, ["SHA256SUMS: is no list of sums"]),
        (lost_tables, ["sweep.duckdb: cannot be read"]),
    ],
)
def test_what_is_not_as_it_was_is_named(kept: Path, harm, said: list[str]) -> None:
    harm(kept)
    checked = asked("verify", kept)
    assert checked.returncode == 3
    assert all(text in checked.stdout for text in said), checked.stdout


@pytest.mark.parametrize(
    ("name", "since", "said"),
    [
        ("receipt.json", "process", "is no receipt that can be read"),
        ("experiment.yaml", "judge", "cannot be read"),
        ("trials/0001/summary.json", "report", "no summary that can be read"),
        ("trials/0001/load.json", "report", "cannot be read"),
    ],
)
def test_what_is_damaged_is_said_and_nothing_is_made_of_it(kept: Path, name: str, since: str, said: str) -> None:
    (kept / name).write_bytes(b"\xff" if name == "experiment.yaml" else b"")
    before = sums(kept)
    refused = asked("report", kept, "--from", since)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"aiperf: {kept / name}: {said}")
    assert refused.stderr.count("\n") == 1
    assert sums(kept) == before


@pytest.mark.parametrize("words", [("report", "--from", "process"), ("report", "--from", "judge"), ("--rerun",)])
def test_without_the_plan_that_is_said_and_what_was_found_is_still_shown(kept: Path, words: tuple[str, ...]) -> None:
    lost_plan(kept)
    before = sums(kept)
    refused = asked(*words, kept) if words[0] == "--rerun" else asked(words[0], kept, *words[1:])
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith(f"aiperf: {kept}/trials/0001/plan.parquet {NO_PLAN}")
    assert sums(kept) == before
    assert asked("report", kept, "--from", "report").returncode in (0, 3)
    assert "plan.parquet is missing" in asked("verify", kept).stdout


@pytest.mark.parametrize(
    ("version", "said"), [(__version__, "\n"), ("0.9.0", f"; this is {__version__}, by which values that are computed again may differ\n")]
)
def test_verify_says_first_which_version_measured(kept: Path, version: str, said: str) -> None:
    receipt = kept / "receipt.json"
    receipt.write_text(json.dumps({**json.loads(receipt.read_text()), "aiperf_version": version}))
    assert asked("verify", kept).stdout.startswith(f"{kept}\n  version  ok     measured by aiperf {version}{said}")


@pytest.mark.parametrize(("stopped", "code", "state"), [(True, 130, "stopped"), (False, 3, "failed")])
def test_a_run_that_was_given_up_is_told_as_such_when_its_bytes_are_read(kept: Path, stopped: bool, code: int, state: str) -> None:
    receipt = kept / "receipt.json"
    said = json.loads(receipt.read_text())
    gone = ("generators", "processors", "dead", "pulses", "restarted", "verdict", "stamps")
    kept_of = {key: value for key, value in said.items() if key not in gone}
    receipt.write_text(json.dumps({**kept_of, "stopped": stopped, "error": "why it ended"}))
    assert asked("report", kept, "--from", "process").returncode == code
    assert states(kept) == f"state,error\n{state},why it ended\n"


@pytest.mark.parametrize("name", ["receipt.json", "trials/0001/load.json", "trials/0001/summary.json"])
def test_a_newer_schema_is_not_verified(kept: Path, name: str) -> None:
    path = kept / name
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": "9.0"}))
    refused = asked("verify", kept)
    assert refused.returncode == 2
    assert "schema_version is 9.0" in refused.stderr


def test_of_half_the_bytes_every_stage_says_the_same_until_they_are_mended(raw: Finished, kept: Path) -> None:
    spool, before = kept / "trials/0001/spool/generator-0.spool", sums(kept)
    whole, reader = spool.read_bytes(), SpoolReader(spool)
    next(reader.frames())
    spool.write_bytes(whole[: reader.offset])
    for since in ("process", "judge", "process"):
        again = asked("report", kept, "--from", since)
        assert "lost_frames" in again.stdout
        assert f"generator-0.spool: {reader.offset:,} of {len(whole):,} bytes are there" in again.stdout
    checked = asked("verify", kept)
    assert [line.split()[0] for line in checked.stdout.splitlines() if " wrong " in line] == ["frames"]
    spool.write_bytes(whole)
    assert asked("report", kept, "--from", "process").returncode == raw.code
    assert sums(kept) == before
    assert not (kept / "trials/0001/processed.json").exists()
    assert asked("verify", kept).returncode == 0


class Interrupted(Campaign):
    """One of a user who presses Ctrl-C while old records give way to new ones."""

    def drop_records(self) -> None:
        super().drop_records()
        os.kill(os.getpid(), signal.SIGINT)


def test_a_ctrl_c_never_leaves_neither_the_old_records_nor_the_new(kept: Path) -> None:
    before = sums(kept)
    again(Interrupted(kept), "process", lambda _: None)
    assert sums(kept) == before


class Late(Campaign):
    """One of a user who presses Ctrl-C when all but the sums is written."""

    def write_sums(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_ctrl_c_among_the_last_files_says_that_each_is_whole(kept: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match=f"{kept}: stopped in the stage report; each file there is whole.*--from report$"):
        again(Late(kept), "judge", lambda _: None)


def test_a_ctrl_c_says_what_there_is_and_how_to_go_on_and_processors_are_as_urgent_as_any(kept: Path) -> None:
    before, priorities = sums(kept), set[int]()
    said = f"aiperf: {kept}: stopped in the stage process; what was there is as it was; to go on: aiperf report {kept} --from process\n"

    def go() -> tuple[int, str]:
        report = subprocess.Popen([*COMMAND, "report", str(kept), "--from", "process"], stderr=subprocess.PIPE, text=True)
        STARTED.append(report)
        workers: list[int] = []
        while report.poll() is None and not workers:
            time.sleep(0.01)
            workers = children(report.pid, "processor")
        with contextlib.suppress(ProcessLookupError):
            priorities.update(os.getpriority(os.PRIO_PROCESS, worker) for worker in workers)
        report.send_signal(signal.SIGINT)
        _, err = report.communicate(timeout=60)
        return report.returncode, err

    assert unmarred(go, lambda found: found == (130, said), 8) == (130, said)  # in time, before that stage is over
    assert priorities == {os.getpriority(os.PRIO_PROCESS, 0)}
    assert sums(kept) == before
    assert not list(kept.rglob("*.part"))


def test_what_a_killed_report_left_is_removed_by_the_next(kept: Path) -> None:
    shutil.copytree(kept / "trials/0001/records", kept / "trials/0001/records.part")
    asked("report", kept, "--from", "judge")
    assert not list(kept.rglob("*.part"))
    assert "records.part" not in (kept / "SHA256SUMS").read_text()


def test_without_the_bytes_that_is_said_and_judging_still_works(tmp_path: Path) -> None:
    done = ran(tmp_path / "outputs", *QUICK)
    refused = asked("report", done.folder, "--from", "process")
    assert refused.returncode == 2
    assert "output.level=records; raw keeps them" in refused.stderr
    before = (done.folder / "trials/0001/summary.json").read_bytes()
    assert asked("report", done.folder, "--from", "judge").returncode == done.code
    assert (done.folder / "trials/0001/summary.json").read_bytes() == before


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    run = started(outputs, *LONG)
    wait_for_load(outputs)
    (folder,) = outputs.glob("*/*")
    refused, unverified = asked("report", folder, "--from", "process"), asked("verify", folder)
    run.send_signal(signal.SIGINT)
    assert ended(run, outputs).code == 130
    assert refused.returncode == 2
    assert "another process is at work here" in refused.stderr
    assert (unverified.returncode, "another process is at work here" in unverified.stderr) == (2, True)


def test_a_rerun_plays_the_same_plan(raw: Finished, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    done = ended(started(outputs, "--rerun", str(raw.folder)), outputs)
    assert done.plan.equals(raw.plan)
    assert done.receipt["argv"][0].startswith("--rerun")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("aiperf_version", "0.0.1", "aiperf_version was '0.0.1', is"),
        ("data_sha256", "ab", "data_sha256 was 'ab', is None"),
        ("schema_version", "2.0", "its schema_version is 2.0"),
    ],
)
def test_a_rerun_of_what_is_another_says_what_differs(kept: Path, tmp_path: Path, key: str, value: str, said: str) -> None:
    receipt = kept / "receipt.json"
    receipt.write_text(json.dumps({**json.loads(receipt.read_text()), key: value}))
    refused = asked("--rerun", kept, f"output.dir={tmp_path / 'new'}") if key == "schema_version" else asked("--rerun", kept)
    assert refused.returncode == 2
    assert said in refused.stderr


@pytest.mark.parametrize("words", [(), ("output.formats=[]",)])
def test_a_rerun_of_an_edited_experiment_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = ran(tmp_path / "outputs", *QUICK)
    path = done.folder / "experiment.yaml"
    path.write_text(path.read_text().replace("concurrency: 4", "concurrency: 3"))
    refused = asked("--rerun", done.folder, *words)
    assert refused.returncode == 2
    assert "experiment.yaml was changed" in refused.stderr


def test_a_secret_that_was_not_kept_is_asked_for(tmp_path: Path) -> None:
    done = ran(tmp_path / "outputs", *QUICK, "endpoint.api_key=hush")
    refused = asked("--rerun", done.folder)
    assert refused.returncode == 2
    assert "endpoint.api_key: is hidden (***); what was hidden has to be given again" in refused.stderr
    assert asked("report", done.folder, "--from", "judge").returncode == done.code
    again = ended(started(tmp_path / "again", "--rerun", str(done.folder), "endpoint.api_key=hush", NOISE), tmp_path / "again")
    assert again.code == 0


def test_of_a_killed_parent_the_bytes_make_an_invalid_result_and_nothing_runs_on(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    run = started(outputs, *LONG)
    wait_for_load(outputs, requests=60)
    workers = children(run.pid, "aiperf")
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert len(workers) >= 3
    soon(lambda: not any(map(alive, workers)))
    (folder,) = outputs.glob("*/*")
    assert not list(folder.rglob("*.part"))
    shown = asked("report", folder)
    assert shown.returncode == 2
    assert "--from process makes the results" in shown.stderr
    again = asked("report", folder, "--from", "process")
    assert again.returncode == 3
    done = Finished(3, again.stdout, again.stderr, outputs)
    assert "generator_died" in done.reasons
    assert states(folder).splitlines()[1].startswith("failed,was killed before its end")
    assert "was killed before its end" in again.stdout
    assert done.records.num_rows > 50
    assert asked("report", folder).returncode == 0
    assert asked("verify", folder).returncode == 0
    assert asked("report", folder, "--from", "judge").stdout == again.stdout
