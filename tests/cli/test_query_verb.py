"""`aiperf query` as a person types it: formats, examples, and what is refused."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aiperf.cli import query
from aiperf.cli.main import main
from aiperf.records import SCHEMA
from aiperf.results import STATS, MetricValue, Reason, Summary, Verdict, Window
from aiperf.store.aggregate import commit
from aiperf.store.rows import Sweep, Trial

METRICS = (
    MetricValue("request_latency", "ms", dict.fromkeys(STATS, 2.5), 3, ("p99",)),
    MetricValue("request_throughput", "requests/s", {"avg": 12.5}, 3),
)
SUMMARY = Summary(Window(0, 10**10), METRICS, (), {}, {}, {}, (), Verdict((Reason("errors", "1 of 4", "mend"),)))


def campaign(folder: Path) -> None:
    folder.mkdir(parents=True)
    params = {"timing.concurrency": 4}
    commit(folder, Sweep(folder.name, "trial", "seed: 1\n", 0), [Trial(1, "trials/0001", params, 0, summary=replace(SUMMARY))])
    records = folder / "trials/0001/records"
    records.mkdir(parents=True)
    rows = [{"request": 1, "phase": "profiling"}, {"request": 2, "phase": "profiling", "error": "reset"}]
    latency = pa.array([2.5, None])
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA).append_column("request_latency", latency), records / "0.parquet")


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    campaign(tmp_path / "outputs/trial/20260102T030405Z-abc123")
    campaign(tmp_path / "outputs/trial/20260102T030406Z-abc124")
    return tmp_path / "outputs"


def said(capfd: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> tuple[str, str]:
    assert main(["query", *argv]) == code
    sys.stdout.flush()
    found = capfd.readouterr()
    return found.out, found.err


def test_a_table_in_a_pipe_is_as_wide_as_it_is(capfd):
    out, err = said(capfd, "SELECT campaign, number, error FROM trials ORDER BY campaign")
    assert out.splitlines() == [
        "campaign                       number  error",
        "-----------------------------  ------  -----",
        "trial/20260102T030405Z-abc123       1  -",
        "trial/20260102T030406Z-abc124       1  -",
    ]
    assert err == ""


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
@pytest.mark.parametrize("to_file", [True, False])
def test_exact_formats(capfdbinary, tmp_path, form, to_file):
    out = ["--out", str(tmp_path / "answer")] if to_file else []
    sql = "SELECT campaign, 0.1::DOUBLE + 0.2 AS x, 'NaN'::DOUBLE AS y, ['a'] AS z FROM trials ORDER BY campaign LIMIT 1"
    assert main(["query", sql, "--format", form, *out]) == 0
    sys.stdout.flush()
    printed = capfdbinary.readouterr().out
    content = (tmp_path / "answer").read_bytes() if to_file else printed
    assert bool(printed) != to_file
    name = "trial/20260102T030405Z-abc123"
    if form == "csv":
        assert list(csv.DictReader(io.StringIO(content.decode()))) == [
            {"campaign": name, "x": "0.30000000000000004", "y": "", "z": '["a"]'}
        ]
    elif form == "json":
        assert json.loads(content) == [{"campaign": name, "x": 0.30000000000000004, "y": None, "z": ["a"]}]
    else:
        (row,) = pq.read_table(io.BytesIO(content)).to_pylist()
        assert (row["campaign"], row["x"], row["z"]) == (name, 0.30000000000000004, ["a"])


@pytest.mark.parametrize("sql", query.EXAMPLES.values(), ids=query.EXAMPLES)
def test_every_example_works(capfd, sql):
    out, _ = said(capfd, sql, "--format", "csv")
    assert len(out.splitlines()) >= 2


def test_without_a_statement_there_are_five_examples_and_the_tables(capfd):
    out, _ = said(capfd)
    assert len(query.EXAMPLES) == 5
    assert [sql for sql in query.EXAMPLES.values() if sql not in out] == []
    for word in ("sweeps:", "trials:", "records:", "request_throughput", "chunk_ns", "--format", "--in DIR"):
        assert word in out


def test_in_names_a_campaign_or_a_folder_of_them(capfd, outputs):
    out, _ = said(capfd, "SELECT campaign FROM trials", "--format", "csv", "--in", str(outputs / "trial/20260102T030405Z-abc123"))
    assert out == "campaign\n20260102T030405Z-abc123\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["DROP TABLE trials"], ["DROP is refused", "only reads"]),
        (["SELECT numbr FROM trials"], ['"numbr"', '"number"', "LINE 1", "^"]),
        (["FROM trials", "--in", "absent"], ["absent is no folder", "--in DIR"]),
        (["FROM trials", "--format", "xml"], ["xml"]),
        (["FROM trials", "--in", "."], []),
    ],
)
def test_mistakes_end_with_2_and_one_message(capfd, argv, words):
    out, err = said(capfd, *argv, code=2 if words else 0)
    assert [word for word in words if word not in err] == []
    assert bool(out) != bool(words)
    assert err.count("aiperf: ") == (1 if words else 0)


def test_a_damaged_campaign_is_named_on_stderr(capfd, outputs):
    (outputs / "bad").mkdir()
    (outputs / "bad/sweep.duckdb").write_text("no database")
    out, err = said(capfd, "SELECT count(*) AS n FROM trials", "--format", "csv")
    assert out == "n\n2\n"
    assert err.startswith("aiperf: left out: ")
    assert "bad/sweep.duckdb: cannot be read" in err


def test_an_answer_that_fails_leaves_no_file(capfd, tmp_path):
    sql = "SELECT (CASE WHEN i = 90000 THEN 'x' ELSE '1' END)::INTEGER FROM range(100000) t(i)"
    said(capfd, sql, "--format", "csv", "--out", "answer.csv", code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    _, err = said(capfd, "SELECT 1", "--out", "absent/answer", code=1)
    assert "absent/answer: cannot be written (No such file or directory)" in err


def test_a_long_table_says_that_there_is_more(capfd, monkeypatch):
    monkeypatch.setattr(query, "_MOST_ROWS", 3)
    out, _ = said(capfd, "FROM range(5)")
    assert out.splitlines()[-2:] == ["    2", "only the first 3 rows; --format csv has all"]


def test_in_a_terminal_it_fits(tmp_path):
    done = in_terminal(tmp_path, "FROM points", 60)
    assert max(len(line) for line in done.splitlines()[:4]) <= 60
    assert "more columns do not fit: " in done
    assert "parquet is not for a terminal" in in_terminal(tmp_path, "FROM points", 60, "--format", "parquet")


def in_terminal(folder: Path, sql: str, width: int, *flags: str) -> str:
    """What a person sees in a terminal of this width."""
    here, there = pty.openpty()
    command = [sys.executable, "-m", "aiperf", "query", sql, *flags]
    with subprocess.Popen(command, stdout=there, stderr=there, cwd=folder, env={**os.environ, "COLUMNS": str(width)}):
        os.close(there)
        found = b""
        while chunk := _read(here):
            found += chunk
    os.close(here)
    return found.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the last writer has gone
        return b""


def test_a_reader_that_leaves_is_no_error(tmp_path):
    command = [sys.executable, "-m", "aiperf", "query", "FROM range(1000000)", "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, text=True) as process:
        assert process.stdout.readline() == "range\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_without_sql_and_in_help_no_database_is_started():
    code = "import sys; from aiperf.cli.main import main; main(['query', '--help']); sys.exit('duckdb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
