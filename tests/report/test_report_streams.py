import csv
import datetime as dt
import io
import json
import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.report.streams import csv_text, distinct, json_text

BATCH = pa.RecordBatch.from_pydict(
    {
        "word": pa.array(['a,"b"\nü', None]),
        "number": pa.array([0.1 + 0.2, math.nan]),
        "count": pa.array([1_700_000_000_000_000_000, None]),
        "sum": pa.array([Decimal(12345678901234567890), None], pa.decimal128(38, 0)),
        "met": pa.array([True, None]),
        "at": pa.array([dt.datetime(2026, 1, 2, 3, 4, 5, 6), None], pa.timestamp("us")),  # noqa: DTZ001 - DuckDB's TIMESTAMP has no zone
        "list": pa.array([[1.5, math.inf], None]),
    }
)
NAMES = BATCH.schema.names


def read_csv(batches):
    return list(csv.DictReader(io.StringIO("".join(csv_text(NAMES, batches)), newline="")))


def test_csv_is_exact_and_null_is_empty():
    first, second = read_csv([BATCH])
    assert first == {
        "word": 'a,"b"\nü', "number": "0.30000000000000004", "count": "1700000000000000000", "sum": "12345678901234567890", "met": "true",
        "at": "2026-01-02T03:04:05.000006", "list": "[1.5,null]",
    }  # fmt: skip
    assert set(second.values()) == {""}


def test_json_is_an_array_of_objects():
    text = "".join(json_text(NAMES, [BATCH, BATCH.slice(0, 0), BATCH.slice(1)]))
    first, second, third = json.loads(text)
    assert first == {
        "word": 'a,"b"\nü', "number": 0.30000000000000004, "count": 1_700_000_000_000_000_000, "sum": 12345678901234567890, "met": True,
        "at": "2026-01-02T03:04:05.000006", "list": [1.5, None],
    }  # fmt: skip
    assert second == third == dict.fromkeys(NAMES)
    assert len(text.splitlines()) == 5


def test_no_rows():
    assert json.loads("".join(json_text(["a"], []))) == []
    assert "".join(csv_text(["a", "b"], [])) == "a,b\n"


@given(st.lists(st.floats()))
def test_numbers_come_back_as_they_were(values):
    batch = pa.RecordBatch.from_pydict({"n": pa.array(range(len(values))), "x": pa.array(values, pa.float64())})
    finite = [value if math.isfinite(value) else None for value in values]
    assert [row["x"] for row in json.loads("".join(json_text(["n", "x"], [batch])))] == finite
    rows = csv.DictReader(io.StringIO("".join(csv_text(["n", "x"], [batch]))))
    assert [float(row["x"]) if row["x"] else None for row in rows] == finite


@pytest.mark.parametrize(
    ("names", "found"),
    [(["a", "b"], ["a", "b"]), (["a", "a", "a"], ["a", "a_1", "a_2"]), (["a", "a_1", "a"], ["a", "a_1", "a_2"]), ([], [])],
)
def test_names_are_each_there_once(names, found):
    assert distinct(names) == found
