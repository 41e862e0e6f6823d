"""One statement over many campaigns: what it sees, what it may not do, and how it is told of a mistake."""

import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from stored import START, SWEEP, campaign, records, trial

from aiperf.errors import ConfigError
from aiperf.store import joined
from aiperf.store.campaign import NewerSchemaError
from aiperf.store.joined import KNOWN, campaigns


def answer(sql: str, below: Path) -> tuple[list[tuple], tuple[str, ...]]:
    with joined.asked(sql, campaigns(below)) as found:
        table = pa.Table.from_batches(found.batches, found.schema)
        return list(zip(*(column.to_pylist() for column in table.columns))), found.notes


def rows(sql: str, below: Path) -> list[tuple]:
    found, notes = answer(sql, below)
    assert notes == ()
    return found


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three campaigns at different depths; `chat/b` has two trials, `c` other parameters."""
    below = tmp_path_factory.mktemp("outputs")
    campaign(below / "chat/a")
    campaign(below / "chat/b", trial(1), trial(2))
    campaign(below / "c", trial(params={"timing.rate": 2.5, "timing.concurrency": "auto"}))
    records(below / "chat/b", {"request": 1, "phase": "profiling"}, {"request": 2, "phase": "warmup"}, name="0002")
    records(below / "c", {"request": 3, "error": "reset"})
    return below


class TestCampaigns:
    def test_every_one_below_is_there_by_its_path(self, three):
        assert rows("SELECT campaign, count(*) FROM trials GROUP BY ALL ORDER BY ALL", three) == [("c", 1), ("chat/a", 1), ("chat/b", 2)]

    def test_one_by_itself(self, three):
        assert rows("SELECT DISTINCT campaign FROM params", three / "chat/b") == [("b",)]

    @pytest.mark.parametrize("table", ["sweeps", "trials", "params", "metrics", "reasons", "slos", "derived", "points", "records"])
    def test_every_table_begins_with_the_campaign(self, three, table):
        assert rows(f"DESCRIBE {table}", three)[0][:2] == ("campaign", "VARCHAR")

    def test_trials_have_ids_of_their_own(self, three):
        assert rows("SELECT count(DISTINCT trial_id), count(*) FROM trials JOIN sweeps USING (sweep_id)", three) == [(4, 4)]

    def test_points_have_the_columns_of_all_and_text_where_one_is_text(self, three):
        sql = 'SELECT campaign, number, "timing.concurrency", "timing.rate", request_throughput FROM points'
        assert rows(sql, three) == [
            ("c", 1, "auto", 2.5, 12.5), ("chat/a", 1, "1", None, 12.5), ("chat/b", 1, "1", None, 12.5), ("chat/b", 2, "2", None, 12.5),
        ]  # fmt: skip

    def test_records_of_all_with_their_trials(self, three):
        sql = "SELECT r.campaign, t.number, request, r.error FROM records r JOIN trials t USING (campaign, trial_id) ORDER BY request"
        assert rows(sql, three) == [("chat/b", 2, 1, None), ("chat/b", 2, 2, None), ("c", 1, 3, "reset")]
        assert rows("SELECT campaign, trial_id FROM records WHERE error = 'reset'", three) == [("c", "c/0001")]

    def test_only_what_is_named_is_loaded(self, three):
        sql = "SELECT (SELECT count(*) FROM trials), (SELECT estimated_size FROM duckdb_tables() WHERE table_name = 'metrics')"
        assert rows(sql, three) == [(4, 0)]

    @pytest.mark.parametrize("holds_one", [True, False])
    def test_none_is_an_error_that_says_where_was_looked(self, tmp_path, holds_one):
        where = tmp_path if holds_one else tmp_path / "absent"
        with pytest.raises(ConfigError, match=f"{where}.*--in DIR"):
            campaigns(where)


class TestLeftOut:
    def test_damaged_and_foreign_files(self, tmp_path):
        campaign(tmp_path / "good")
        for name, content in (
            ("empty", b""),
            ("text", b"no database" * 999),
            ("half", (tmp_path / "good/sweep.duckdb").read_bytes()[:40_000]),
        ):
            (tmp_path / name).mkdir()
            (tmp_path / name / "sweep.duckdb").write_bytes(content)
        (tmp_path / "foreign").mkdir()
        with duckdb.connect(tmp_path / "foreign/sweep.duckdb") as connection:
            connection.execute("CREATE TABLE trials (x INTEGER)")
        found, notes = answer("SELECT campaign FROM trials", tmp_path)
        assert found == [("good",)]
        assert [next(name for name in ("empty", "foreign", "half", "text") if f"/{name}/sweep.duckdb: " in note) for note in notes] == [
            "empty", "foreign", "half", "text",
        ]  # fmt: skip

    def test_a_block_that_was_damaged(self, tmp_path):
        for name in ("a", "b"):
            campaign(tmp_path / name)
        path = tmp_path / "a/sweep.duckdb"
        content = bytearray(path.read_bytes())
        for at in range(12_400, len(content), 4096):
            content[at] ^= 0xFF
        path.write_bytes(content)
        found, (note,) = answer("SELECT campaign, count(*) FROM metrics JOIN trials USING (campaign, trial_id) GROUP BY ALL", tmp_path)
        assert found == [("b", 17)]
        assert "left out: " in note
        assert "a/sweep.duckdb: cannot be read: " in note

    def test_nothing_but_damage_is_an_error(self, tmp_path):
        (tmp_path / "sweep.duckdb").write_text("no database")
        with pytest.raises(ConfigError, match=r"not one campaign can be read\nleft out: .*sweep\.duckdb: cannot be read"):
            answer("SELECT 1", tmp_path)

    def test_a_copy_does_not_count_twice(self, tmp_path):
        records(campaign(tmp_path / "a"), {"request": 1})
        shutil.copytree(tmp_path / "a", tmp_path / "backup/a")
        sql = "SELECT (SELECT count(*) FROM trials), (SELECT count(*) FROM points), (SELECT count(*) FROM records)"
        found, (note,) = answer(sql, tmp_path)
        assert found == [(1, 1, 1)]
        assert "backup/a/sweep.duckdb: a copy of a" in note

    def test_a_newer_schema_is_refused_by_name(self, tmp_path):
        for name in ("a", "b"):
            campaign(tmp_path / name)
        with duckdb.connect(tmp_path / "b/sweep.duckdb") as connection:
            connection.execute("UPDATE about SET schema_version = '2.0'")
        with pytest.raises(NewerSchemaError, match=r"b/sweep\.duckdb: its schema_version is 2\.0"):
            answer("SELECT 1", tmp_path)


class TestStatements:
    @pytest.mark.parametrize(
        ("sql", "named"),
        [
            ("SELECT * FROM trials t JOIN (SELECT * FROM main.metrics) USING (trial_id)", {"trials", "metrics"}),
            ("WITH trials AS (SELECT 1 AS x) SELECT x FROM trials, Params", {"trials", "params"}),
            ("SELECT 'metrics' AS points -- slos", set()),
            ("SELECT (SELECT count(*) FROM slos) WHERE EXISTS (FROM reasons)", {"slos", "reasons"}),
            ("SUMMARIZE metrics", {"metrics"}),
            ("PIVOT metrics ON stat USING first(value)", {"metrics"}),
            ('WITH w AS (PIVOT "metrics" ON stat USING first(value)) FROM w', {"metrics"}),
            ("SELECT 1;", set()),
        ],
    )
    def test_only_tables_that_are_read_are_named(self, sql, named):
        with duckdb.connect() as connection:
            assert joined.named_tables(connection, sql, KNOWN) == named

    @pytest.mark.parametrize(
        "sql",
        [
            "DELETE FROM trials", "INSERT INTO trials VALUES (1)",
            "UPDATE trials SET number = 1", "CREATE TABLE x (y INTEGER)", "DROP TABLE trials",
            "ATTACH 'x.db'", "COPY trials TO 'x.csv'", "INSTALL httpfs", "LOAD httpfs", "PRAGMA version", "SET threads = 1",
            "CALL pragma_version()",
            "EXPLAIN ANALYZE SELECT 1", "USE memory", "CHECKPOINT", "BEGIN", "EXPORT DATABASE 'x'",
        ],
    )  # fmt: skip
    def test_what_does_not_read_is_refused(self, three, sql):
        with pytest.raises(ConfigError, match=f"query: {sql.split()[0]} is refused: a query only reads"):
            answer(sql, three)

    def test_changes_inside_of_a_query_are_refused(self, three):
        with pytest.raises(ConfigError, match="query: "):
            answer("WITH gone AS (DELETE FROM trials RETURNING *) FROM gone", three)
        with pytest.raises(ConfigError, match="query: "):
            answer("PIVOT (DELETE FROM trials RETURNING *) ON number USING count(*)", three)
        for sql in (
            "WITH g AS (DELETE FROM trials RETURNING *) PIVOT g ON number USING count(*)",
            "WITH g AS (SELECT '--') DELETE FROM trials",
            "WITH g AS (SELECT 1) /* ( */ INSERT INTO trials PIVOT g ON number USING count(*)",
        ):
            with pytest.raises(ConfigError, match=r"query: (DELETE is refused|INSERT is refused|A CTE needs)"):
                answer(sql, three)

    def test_what_is_in_comments_and_texts_is_no_statement(self, three):
        assert rows("SELECT '; delete (delete from' AS x /* ; (delete */ -- ; drop", three) == [("; delete (delete from",)]
        with pytest.raises(ConfigError, match="one statement at a time"):
            answer("SELECT '--'; SELECT 2", three)
        sql = "PIVOT (SELECT number FROM trials WHERE state <> '--' AND verdict = 'update') ON number USING count(*)"
        with duckdb.connect() as connection:
            assert joined.named_tables(connection, f"/* x */ -- y\n{sql}", KNOWN) == {"trials"}

    @pytest.mark.parametrize("sql", ["FROM '{file}'", "FROM read_csv('{file}')", "FROM read_text('{file}')", "FROM glob('/*')"])
    def test_no_other_file_is_read(self, three, tmp_path, sql):
        (tmp_path / "secret.csv").write_text("a\nsecret\n")
        with pytest.raises(ConfigError, match=r"(?s)query: .*(no other file|does not exist)") as caught:
            answer(sql.format(file=tmp_path / "secret.csv"), three)
        assert "secret\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("SELECT * FRM trials", ['query: syntax error at or near "trials"', "LINE 1: SELECT * FRM trials", "\n                     ^"]),
            ("SELECT verdct FROM trials", ['column "verdct" not found', '"verdict"', "LINE 1: SELECT verdct", "\n               ^"]),
            ("SELECT 1 FROM trails", ["trails does not exist", 'mean "trials"', "LINE 1", "tables: sweeps, trials, params"]),
            ("SELECT number\nFROM trials\nWHERE x = 1", ['"x"', "LINE 3: WHERE x = 1", "\n              ^"]),
            ("SELECT fist(number) FROM trials", ["Function with name fist does not exist", 'mean "first"']),
            ("SELECT 'x' + trial_id FROM trials", ["No function matches", "\t…"]),
            ("SELECT value::INTEGER FROM params WHERE campaign = 'c'", ["Could not convert string 'auto'"]),
            ("SELECT 1; SELECT 2", ["one statement at a time"]),
            ("", ["is empty"]),
            (" -- nothing", ["is empty"]),
        ],
    )  # fmt: skip
    def test_a_mistake_is_told_with_its_place_and_near_names(self, three, sql, said):
        with pytest.raises(ConfigError) as caught:
            answer(sql, three)
        assert len(caught.value.problems) == 1
        assert [word for word in said if word not in str(caught.value)] == []
        assert len(str(caught.value).splitlines()) <= 14

    def test_a_mistake_that_shows_late(self, three):
        with pytest.raises(ConfigError, match="Could not convert string 'x'"):
            answer("SELECT (CASE WHEN i = 90000 THEN 'x' ELSE '1' END)::INTEGER FROM range(100000) t(i)", three)

    def test_an_error_of_who_reads_stays_what_it_is(self, three):
        def broken():
            with joined.asked("FROM trials", campaigns(three)):
                raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            broken()


def test_many_campaigns_by_several_workers(tmp_path):
    campaign(tmp_path / "c0", sweep=replace(SWEEP, sweep_id="s0", started_ns=START))
    for number in range(1, 40):
        campaign(tmp_path / f"c{number}", trial(params={"x": number}))
    found = rows("SELECT count(*), count(DISTINCT campaign), sum(x) FROM points", tmp_path)
    assert found == [(40, 40, sum(range(40)))]
    assert rows("SELECT count(*), count(DISTINCT campaign) FROM metrics", tmp_path) == [(40 * 17, 40)]
