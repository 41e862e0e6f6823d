import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import aiperf
from aiperf.cli import main as cli
from aiperf.cli.main import main
from aiperf.cli.options import VERBS
from aiperf.config import roots

HEAVY = {"ray", "optuna", "duckdb", "altair", "scipy", "transformers", "aiohttp", "numpy", "pyarrow", "pandas"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_help_is_one_screen(argv, capsys):
    assert main(argv) == 0
    page = capsys.readouterr().out
    assert len(page.splitlines()) <= 40
    assert max(len(line) for line in page.splitlines()) <= 120
    for word in (*VERBS, *roots.groups(), "mooncake_replay", "--dry-run", "request_rate", "vllm"):
        assert word in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["timing"], ["timing=request_rate", "timing.rate=unset", "Mean arrivals a second", "timing.stop.duration_s=unset s"]),
        (["timing.stop"], ["timing.stop.grace_s=30 s"]),
        (["verdict"], ["verdict.max_error_rate=0.01"]),
        (["seed"], ["seed=0"]),
        (["run"], ["--dry-run"]),
        (["validate"], ["nothing is sent"]),
        (["simulate"], ["ttft_ms=20 ms", "faults.truncated=0"]),
        (["experiment"], ["experiment=quickstart", "?"]),
        (["endpoint.url", "seed"], ["endpoint.url=[]", "seed=0"]),
    ],
)
def test_help_on_something(words, said, capsys):
    assert main(["--help", *words]) == 0
    page = capsys.readouterr().out
    assert [word for word in said if word not in page] == []


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"aiperf {aiperf.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["valdate"], ["'valdate' is no verb", "did you mean validate?", "run, validate, simulate"]),
        (["quickstart"], ["'quickstart' is no verb, did you mean experiment=quickstart?"]),
        (["--hepl"], ["no flag --hepl", "did you mean --help?"]),
        (["--cfg"], ["--cfg needs a value"]),
        (["--cfg", "yaml"], ["expected job or json"]),
        (["--config-dir="], ["--config-dir needs a value"]),
        (["--dry-run=yes"], ["takes no value"]),
        (["--rerun", "one", "--rerun=other"], ["--rerun is given twice (one, other), and takes one value"]),
        (["report", "x", "--from", "judge", "--from", "judge"], ["--from is given twice (judge, judge)"]),
        (["--cfg=job", "seed=1", "--cfg", "json"], ["--cfg is given twice"]),
        (["validate", "--dry-run"], ["--dry-run", "not for the verb validate"]),
        (["simulate", "--cfg", "job"], ["not for the verb simulate"]),
        (["--help", "timming"], ["did you mean timing?"]),
        (["--config-dir", "/nowhere", "seed=1"], ["/nowhere", "holds neither"]),
        (["validate", "seed"], ["argument 'seed': is no key=value"]),
        (["simulate", "ttft=3"], ["argument 'ttft=3'", "did you mean ttft_ms?"]),
        (["simulate", "ttft_ms=-1", "nois=2"], ["2 mistakes", "ttft_ms: expected a number", "did you mean noise?"]),
        (["timing.rat=3", "seed=x"], ["2 mistakes; nothing was sent", "did you mean timing.rate?", "seed: expected a whole number"]),
        (["run", "timing.rat=3"], ["did you mean timing.rate?"]),
    ],
)
def test_usage_that_is_wrong(argv, said, capsys):
    assert main(argv) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert [word for word in said if word not in told.err] == []
    assert "Traceback" not in told.err


def test_validate_says_what_it_did(capsys):
    assert main(["validate", "experiment=quickstart", "endpoint=vllm", "timing.stop.requests=5"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("valid: quickstart (")
    assert "endpoint=vllm" in told[0]
    assert any("replaces timing.stop.duration_s=10" in line for line in told)


def test_the_composed_experiment_as_yaml_and_json(capsys):
    assert main(["--cfg", "job", "experiment=poisson", "endpoint.api_key=hush"]) == 0
    text = capsys.readouterr().out
    assert main(["validate", "--cfg=json", "experiment=poisson", "endpoint.api_key=hush"]) == 0
    assert json.loads(capsys.readouterr().out) == yaml.safe_load(text)
    assert "hush" not in text


def test_a_config_dir(tmp_path, capsys):
    (tmp_path / "mine" / "experiments").mkdir(parents=True)
    (tmp_path / "mine" / "experiments" / "own.yaml").write_text("seed: 77\n")
    assert main(["--cfg=json", "--config-dir", str(tmp_path / "mine"), "experiment=own"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 77


def test_flags_that_may_be_given_again(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name / "experiments").mkdir(parents=True)
        (tmp_path / name / f"experiments/{name}.yaml").write_text("seed: 77\n")
    for name in ("one", "two"):
        assert main(["--cfg=json", "--config-dir", "one", "--config-dir=two", f"experiment={name}"]) == 0
        assert json.loads(capsys.readouterr().out)["seed"] == 77
    assert main(["plugins", "endpoint", "--json", "--json"]) == 0


def test_ctrl_c_is_130(monkeypatch):
    def stopped(words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_called", stopped)
    assert main(["validate"]) == 130


def modules(*argv: str) -> set[str]:
    code = f"import sys; from aiperf.cli.main import main; assert main({list(argv)!r}) == 0; print('|', *sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in told.stdout.rpartition("|")[2].split()}


@pytest.mark.parametrize(
    "argv", [["validate", "experiment=mooncake_replay", "timing.speedup=2"], ["--help", "timing"], ["--cfg=json", "seed=1"]]
)
def test_a_check_imports_nothing_heavy(argv):
    assert modules(*argv) & HEAVY == set()


@pytest.mark.parametrize("argv", [["--help"], ["--version"]])
def test_help_and_version_import_next_to_nothing(argv):
    assert modules(*argv) & (HEAVY | {"hydra", "pydantic", "yaml", "msgspec"}) == set()


def test_a_pipe_that_is_gone_makes_no_noise():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "aiperf", "--help"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_bug_keeps_its_traceback(monkeypatch):
    def bug(words: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_called", bug)
    with pytest.raises(ZeroDivisionError):
        main(["validate"])


def test_a_run_off_linux_says_what_it_needs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["experiment=quickstart"]) == 2
    assert "WSL" in capsys.readouterr().err


def half_made(first: type[BaseException]) -> None:
    try:
        raise first
    finally:
        raise AttributeError("half made")


@pytest.mark.parametrize(("first", "stopped"), [(KeyboardInterrupt, True), (ValueError, False)])
def test_what_a_library_says_while_ctrl_c_ends_it_is_no_bug(first, stopped):
    with pytest.raises(AttributeError) as caught:
        half_made(first)
    assert cli.is_of_interrupt(caught.value) == stopped
