import pyarrow as pa
from spooled import START, exchange, good

from aiperf.processing.derive import row, table
from aiperf.records import CHANNELS, SCHEMA
from aiperf.seams import Said


def made(one, said, due_ns=START):
    return row(one, said, due_ns=due_ns, generator=0)


def test_rows_become_the_columns_of_records():
    said = Said(reads=[0, 1, 1], at_end=[True, False, True], channels=[0, 1, 2], tokens=[0, 1, 1], finish_reason="stop", output_tokens=2)
    rows = [made(exchange(4, [b"a", b"b"], url=1), said), made(exchange(3, error="unsent", reason="duration"), Said())]
    found = table(rows, urls=("http://a", "http://b"), model="m")
    assert found.schema.equals(SCHEMA)
    first, second = found.to_pylist()
    assert (first["request"], first["url"], first["model"], first["phase"]) == (4, "http://b", "m", "profiling")
    assert first["chunk_ns"] == [START + 2_000_000] * 2
    assert first["chunk_channel"] == [CHANNELS[1], CHANNELS[2]]
    assert first["chunk_tokens"] == [1, 1]
    assert (second["error"], second["reason"], second["chunk_ns"], second["first_token_ns"]) == ("unsent", "duration", [], None)


def test_no_rows_are_an_empty_table():
    found = table([], urls=(), model="m")
    assert found.schema.equals(SCHEMA)
    assert found.num_rows == 0


def test_every_row_is_there_in_its_order():
    rows = [made(good(n), Said()) for n in range(5000, 0, -1)]
    found = table(rows, urls=("http://a",), model="m")
    assert found["request"].to_pylist() == list(range(5000, 0, -1))
    assert pa.types.is_dictionary(found["url"].type)
