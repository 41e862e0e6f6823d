"""The plumbing of benchmarks/: goes and when one is repeated, what a missed figure does, how a peer fails. Their figures are theirs."""

import os
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

harness = pytest.importorskip("harness", reason="benchmarks/ is not beside tests/")
peers, truth_log = import_module("peers"), import_module("truth_log")
SCRIPTS = sorted(path.stem for path in Path(harness.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_is_importable_and_says_what_it_shows(name):
    assert import_module(name).__doc__


def test_the_table_of_contents_is_whole(root):
    text = (root / "benchmarks" / "README.md").read_text()
    tools = {"harness", "floor", "bare_mixed", "replay_floor", "truth_log"}
    assert [name for name in SCRIPTS if name not in tools and f"python benchmarks/{name}.py" not in text] == []


def test_noise_is_repeated_in_a_folder_of_its_own(capsys):
    folders, quiet = [], iter([False, True, False, True])

    def go(folder):
        folders.append(folder)
        if not next(quiet):
            raise harness.NoiseError
        return {"figure": len(folders)}

    found = harness.alternate(go, goes=2)
    assert [one["figure"] for one in found] == [2, 4]
    assert len(set(folders)) == 4
    assert not any(folder.exists() for folder in folders)
    assert "go 1: noise of the machine, repeated" in capsys.readouterr().out


def test_nothing_but_noise_ends_it():
    def go(_):
        raise harness.NoiseError

    with pytest.raises(SystemExit, match="only 0 of 1 goes"):
        harness.alternate(go, goes=1)


@pytest.mark.parametrize(("value", "code"), [(1.0, 0), (1.1, 1), (float("nan"), 1)])
def test_a_missed_figure_ends_with_1(value, code, capsys):
    table = harness.Table("title")
    table.at_most("what", value, 1)
    table.note("beside", 3)
    with pytest.raises(SystemExit) as ended:
        table.close()
    assert ended.value.code == code
    assert ("FAIL" if code else "PASS") in capsys.readouterr().out


def test_medians_and_extremes():
    goes = [{"x": 3.0}, {"x": 1.0}, {"x": 9.0}]
    assert (harness.median(goes, "x"), harness.worst(goes, "x"), harness.least(goes, "x")) == (3, 9, 1)


def python(text):
    return [sys.executable, "-c", text]


def test_a_peer_that_fails_is_known_by_its_last_line(tmp_path):
    with pytest.raises(peers.PeerError, match=r"^no such model$"):
        peers.run(python("import sys; print('hello'); sys.exit('no such model')"), tmp_path)
    with pytest.raises(peers.PeerError, match=r"^exit 3$"):
        peers.run(python("raise SystemExit(3)"), tmp_path)
    with pytest.raises(peers.PeerError, match="No such file"):
        peers.run([tmp_path / "nowhere"], tmp_path)


def alive(pid):
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(("ends", "said"), [("", None), ("time.sleep(90)", "not over after")])
def test_what_a_peer_started_ends_with_it(tmp_path, ends, said):
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(90)'])"
    words = python(f"import subprocess, sys, time; print({child}.pid, flush=True); {ends}")
    if said is None:
        peers.run(words, tmp_path)
    else:
        for seconds in (1, 5, 25):  # until it had the time to begin
            with pytest.raises(peers.PeerError, match=f"{said} {seconds} s"):
                peers.run(words, tmp_path, seconds)
            if (tmp_path / "said").read_text():
                break
    pid = int((tmp_path / "said").read_text())
    until = time.monotonic() + 30
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(pid)


def rows(count, *, stream=1, tokens=32):
    made = np.zeros(count, dtype=truth_log.ROW)
    made["arrived"] = 10**9 + np.arange(count) * 1_000_000
    made["last"], made["stream"], made["tokens"] = made["arrived"] + 1_000_000, stream, tokens
    return made


def test_a_peers_probe_is_not_its_load():
    load, probe = rows(peers.PEER_REQUESTS["streams"]), rows(1)
    probe["arrived"] = 0
    assert peers.rate(np.concatenate([load, probe]), "streams") == pytest.approx(1000)


@pytest.mark.parametrize("sent", [rows(0), rows(2400), rows(2500, stream=0), rows(2500, tokens=31)])
def test_a_peer_that_sends_something_else_has_no_rate(sent):
    with pytest.raises(peers.PeerError, match="of 2500 requests"):
        peers.rate(sent, "streams")


def test_peers_are_those_that_are_there(tmp_path, monkeypatch):
    (tmp_path / "guidellm").mkdir()
    monkeypatch.setenv("PEERS", str(tmp_path))
    assert peers.present().there == {"guidellm": tmp_path / "guidellm"}
    monkeypatch.delenv("PEERS")
    assert peers.present().there == {}


def test_a_peer_that_failed_is_not_asked_again_and_its_row_says_why():
    failed = {f"{kind}_aiperf": "no such model" for kind in peers.TOKENS}
    beside = peers.Peers({"aiperf": Path(os.devnull), "guidellm": Path(os.devnull)}, failed)
    goes = [{"plain": 40.0, "plain_floor": 100.0, "plain_guidellm": 5.0}, {"plain_floor": 80.0, "plain_guidellm": 4.0}]
    table = harness.Table("title")
    beside.note(table, goes, "plain")
    assert [row[1] for row in table.rows] == ["failed: no such model", "0.0500 (5/s; ours is 8.0 times that)"]
    del beside.there["guidellm"]
    assert beside.go(Path(os.devnull)) == {}
