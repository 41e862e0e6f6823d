"""`aiperf report`: the same text as at the end of the run, from what lies in the folder."""

import json
import re
from pathlib import Path

import pytest

from aiperf.cli.main import main
from aiperf.report.table import final
from aiperf.results import MetricValue, Reason, Summary, Timeline, Verdict, Window
from aiperf.store.summary import write

SUMMARY = Summary(
    Window(0, 10**10),
    (MetricValue("request_throughput", "requests/s", {"avg": 12.5}, 3),),
    (),
    {"planned": 4, "good": 3, "failed": 1},
    {"reset": 1},
    {"reset": "gone"},
    (),
    Verdict((Reason("errors", "1 of 4", "mend"),)),
    Timeline(0.5, (1, 2), {"reset": (0, 1)}),
)
EARLIER, LATER = "20260102T030405Z-abc123", "20260103T030405Z-000000"


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for run in (EARLIER, LATER):
        folder = tmp_path / "outputs/chat" / run / "trials/0001"
        folder.mkdir(parents=True)
        write(SUMMARY, folder, name="chat")
    return tmp_path / "outputs"


def at_the_end(folder: str, title: str = "chat") -> str:
    return final(SUMMARY, title=title, folder=folder)


@pytest.mark.parametrize(
    ("given", "campaign"),
    [
        (f"outputs/chat/{EARLIER}", EARLIER),
        (f"outputs/chat/{EARLIER}/", EARLIER),
        (f"outputs/chat/{EARLIER}/trials/0001", EARLIER),
        ("outputs/chat", LATER),
    ],
)
def test_it_is_what_the_run_said(capsys, given, campaign):
    assert main(["report", given]) == 0
    assert capsys.readouterr().out == at_the_end(f"outputs/chat/{campaign}") + "\n"


def test_several_folders_and_several_trials(capsys, outputs):
    second = outputs / "chat" / LATER / "trials/0002"
    second.mkdir()
    write(SUMMARY, second, name="chat")
    assert main(["report", f"outputs/chat/{EARLIER}", "outputs/chat"]) == 0
    later = f"outputs/chat/{LATER}"
    texts = [at_the_end(f"outputs/chat/{EARLIER}"), at_the_end(later, "chat 0001"), at_the_end(later, "chat 0002")]
    assert capsys.readouterr().out == "\n\n".join(texts) + "\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "give a campaign's folder"),
        (["absent"], "absent is no folder"),
        (["outputs"], "is no campaign and holds none; it holds those of chat: name one"),
        (["empty"], "is no campaign and holds none"),
        (["outputs/chat", "empty"], "is no campaign"),
    ],
)
def test_what_is_no_campaign_is_refused(capsys, tmp_path, given, said):
    (tmp_path / "empty").mkdir()
    assert main(["report", *given]) == 2
    found = capsys.readouterr()
    assert said in found.err
    assert found.out == ""


def test_a_run_without_results_and_a_newer_schema(capsys, outputs):
    path = outputs / "chat" / LATER / "trials/0001/summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": "2.0"}))
    assert main(["report", "outputs/chat"]) == 2
    assert "schema_version is 2.0, this version of aiperf reads 1." in capsys.readouterr().err
    path.unlink()
    assert main(["report", "outputs/chat"]) == 2
    assert "trials/0001 has no summary.json" in capsys.readouterr().err


def test_a_run_that_failed_says_why(capsys, outputs):
    folder = outputs / "failed/20260104T030405Z-ffffff"
    (folder / "trials/0001").mkdir(parents=True)
    assert main(["report", str(folder)]) == 2
    assert "has no summary.json: the run ended, or still is, before its results" in capsys.readouterr().err
    (folder / "receipt.json").write_text('{"error": "GET http://here/v1/models: Connection refused"}')
    assert main(["report", str(folder)]) == 2
    assert "has no summary.json: GET http://here/v1/models: Connection refused" in capsys.readouterr().err


def echo(**others):
    return {"category": "endpoint", "name": "echo", "package": "my-plugins", "version": "0.1.0"} | others


@pytest.mark.parametrize(
    ("brought", "said"),
    [
        ({"endpoint.type": echo()}, "endpoint.type=echo came from my-plugins 0.1.0, which is not installed here"),
        (
            {"record_processor.words": echo(category="record_processor", name="words")},
            "record_processor.words came from my-plugins 0.1.0, which",
        ),
        ({"endpoint.type": echo(name="chat")}, "endpoint.type=chat came from my-plugins 0.1.0, which is not installed here"),
        (
            {"endpoint.type": echo(), "data_exporter.mine": echo(name="mine")},
            "endpoint.type=echo, data_exporter.mine came from my-plugins 0.1.0, which is not installed here",
        ),
        ({"x.type": echo(category="no_category", package="aiperf")}, "x.type=echo came from aiperf 0.1.0, which does not have it any more"),
    ],
)
def test_a_campaign_of_plugins_that_are_gone_is_shown_and_said(capsys, outputs, brought, said):
    (outputs / "chat" / LATER / "receipt.json").write_text(json.dumps({"plugins": brought}))
    assert main(["report", "outputs/chat"]) == 2
    found = capsys.readouterr()
    assert found.out == at_the_end(f"outputs/chat/{LATER}") + "\n"
    assert found.err.startswith(f"aiperf: outputs/chat/{LATER}: {said}")
    assert found.err.endswith(": what was written is shown, nothing of it can be computed again\n")
    assert found.err.count("\n") == 1


@pytest.mark.parametrize("text", ["{}", '{"plugins": {}}', json.dumps({"plugins": {"endpoint.type": echo(name="chat", package="aiperf")}})])
def test_a_campaign_whose_plugins_are_here_is_only_shown(capsys, outputs, text):
    (outputs / "chat" / LATER / "receipt.json").write_text(text)
    assert main(["report", "outputs/chat"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("text", [b"{", b"[1]", b"", b"\xff"])
def test_a_damaged_receipt_is_said_below_what_is_shown(capsys, outputs, text):
    (outputs / "chat" / LATER / "receipt.json").write_bytes(text)
    assert main(["report", "outputs/chat"]) == 2
    found = capsys.readouterr()
    assert found.out == at_the_end(f"outputs/chat/{LATER}") + "\n"
    assert re.search(r"receipt\.json: (cannot be read|is no receipt that can be read) \(", found.err)


def test_what_is_gone_is_computed_by_nobody(capsys, outputs):
    (outputs / "chat" / LATER / "receipt.json").write_text(json.dumps({"plugins": {"endpoint.type": echo()}}))
    assert main(["report", "outputs/chat", "--from", "process"]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.endswith(
        "endpoint.type=echo came from my-plugins 0.1.0, which is not installed here: nothing of it can be computed again\n"
    )


def test_a_campaign_without_a_trial_has_no_results(capsys, outputs):
    (outputs / "chat" / "empty" / "trials").mkdir(parents=True)
    assert main(["report", "outputs/chat/empty"]) == 2
    assert "has no summary.json" in capsys.readouterr().err
