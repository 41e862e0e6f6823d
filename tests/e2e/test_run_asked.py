"""What runs leave behind, looked up afterwards: SQL, the tables again, the exports, and the schema of summary.json."""

import csv
import io
import json
import subprocess
from importlib.resources import files
from pathlib import Path

import duckdb
import jsonschema
import pyarrow as pa
import pytest
from running import COMMAND, QUICK, Finished, ran

from aiperf.cli.query import EXAMPLES
from aiperf.store.joined import asked, campaigns
from aiperf.store.tables import record_columns

KINDS = {
    "valid": ("goodput.slos.time_to_first_token=500ms",),
    "invalid": ("endpoint.simulator.faults.truncated=0.5",),
    "nothing": ("endpoint.simulator.faults.http_500=1",),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asked")


@pytest.fixture(scope="module")
def runs(here: Path) -> dict[str, Finished]:
    (here / "outputs").mkdir()
    formats = "output.formats=[csv, jsonl]"
    return {kind: ran(here / "outputs" / kind, *QUICK, f"name={kind}", formats, *more) for kind, more in KINDS.items()}


def said(here: Path, *words: str) -> str:
    done = subprocess.run([*COMMAND, *words], cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_they_ended_as_they_should(runs):
    assert {kind: run.code for kind, run in runs.items()} == {"valid": 0, "invalid": 3, "nothing": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_summaries_fit_their_schema(runs, kind):
    schema = json.loads(files("aiperf.store").joinpath("summary.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(runs[kind].summary)


@pytest.mark.parametrize("sql", EXAMPLES.values(), ids=EXAMPLES)
def test_every_example_finds_something(here, runs, sql):
    assert len(said(here, "query", sql, "--format", "csv").splitlines()) > 1


def test_the_aggregate_says_what_the_summary_says(here, runs):
    sql = """
        SELECT t.campaign, t.verdict, value, n FROM metrics m JOIN trials t USING (campaign, trial_id)
        WHERE metric = 'request_latency' AND stat = 'p50'
    """
    found = {row["campaign"].partition("/")[0]: row for row in csv.DictReader(io.StringIO(said(here, "query", sql, "--format", "csv")))}
    for kind, run in runs.items():
        latency = run.summary["metrics"]["request_latency"]
        wanted = (
            "" if latency["stats"]["p50"] is None else repr(latency["stats"]["p50"]),
            str(latency["n"]),
            run.summary["verdict"]["word"],
        )
        assert (found[kind]["value"], found[kind]["n"], found[kind]["verdict"]) == wanted


def test_records_are_the_same_by_sql_and_as_lines(runs):
    run = runs["invalid"]
    with asked("SELECT count(*), count(error), sum(len(chunk_ns)) FROM records", campaigns(run.folder)) as answer:
        (counted,) = (tuple(row.values()) for batch in answer.batches for row in batch.to_pylist())
    with asked("DESCRIBE records", campaigns(run.folder)) as answer:
        columns = {row["column_name"]: row["column_type"] for batch in answer.batches for row in batch.to_pylist()}
    wanted = duckdb.from_arrow(record_columns().empty_table())
    assert {"campaign": "VARCHAR", "trial_id": "VARCHAR", **dict(zip(wanted.columns, map(str, wanted.types)))} == columns
    lines = [json.loads(line) for line in (run.folder / "trials/0001/records.jsonl").read_text().splitlines()]
    assert counted == (len(lines), sum(line["error"] is not None for line in lines), sum(len(line["chunk_ns"] or ()) for line in lines))
    assert counted[1] == run.summary["counts"]["failed"]
    assert pa.Table.from_pylist(lines).column_names == run.records.column_names


@pytest.mark.parametrize("kind", KINDS)
def test_report_prints_what_the_run_printed(here, runs, kind):
    again = said(here, "report", str(runs[kind].folder))
    assert runs[kind].out.endswith(again)
    assert len(again.splitlines()) > 5
