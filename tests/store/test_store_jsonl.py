import json
import math
import resource
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stored import SUMMARY

from aiperf.errors import ConfigError, MeasureError
from aiperf.records import SCHEMA
from aiperf.store.parquet import export_jsonl

WITH_METRICS = pa.schema([*SCHEMA, ("request_latency", pa.float64()), ("inter_chunk_latency", pa.list_(pa.float64()))])


def parquet(folder, name, *rows):
    folder.mkdir(exist_ok=True)
    with pq.ParquetWriter(folder / name, WITH_METRICS) as writer:
        for row in rows:  # a row group a row
            writer.write_table(pa.Table.from_pylist([row], schema=WITH_METRICS))


def export(folder):
    export_jsonl(SUMMARY, folder, name="trial", records=folder / "records")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_object_a_record_with_every_column(tmp_path):
    good = {"request": 1, "phase": "profiling", "chunk_ns": [7, 8], "chunk_channel": ["role", "content"], "chunk_tokens": [0, 1]}
    parquet(
        tmp_path / "records",
        "0000.parquet",
        good | {"request_latency": 0.1, "inter_chunk_latency": [0.5]},
        {"request": 2, "error": "reset"},
    )
    parquet(tmp_path / "records", "0001.parquet", {"request": 3})
    export(tmp_path)
    first, second, third = lines(tmp_path / "records.jsonl")
    assert {tuple(row) for row in (first, second, third)} == {tuple(WITH_METRICS.names)}
    assert {name: value for name, value in first.items() if value is not None} == good | {
        "request_latency": 0.1,
        "inter_chunk_latency": [0.5],
    }
    assert (second["error"], second["chunk_ns"], third["request"]) == ("reset", None, 3)


def test_what_is_no_number_is_null(tmp_path):
    parquet(tmp_path / "records", "0.parquet", {"request": 1, "request_latency": math.nan, "inter_chunk_latency": [math.inf, 1.0]})
    export(tmp_path)
    (row,) = lines(tmp_path / "records.jsonl")
    assert (row["request_latency"], row["inter_chunk_latency"]) == (None, [None, 1.0])


def test_without_records_or_with_damaged_ones_there_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="no records here"):
        export(tmp_path)
    parquet(tmp_path / "records", "0.parquet", {"request": 1})
    (tmp_path / "records" / "1.parquet").write_bytes(b"no parquet")
    with pytest.raises(MeasureError, match=r"1\.parquet: the records cannot be read"):
        export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    parquet(tmp_path / "records", "0.parquet", *({"request": n, "chunk_ns": [n] * 999} for n in range(40)))
    code = "from pathlib import Path; from aiperf.store.parquet import export_jsonl as w; w(None, Path(), name='', records=Path('records'))"

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, preexec_fn=small_files, capture_output=True, text=True, check=False)
    assert "MeasureError: records.jsonl: cannot be written (File too large)" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_memory_is_that_of_a_row_group(tmp_path):
    code = """
import resource, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from aiperf.store.parquet import export_jsonl
groups = int(sys.argv[1])
table = pa.table({"request": range(2000), "chunk_ns": [[1_700_000_000_000_000_000] * 50] * 2000})
Path("records").mkdir()
with pq.ParquetWriter("records/0.parquet", table.schema) as writer:
    for _ in range(groups):
        writer.write_table(table)
export_jsonl(None, Path(), name="", records=Path("records"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

    def peak(groups):
        (tmp_path / str(groups)).mkdir()
        command = [sys.executable, "-c", code, str(groups)]
        return int(subprocess.run(command, cwd=tmp_path / str(groups), capture_output=True, text=True, check=True).stdout)

    assert peak(20) - peak(2) < 20_000  # kB; the file of 20 groups has 42 MB
