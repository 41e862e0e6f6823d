import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aiperf.errors import ConfigError, MeasureError
from aiperf.records import CHANNELS, SCHEMA
from aiperf.store.parquet import PLAN_SCHEMA, RecordsWriter, read_plan, read_records, write_plan


def records(*numbers, phase="profiling", error=None):
    rows = [
        {"request": n, "phase": phase, "error": error, "chunk_ns": [n, n + 1], "chunk_channel": ["content", CHANNELS[n % 2]]}
        for n in numbers
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def plan():
    return pa.table(
        {
            "seed": [1, 2],
            "request": [0, 1],
            "phase": ["warmup", "profiling"],
            "due_ns": [None, 5],
            "conversation": [3, 4],
            "turn": [0, 0],
            "input_tokens": [7, 8],
            "output_tokens": [None, 9],
        }
    )


class TestRecordsWriter:
    def test_a_row_group_a_table(self, tmp_path):
        with RecordsWriter(tmp_path / "records" / "0.parquet") as file:
            file.append(records(1, 2))
            file.append(records(3))
            assert file.rows == 3
        found = pq.ParquetFile(tmp_path / "records" / "0.parquet")
        assert found.num_row_groups == 2
        assert found.schema_arrow.equals(pa.schema([*SCHEMA]))
        assert found.metadata.row_group(0).column(0).compression == "ZSTD"
        assert read_records(tmp_path / "records")["request"].to_pylist() == [1, 2, 3]

    def test_there_is_no_file_before_it_is_whole(self, tmp_path):
        file = RecordsWriter(tmp_path / "0.parquet")
        file.append(records(1))
        assert not (tmp_path / "0.parquet").exists()
        assert list(tmp_path.glob("*.parquet")) == []
        file.close()
        assert read_records(tmp_path).num_rows == 1
        assert [path.name for path in tmp_path.iterdir()] == ["0.parquet"]

    def test_an_error_leaves_nothing_behind(self, tmp_path):
        def half():
            with RecordsWriter(tmp_path / "0.parquet") as file:
                file.append(records(1))
                raise KeyError

        with pytest.raises(KeyError):
            half()
        assert list(tmp_path.iterdir()) == []

    def test_what_was_there_stays_until_the_new_one_is_whole(self, tmp_path):
        for number in (1, 2):
            with RecordsWriter(tmp_path / "0.parquet") as file:
                file.append(records(number))
                assert number == 1 or read_records(tmp_path)["request"].to_pylist() == [1]
        assert read_records(tmp_path)["request"].to_pylist() == [2]

    def test_without_a_table_there_is_no_file(self, tmp_path):
        with RecordsWriter(tmp_path / "0.parquet") as file:
            file.discard()
        assert list(tmp_path.iterdir()) == []


class TestReadRecords:
    def test_all_parts_in_the_order_of_their_numbers(self, tmp_path):
        for name, table in (("1", records(5, 0, phase="warmup")), ("0", records(4, 1, error="reset"))):
            with RecordsWriter(tmp_path / f"{name}.parquet") as file:
                file.append(table)
        found = read_records(tmp_path)
        assert found.schema.equals(SCHEMA)
        assert found["request"].to_pylist() == [0, 1, 4, 5]
        assert found["phase"].to_pylist() == ["warmup", "profiling", "profiling", "warmup"]
        assert found["error"].to_pylist() == [None, "reset", "reset", None]
        assert found["chunk_channel"].to_pylist() == [
            ["content", "role"],
            ["content", "reasoning"],
            ["content", "role"],
            ["content", "reasoning"],
        ]

    def test_an_empty_part_is_no_trouble(self, tmp_path):
        for name, table in (("0", SCHEMA.empty_table()), ("1", records(1))):
            with RecordsWriter(tmp_path / f"{name}.parquet") as file:
                file.append(table)
        assert read_records(tmp_path)["request"].to_pylist() == [1]

    def test_no_records_are_named(self, tmp_path):
        with pytest.raises(ConfigError, match="no records"):
            read_records(tmp_path)

    def test_a_damaged_file_is_named(self, tmp_path):
        (tmp_path / "0.parquet").write_bytes(b"PAR1 and then nothing")
        with pytest.raises(MeasureError, match="cannot be read"):
            read_records(tmp_path)


class TestPlan:
    def test_is_read_as_it_was_written(self, tmp_path):
        write_plan(tmp_path / "plan.parquet", plan())
        found = read_plan(tmp_path / "plan.parquet")
        assert found.schema.equals(PLAN_SCHEMA)
        assert found.to_pylist() == plan().select(PLAN_SCHEMA.names).to_pylist()

    def test_is_never_rewritten(self, tmp_path):
        write_plan(tmp_path / "plan.parquet", plan())
        with pytest.raises(FileExistsError, match="never rewritten"):
            write_plan(tmp_path / "plan.parquet", plan())

    def test_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(ConfigError, match=r"plan\.parquet is not there, and nothing else"):
            read_plan(tmp_path / "plan.parquet")

    def test_that_is_something_else_is_named(self, tmp_path):
        pq.write_table(pa.table({"a": [1]}), tmp_path / "plan.parquet")
        with pytest.raises(MeasureError, match="cannot be read"):
            read_plan(tmp_path / "plan.parquet")


@pytest.mark.parametrize("rows", [1, 200_000])
def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path, rows):
    (tmp_path / "0.parquet.part").symlink_to("/dev/full")
    with pytest.raises(MeasureError, match=r"0\.parquet: cannot be written"), RecordsWriter(tmp_path / "0.parquet") as file:
        file.append(records(*range(rows)))
    assert list(tmp_path.iterdir()) == []
