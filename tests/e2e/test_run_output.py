"""Standard output as callers leave it: closed, full, or a pipe that nobody reads; and a memory that is too small."""

import os
import subprocess
from pathlib import Path

import pytest
from running import COMMAND, NOISE, QUICK, STARTED, Finished, ended

SHORT = (*QUICK, "timing.stop.requests=5", NOISE)


def with_output(outputs: Path, *arguments: str, after: str) -> Finished:
    """The command line as a shell runs it, with what the shell does to its standard output."""
    line = f'"$@" {after}'
    process = subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", line, "bash", *COMMAND, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=outputs.parent, env={**os.environ, "PYTHONUNBUFFERED": ""},
    )  # fmt: skip
    STARTED.append(process)
    return ended(process, outputs)


@pytest.mark.parametrize("shell", [">&-", ">&- 2>&- <&-", ">/dev/full"])
def test_a_run_goes_on_without_standard_output(tmp_path: Path, shell: str) -> None:
    done = with_output(tmp_path / "out", f"output.dir={tmp_path / 'out'}", *SHORT, after=shell)
    assert done.code == 0, done.err
    assert done.err.count("standard output: cannot be written (No space left on device)") == (1 if "full" in shell else 0)
    assert "Traceback" not in done.err
    assert done.summary["counts"]["good"] == 5


def test_a_run_ends_with_who_reads_it(tmp_path: Path) -> None:
    long = (*QUICK, "timing.stop.requests=null", "timing.stop.duration_s=600")  # it has a line to say every five seconds
    done = with_output(tmp_path / "out", f"output.dir={tmp_path / 'out'}", *long, after="| head -1")
    assert (done.code, done.err) == (1, "")
    assert done.receipt["error"] == "who read standard output closed it"


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("query",), ("validate", "experiment=quickstart"), ("--cfg", "job")])
def test_an_answer_that_cannot_be_written_is_no_success(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = with_output(tmp_path / "out", *arguments, *(SHORT if arguments == ("--cfg", "job") else ()), after=">/dev/full")
    assert done.code == 1
    assert "aiperf: standard output: cannot be written (No space left on device)\n" in done.err
    assert "Traceback" not in done.err


def test_a_trace_that_does_not_fit_the_memory_is_named(tmp_path: Path) -> None:
    (tmp_path / "long.jsonl").write_bytes(b'{"timestamp":0,"input_length":9,"output_length":1,"hash_ids":[1]}\n' * 1_000_000)
    words = (f"output.dir={tmp_path / 'out'}", "endpoint=simulator", "dataset=mooncake_trace", "dataset.path=long.jsonl")
    process = subprocess.Popen(
        ["prlimit", f"--data={160 << 20}", *COMMAND, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    STARTED.append(process)
    done = ended(process, tmp_path / "out")
    assert done.code == 1
    assert "the run needs more memory than there is (dataset.path=long.jsonl has 66 MB; fewer rows need less)" in done.err
    assert "Traceback" not in done.err
