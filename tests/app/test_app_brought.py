"""What other packages bring to a run: the receipt names it, and exporters of theirs take nothing with them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aiperf import logs
from aiperf.app import finish
from aiperf.app.host import packages
from aiperf.config.experiment import Experiment
from aiperf.errors import ConfigError
from aiperf.plugin import plugins
from aiperf.results import MetricValue, Summary, Verdict, Window
from aiperf.store.campaign import Campaign

SUMMARY = Summary(Window(0, 10**10), (MetricValue("request_throughput", "requests/s", {"avg": 1.0}, 3),), (), {}, {}, {}, (), Verdict())


@pytest.fixture(autouse=True)
def _registry():
    yield
    plugins.reset_registry()


class Echo:
    """An endpoint."""


def words(records: Any) -> Any:
    return records["output_tokens"]


def write_report(summary: Summary, trial: Path, /, *, name: str, records: Path) -> None:
    (trial / "report.txt").write_text(f"{name} {records.name} {len(summary.metrics)}")


def write_badly(summary: Summary, trial: Path, /, *, name: str, records: Path) -> None:
    raise KeyError(name)


def experiment(**groups: Any) -> Experiment:
    timing = {"type": "request_rate", "rate": 100, "stop": {"requests": 8}}
    return Experiment.model_validate({"endpoint": {"url": "http://h"}, "timing": timing} | groups)


def ran(folder: Path, *formats: str) -> tuple[Path, list[str]]:
    lines: list[str] = []
    campaign = Campaign(folder)
    campaign.trial.mkdir(parents=True)
    screen = SimpleNamespace(line=lines.append)
    made: Any = SimpleNamespace(experiment=experiment(name="n", output={"formats": formats}), campaign=campaign, screen=screen)
    finish.written(made, SUMMARY)
    return campaign.trial, lines


def test_what_is_ours_is_not_named():
    assert packages(experiment(output={"formats": ["csv", "jsonl"]})) == {}


def test_what_others_bring_is_named_with_its_package():
    plugins.register("endpoint", "echo", Echo)
    plugins.register("data_exporter", "report", write_report)
    plugins.register("record_processor", "words", words, metadata={"unit": "words"})
    plugins.register("results_processor", "cost", words, metadata={"unit": "EUR"})
    said = experiment(endpoint={"type": "ECHO", "url": "http://h"}, output={"formats": ["csv", "report"]})
    mine = {"package": __name__, "version": "unknown"}
    assert packages(said) == {
        "endpoint.type": {"category": "endpoint", "name": "echo", **mine},
        "data_exporter.report": {"category": "data_exporter", "name": "report", **mine},
        "record_processor.words": {"category": "record_processor", "name": "words", **mine},
        "results_processor.cost": {"category": "results_processor", "name": "cost", **mine},
    }


def test_each_format_is_a_file(tmp_path):
    plugins.register("data_exporter", "report", write_report)
    trial, lines = ran(tmp_path, "csv", "report")
    assert sorted(path.name for path in trial.iterdir()) == ["report.txt", "summary.csv", "summary.json"]
    assert ((trial / "report.txt").read_text(), lines) == ("n records 1", [])


def test_without_formats_there_is_the_summary(tmp_path):
    trial, _ = ran(tmp_path)
    assert [path.name for path in trial.iterdir()] == ["summary.json"]


def test_one_that_fails_is_told_of_and_the_others_write(tmp_path):
    plugins.register("data_exporter", "bad", write_badly)
    logs.configure(tmp_path / "run.log", "info")
    trial, lines = ran(tmp_path, "bad", "csv")
    logs.close()
    assert sorted(path.name for path in trial.iterdir()) == ["summary.csv", "summary.json"]
    (line,) = lines
    assert line.startswith(f"note      data_exporter:bad of {__name__}: KeyError: 'n' (")
    assert "test_app_brought.py:" in line
    assert line.removeprefix("note      ") in (tmp_path / "run.log").read_text()


def test_one_of_ours_that_the_disk_refuses_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no records here"):
        ran(tmp_path, "jsonl")
