import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from aiperf.errors import ConfigError, MeasureError
from aiperf.results import STATS, MetricValue, Reason, Slo, Summary, Timeline, Verdict, Window
from aiperf.store.summary import export_csv, read_named, write

_STATS = {**dict.fromkeys(STATS, 2.5), "std": None}
LATENCY = MetricValue("request_latency", "ms", _STATS, 3, ("p99", "p99.9"), {"p50": (2.25, 2.75)}, {"p50": 2.5, "p99": 1.5})
RATE = MetricValue("request_throughput", "requests/s", {"avg": 12.5}, 3)
SUMMARY = Summary(
    window=Window(1_700_000_000_000_000_000, 1_700_000_010_000_000_000, before=1, after=2),
    metrics=(LATENCY, RATE),
    whole=(RATE,),
    counts={"planned": 4, "good": 3},
    errors={"http_5xx": 1},
    samples={"http_5xx": "über\nload"},
    slos=(Slo("request_latency", "p99", "<=", 20.0, "ms", 2.5, met=True),),
    verdict=Verdict((Reason("errors", "1 of 4", "mend"),), (Reason("clock_step", "5 ms", "slew"),), ("a note",)),
    gate_met=False,
    facts={"stamps": {"kernel": 3}, "input_length_error": None},
    timeline=Timeline(0.5, (1, 2), {"http_5xx": (0, 1)}),
)


def csv_of(summary: Summary, folder: Path) -> None:
    export_csv(summary, folder, name="trial", records=folder / "records")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write(SUMMARY, tmp_path, name="trial")
    assert read_named(tmp_path / "summary.json") == ("trial", SUMMARY)
    write(replace(SUMMARY, timeline=None), tmp_path, name="trial")
    assert read_named(tmp_path / "summary.json")[1].timeline is None


def test_a_summary_of_before_there_was_a_timeline(tmp_path: Path) -> None:
    write(SUMMARY, tmp_path, name="trial")
    path = tmp_path / "summary.json"
    found = json.loads(path.read_text()) | {"schema_version": "1.0"}
    del found["timeline"]
    path.write_text(json.dumps(found))
    assert read_named(path) == ("trial", replace(SUMMARY, timeline=None))


def test_a_summary_of_before_there_were_intervals(tmp_path: Path) -> None:
    write(SUMMARY, tmp_path, name="trial")
    path = tmp_path / "summary.json"
    found = json.loads(path.read_text()) | {"schema_version": "1.1"}
    for of in found["metrics"].values():
        del of["intervals"]
    path.write_text(json.dumps(found))
    assert read_named(path)[1].metrics == (replace(LATENCY, intervals={}, effective={}), RATE)


def test_the_layout(tmp_path: Path) -> None:
    write(SUMMARY, tmp_path, name="trial")
    found = json.loads((tmp_path / "summary.json").read_text())
    assert list(found) == [
        "schema_version", "name", "verdict", "gate_met", "window", "metrics", "whole", "counts", "errors", "samples", "slos", "facts",
        "timeline",
    ]  # fmt: skip
    assert (found["schema_version"], found["name"]) == ("1.2", "trial")
    assert list(found["verdict"]) == ["word", "reasons", "ignored", "notes"]
    assert found["verdict"]["word"] == "INVALID"
    assert list(found["window"]) == ["start_ns", "end_ns", "seconds", "left_out_before", "left_out_after"]
    assert [found["window"][key] for key in ("seconds", "left_out_before", "left_out_after")] == [10.0, 1, 2]
    assert found["metrics"]["request_latency"] == {
        "unit": "ms", "n": 3, "stats": dict(LATENCY.stats), "unsupported": ["p99", "p99.9"],
        "intervals": {
            "p50": {"ci_low": 2.25, "ci_high": 2.75, "n": 3, "effective_n": 2.5, "supported": True},
            "p99": {"ci_low": None, "ci_high": None, "n": 3, "effective_n": 1.5, "supported": False},
        },
    }  # fmt: skip


def test_a_row_a_metric(tmp_path: Path) -> None:
    duration = MetricValue("benchmark_duration", "s", {"avg": 11.5}, 1)
    csv_of(replace(SUMMARY, whole=(replace(RATE, stats={"avg": 11.0}), duration)), tmp_path)
    latency, rate, whole, verdict = csv.DictReader((tmp_path / "summary.csv").read_text().splitlines())
    assert list(latency)[: len(STATS) + 6] == ["metric", "unit", "n", *STATS, "unsupported", "whole", "note"]
    assert list(latency)[-3:] == ["p99.9_ci_low", "p99.9_ci_high", "p99.9_effective_n"]
    assert [latency[f"p50_{of}"] for of in ("ci_low", "ci_high", "effective_n")] == ["2.25", "2.75", "2.5"]
    assert [latency[f"p99_{of}"] for of in ("ci_low", "ci_high", "effective_n")] == ["", "", "1.5"]
    assert (latency["metric"], latency["unit"], latency["n"], latency["p99"], latency["std"]) == ("request_latency", "ms", "3", "2.5", "")
    assert (latency["unsupported"], latency["whole"], latency["note"]) == ("p99;p99.9", "", "")
    assert (rate["avg"], rate["p50"], rate["whole"]) == ("12.5", "", "11.0")
    assert {name: said for name, said in whole.items() if said} == {"metric": "benchmark_duration", "unit": "s", "n": "1", "whole": "11.5"}
    assert {name: said for name, said in verdict.items() if said} == {"metric": "verdict", "note": "INVALID"}


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_in_neither_file(tmp_path: Path, wrong: float) -> None:
    broken = replace(SUMMARY, metrics=(replace(RATE, stats={"avg": wrong}),), facts={"level": wrong})
    write(broken, tmp_path, name="trial")
    csv_of(broken, tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["metrics"]["request_throughput"]["stats"] == {"avg": None}
    text = (tmp_path / "summary.json").read_text() + (tmp_path / "summary.csv").read_text()
    assert not any(word in text.lower() for word in ("nan", "inf"))


def test_a_summary_is_replaced_whole(tmp_path: Path) -> None:
    write(SUMMARY, tmp_path, name="trial")
    write(replace(SUMMARY, gate_met=True), tmp_path, name="trial")
    assert read_named(tmp_path / "summary.json")[1].gate_met
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_keys_that_are_not_known_yet_are_overlooked(tmp_path: Path) -> None:
    write(SUMMARY, tmp_path, name="trial")
    path = tmp_path / "summary.json"
    found = json.loads(path.read_text())
    found |= {"schema_version": "1.7", "later": 1}
    found["metrics"]["request_latency"]["interval"] = [1, 2]
    path.write_text(json.dumps(found))
    assert read_named(path) == ("trial", SUMMARY)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema_version": "2.0"}', '{"schema_version": "1.0", "verdict": 3, "window": {}}', "\xff"]
)
def test_what_is_no_summary_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "summary.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"summary\.json"):
        read_named(path)


def test_a_summary_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        read_named(tmp_path / "absent")


def test_a_folder_that_refuses_is_told_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(MeasureError, match=r"summary\.json: cannot be written"):
        write(SUMMARY, tmp_path, name="trial")
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
