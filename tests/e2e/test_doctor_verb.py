"""The doctor as a person uses it: what it says, and that nothing stays behind, however it ends."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
from pathlib import Path

import pytest
from running import COMMAND, STARTED, soon

from aiperf.app.ceilings import ceilings, meaning


def doctor(folder: Path, *flags: str, files: int | None = None) -> subprocess.CompletedProcess[str]:
    limit = None if files is None else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    return subprocess.run(
        [*COMMAND, "doctor", *flags], cwd=folder, capture_output=True, text=True, timeout=90, check=False, preexec_fn=limit
    )


def at_work(folder: Path) -> list[int]:
    """Processes in a folder; one that has ended is in none."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += [int(process.name)] if (process / "cwd").readlink() == folder else []
    return found


def test_what_limits_this_machine(tmp_path):
    done = doctor(tmp_path)
    assert done.returncode in (0, 1), done.stderr
    for line in (r"^(good|watch|bad) +open files +[\d,]+ \(hard limit", r"^good +kernel stamps +exact on loopback, [\d.]+ ms after"):
        assert re.search(line, done.stdout, re.MULTILINE), done.stdout
    assert (done.stdout.splitlines()[-1] == "nothing here keeps a run from being believed") == (done.returncode == 0)
    assert list(tmp_path.iterdir()) == []


def test_the_same_for_programs(tmp_path):
    (tmp_path / "disk").mkdir()
    done = doctor(tmp_path, "--json", "--in", "disk")
    view = json.loads(done.stdout)
    assert (done.returncode == 1) == any(check["level"] == "bad" for check in view["checks"])
    disk = next(check for check in view["checks"] if check["name"] == "disk")
    assert disk["values"]["in"] == str(tmp_path / "disk")
    assert "measures" not in view


def test_few_open_files_are_bad_and_too_few_to_measure_with(tmp_path):
    done = doctor(tmp_path, files=64)
    assert done.returncode == 1
    assert re.search(r"^bad +open files +64 ", done.stdout)
    assert "ulimit -Hn" in done.stdout
    assert re.search(r"^no run here can be believed: .*open files", done.stdout.splitlines()[-1])
    done = doctor(tmp_path, "--measure", files=64)
    assert (done.returncode, done.stderr) == (1, "aiperf: 64 in flight need about 128 open files, the limit is 64: raise it (ulimit -Hn)\n")


def test_what_it_carries(tmp_path):
    measures = list(ceilings(tmp_path, 0.25))
    plain, streams, paced, lateness = measures
    assert plain["name"] == "plain requests, 64 in flight"
    assert plain["exact_share"] == 1
    assert plain["tokens_per_s"] == plain["requests_per_s"] > 10
    assert streams["tokens_per_s"] == pytest.approx(32 * streams["requests_per_s"])
    assert streams["exact_share"] == pytest.approx(1 / 32)
    assert 0 < paced["exact_share"] <= 1
    assert 0 < paced["tokens_per_s"] <= 1_000 * int(re.search(r"(\d+) in flight", paced["name"])[1])
    assert 0 <= lateness["late_p50_us"] <= lateness["late_p99_us"]
    for measure in measures:
        assert set(measure["busy"]) == {"generator", "sink", "machine"}
        assert all(0 < share < 1.2 for share in measure["busy"].values()), measure
        assert set(measure["saturated"]) <= set(measure["busy"])
    assert meaning(*measures).startswith("one generator carries ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_nothing_stays_however_it_ends(tmp_path, number, code):
    process = subprocess.Popen([*COMMAND, "doctor", "--measure"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    STARTED.append(process)
    soon(lambda: list(tmp_path.glob(".aiperf-*/spool")) and len(at_work(tmp_path)) == 3)  # it measures, with two workers
    os.kill(process.pid, number)
    assert process.wait(timeout=60) == code
    soon(lambda: not at_work(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in process.communicate()[1]


def test_a_folder_that_takes_nothing(tmp_path):
    if os.geteuid() == 0:
        (tmp_path / "sys").symlink_to("/proc")  # root writes where it likes, but not there
    else:
        (tmp_path / "sys").mkdir(mode=0o500)
    done = doctor(tmp_path, "--measure", "--in", "sys")
    assert done.returncode == 1
    assert re.search(r"^bad +disk ", done.stdout, re.MULTILINE)
    assert re.search(r"^aiperf: sink .*sys/\.aiperf-", done.stderr)
