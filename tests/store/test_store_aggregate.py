"""sweep.duckdb: its tables are a contract, and no reader ever meets half of it."""

import itertools
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
import stored
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import RATE, START, SUMMARY, SWEEP, campaign, opened, records, sql_types, trial

from aiperf.errors import ConfigError, MeasureError
from aiperf.results import MetricValue
from aiperf.store import aggregate
from aiperf.store.aggregate import commit
from aiperf.store.campaign import NewerSchemaError
from aiperf.store.rows import Derived, flat
from aiperf.store.tables import MOST_COLUMNS, POINTS, record_columns

CONTRACT = {
    "sweeps": "sweep_id name planner objective state stop_reason started_at ended_at config",
    "trials": "trial_id sweep_id number repeat state verdict feasible objective started_at ended_at dir error",
    "params": "trial_id name value number",
    "metrics": "trial_id metric stat value unit n ci_low ci_high supported",
    "reasons": "trial_id reason detail",
    "slos": "trial_id metric stat op threshold value met",
    "derived": "sweep_id name value detail",
}


def asked(folder: Path, sql: str) -> list[tuple]:
    with opened(folder) as connection:
        return connection.execute(sql).fetchall()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestTables:
    @pytest.mark.parametrize(("table", "columns"), CONTRACT.items())
    def test_their_columns_are_the_contract(self, tmp_path, table, columns):
        campaign(tmp_path / "c")
        assert [row[0] for row in asked(tmp_path / "c", f"DESCRIBE {table}")] == columns.split()

    def test_numbers_are_numbers(self, tmp_path):
        campaign(tmp_path / "c")
        types = dict(row[:2] for row in asked(tmp_path / "c", "DESCRIBE metrics"))
        assert (types["value"], types["n"], types["supported"]) == ("DOUBLE", "BIGINT", "BOOLEAN")
        assert dict(row[:2] for row in asked(tmp_path / "c", "DESCRIBE trials"))["started_at"] == "TIMESTAMP"

    def test_keys(self, tmp_path):
        campaign(tmp_path / "c")
        found = asked(tmp_path / "c", "SELECT table_name FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'")
        assert sorted(name for (name,) in found) == ["metrics", "params", "slos", "sweeps", "trials"]

    def test_a_single_run_is_a_sweep_of_one(self, tmp_path):
        campaign(tmp_path / "c", sweep=SWEEP)
        (sweep,) = asked(tmp_path / "c", "SELECT sweep_id, name, planner, objective, state, epoch_us(started_at), config FROM sweeps")
        assert sweep == (SWEEP.sweep_id, "trial", "none", None, "complete", START // 1000, "seed: 42\n")
        (one,) = asked(
            tmp_path / "c", "SELECT trial_id, sweep_id, number, repeat, state, verdict, feasible, objective, dir, error FROM trials"
        )
        assert one == (f"{SWEEP.sweep_id}/0001", SWEEP.sweep_id, 1, 0, "complete", "INVALID", True, None, "trials/0001", None)

    def test_a_statistic_has_its_samples_and_whether_they_were_enough(self, tmp_path):
        campaign(tmp_path / "c")
        sql = "SELECT value, unit, n, supported FROM metrics WHERE metric = 'request_latency' AND stat = 'p{}'"
        assert asked(tmp_path / "c", sql.format(50)) == [(2.5, "ms", 3, True)]
        assert asked(tmp_path / "c", sql.format(99)) == [(2.5, "ms", 3, False)]

    def test_a_statistic_has_its_interval_where_there_is_one(self, tmp_path):
        bounded = replace(SUMMARY.metrics[0], intervals={"p50": (2.25, 2.75)})
        campaign(tmp_path / "c", trial(summary=replace(SUMMARY, metrics=(bounded,))))
        sql = "SELECT ci_low, ci_high FROM metrics WHERE metric = 'request_latency' AND stat = 'p{}'"
        assert asked(tmp_path / "c", sql.format(50)) == [(2.25, 2.75)]
        assert asked(tmp_path / "c", sql.format(99)) == [(None, None)]

    def test_of_the_whole_run_only_what_the_window_has_not(self, tmp_path):
        campaign(tmp_path / "c")
        found = asked(tmp_path / "c", "SELECT metric, value FROM metrics WHERE metric <> 'request_latency' ORDER BY ALL")
        assert found == [("benchmark_duration", 11.5), ("request_throughput", 12.5)]

    def test_reasons_and_promises(self, tmp_path):
        campaign(tmp_path / "c")
        assert asked(tmp_path / "c", "SELECT reason, detail FROM reasons") == [("errors", "1 of 4")]
        assert asked(tmp_path / "c", "SELECT metric, stat, op, threshold, value, met FROM slos") == [
            ("request_latency", "p99", "<=", 20.0, 2.5, True)
        ]

    def test_what_is_no_number_is_null(self, tmp_path):
        broken = replace(SUMMARY, metrics=(replace(RATE, stats={"avg": float("nan")}),))
        campaign(tmp_path / "c", trial(summary=broken, objective=float("inf")))
        assert asked(tmp_path / "c", "SELECT value FROM metrics WHERE metric = 'request_throughput'") == [(None,)]
        assert asked(tmp_path / "c", "SELECT objective FROM trials") == [(None,)]

    def test_a_failed_trial_has_no_numbers(self, tmp_path):
        campaign(tmp_path / "c", trial(state="failed", summary=None, error="no server"))
        found = asked(tmp_path / "c", "SELECT state, verdict, feasible, error, (SELECT count(*) FROM metrics) FROM trials")
        assert found == [("failed", None, None, "no server", 0)]
        assert asked(tmp_path / "c", "SELECT state, request_throughput FROM points") == [("failed", None)]

    @pytest.mark.parametrize(("slos", "gate_met", "feasible"), [((), True, None), (SUMMARY.slos, True, True), (SUMMARY.slos, False, False)])
    def test_feasible_is_every_promise_and_the_gate(self, tmp_path, slos, gate_met, feasible):
        campaign(tmp_path / "c", trial(summary=replace(SUMMARY, slos=slos, gate_met=gate_met)))
        assert asked(tmp_path / "c", "SELECT feasible FROM trials") == [(feasible,)]

    def test_params_are_text_and_numbers(self, tmp_path):
        given = {"a.int": 3, "a.float": 0.1, "a.word": "3", "a.flag": True, "a.list": ["x", 1], "a.none": None, "it's": 'q"q'}
        campaign(tmp_path / "c", trial(params=given))
        found = {name: (value, number) for name, value, number in asked(tmp_path / "c", "SELECT name, value, number FROM params")}
        assert found == {
            "a.int": ("3", 3.0), "a.float": ("0.1", 0.1), "a.word": ("3", None), "a.flag": ("true", None), "a.list": ('["x", 1]', None),
            "a.none": (None, None), "it's": ('q"q', None),
        }  # fmt: skip

    def test_nested_values_by_dotted_name(self):
        assert flat({"a": {"b": 1, "c": None, "d": {}}, "e": [], "f": [1], "g": False}) == {"a.b": 1, "f": [1], "g": False}


class TestCommits:
    def test_trials_are_added_and_replaced(self, tmp_path):
        for number in (1, 2, 2, 1):
            commit(tmp_path, SWEEP, [trial(number)])
        commit(tmp_path, replace(SWEEP, state="stopped"), [trial(2, state="failed", summary=None)])
        assert asked(tmp_path, "SELECT number, state FROM trials ORDER BY number") == [(1, "complete"), (2, "failed")]
        assert asked(tmp_path, "SELECT DISTINCT trial_id FROM metrics") == [(f"{SWEEP.sweep_id}/0001",)]
        assert asked(tmp_path, "SELECT state FROM sweeps") == [("stopped",)]
        assert asked(tmp_path, "SELECT number FROM points") == [(1,), (2,)]
        assert files(tmp_path) == ["sweep.duckdb"]

    def test_what_was_derived_is_replaced(self, tmp_path):
        commit(tmp_path, SWEEP, derived=[Derived("knee", 1.0), Derived("front", 2.0, "a"), Derived("front", 3.0, "b")])
        commit(tmp_path, SWEEP, derived=[Derived("knee", 4.0, "at 4")])
        assert asked(tmp_path, "SELECT name, value, detail FROM derived") == [("knee", 4.0, "at 4")]

    def test_many_trials_at_once(self, tmp_path):
        commit(tmp_path, SWEEP, [trial(number) for number in range(1, 6)])
        assert asked(tmp_path, 'SELECT number, "timing.concurrency" FROM points') == [(n, float(n)) for n in range(1, 6)]

    def test_what_a_killed_writer_left_is_in_nobodys_way(self, tmp_path):
        commit(tmp_path, SWEEP, [trial(1)])
        (tmp_path / "sweep.duckdb.part").write_bytes(b"half")
        (tmp_path / "sweep.duckdb.part.wal").write_bytes(b"half")
        assert asked(tmp_path, "SELECT count(*) FROM trials") == [(1,)]
        commit(tmp_path, SWEEP, [trial(2)])
        assert asked(tmp_path, "SELECT count(*) FROM trials") == [(2,)]
        assert files(tmp_path) == ["sweep.duckdb"]

    @pytest.mark.parametrize("at", [1, 3])
    def test_kill_9_loses_the_commit_in_flight_and_nothing_else(self, tmp_path, at):
        with subprocess.Popen([sys.executable, stored.__file__, tmp_path, "50"], stdout=subprocess.PIPE, text=True) as writer:
            said = [int(line) for line in itertools.islice(writer.stdout, at)]
            writer.kill()
        trials, points = asked(tmp_path, "SELECT (SELECT count(*) FROM trials), (SELECT count(*) FROM points)")[0]
        assert trials == points
        assert trials >= said[-1]
        commit(tmp_path, SWEEP, [trial(99)])
        assert asked(tmp_path, "SELECT count(*) FROM trials") == [(trials + 1,)]

    def test_readers_meet_the_old_file_or_the_new_one(self, tmp_path):
        for go in range(10):  # a reader that stands still meets few of them
            folder, seen = tmp_path / str(go), []
            folder.mkdir()
            commit(folder, SWEEP, [trial(1)])
            with subprocess.Popen([sys.executable, stored.__file__, folder, "25"], stdout=subprocess.DEVNULL) as writer:
                while writer.poll() is None:
                    (counts,) = asked(folder, "SELECT (SELECT count(*) FROM trials), (SELECT count(*) FROM points), count(*) FROM slos")
                    assert len(set(counts)) == 1
                    seen.append(counts[0])
            assert writer.returncode == 0
            assert seen == sorted(seen)
            if len(set(seen)) > 3:
                return
        pytest.fail("no reader met more than three of the files")


class TestPoints:
    def test_what_is_there_always_and_in_which_order(self, tmp_path):
        campaign(tmp_path / "c", trial(params={"b": 1, "a": "x"}))
        columns = [row[:2] for row in asked(tmp_path / "c", "DESCRIBE points")]
        assert [name for name, _ in columns if name not in POINTS.names] == ["b", "a"]
        assert {name: kind for name, kind in columns if name in POINTS.names} == sql_types(POINTS)
        assert columns[7:9] == [("b", "DOUBLE"), ("a", "VARCHAR")]
        assert asked(tmp_path / "c", "SELECT request_throughput, request_latency_p99, goodput, a, b FROM points") == [
            (12.5, 2.5, None, "x", 1.0)
        ]

    def test_at_most_64_columns_of_which_what_varies_comes_first(self, tmp_path):
        trials = [trial(n, params={**{f"p{i:03d}": 7 for i in range(100)}, "zz": n, "p050": n}) for n in (1, 2)]
        campaign(tmp_path / "c", *trials)
        names = [row[0] for row in asked(tmp_path / "c", "DESCRIBE points")]
        assert len(names) == MOST_COLUMNS
        assert [name for name in names if name not in POINTS.names][:3] == ["p050", "zz", "p000"]

    def test_a_parameter_is_text_if_it_is_text_anywhere(self, tmp_path):
        campaign(tmp_path / "c", trial(1, params={"x": 1, "y": 1}), trial(2, params={"x": "auto"}))
        assert asked(tmp_path / "c", "SELECT x, y FROM points") == [("1", 1.0), ("auto", None)]

    def test_names_that_differ_in_their_case_alone_and_names_of_columns(self, tmp_path):
        campaign(tmp_path / "c", trial(params={"Foo": 1, "foo": 2, "state": "x", "Number": 3}))
        assert asked(tmp_path / "c", 'SELECT "Foo", state, number FROM points') == [(1.0, "complete", 1)]

    @settings(max_examples=5)
    @given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
    def test_a_number_stays_the_same_to_its_last_digit(self, tmp_path_factory, values):
        folder = tmp_path_factory.mktemp("c")
        summaries = [replace(SUMMARY, metrics=(MetricValue("goodput", "requests/s", {"avg": value}, 1),)) for value in values]
        commit(folder, SWEEP, [trial(n, params={"x": v}, summary=s) for n, (v, s) in enumerate(zip(values, summaries))])
        assert asked(folder, "SELECT x, goodput FROM points") == [(value, value) for value in values]


class TestRecords:
    def test_they_are_read_from_where_the_folder_now_lies(self, tmp_path):
        records(campaign(tmp_path / "c"), {"request": 1, "phase": "profiling"}, {"request": 2, "error": "reset"})
        records(tmp_path / "c", {"request": 3}, name="0002")
        moved = (tmp_path / "c").rename(tmp_path / "it's here")
        found = asked(moved, "SELECT trial_id, request, error FROM records ORDER BY request")
        assert found == [("c/0001", 1, None), ("c/0001", 2, "reset"), ("c/0002", 3, None)]
        joined = "SELECT t.number, count(*) FROM records JOIN trials t USING (trial_id) GROUP BY ALL"
        assert asked(moved, joined) == [(1, 2)]

    def test_without_records_the_view_is_empty_and_typed(self, tmp_path):
        campaign(tmp_path / "c")
        assert asked(tmp_path / "c", "SELECT count(*), max(end_ns - sent_ns), max(request_latency) FROM records") == [(0, None, None)]
        empty = [row[:2] for row in asked(tmp_path / "c", "DESCRIBE records")]
        assert empty == [("campaign", "VARCHAR"), ("trial_id", "VARCHAR"), *sql_types(record_columns()).items()]
        records(tmp_path / "c", {"request": 1})
        full = [row[:2] for row in asked(tmp_path / "c", "DESCRIBE records")]
        assert full == empty[: len(full)]


class TestRefusals:
    def test_a_full_disk_is_told_and_nothing_half_written_is_left(self, tmp_path):
        commit(tmp_path, SWEEP, [trial(1)])
        before = (tmp_path / "sweep.duckdb").read_bytes()

        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

        writer = subprocess.run(
            [sys.executable, stored.__file__, tmp_path, "50"], preexec_fn=small_files, capture_output=True, text=True, check=False
        )
        assert "MeasureError" in writer.stderr
        assert "sweep.duckdb: cannot be written (" in writer.stderr
        assert files(tmp_path) == ["sweep.duckdb"]
        assert (tmp_path / "sweep.duckdb").read_bytes() == before

    def test_a_folder_that_refuses(self, tmp_path):
        (tmp_path / "sweep.duckdb.part").mkdir()
        with pytest.raises(MeasureError, match=r"sweep\.duckdb: cannot be written \(Is a directory\)"):
            commit(tmp_path, SWEEP, [trial()])
        with pytest.raises(MeasureError, match="cannot be written"):
            commit(tmp_path / "absent", SWEEP, [trial()])

    def test_a_damaged_file_is_not_written_over(self, tmp_path):
        (tmp_path / "sweep.duckdb").write_text("no database")
        with pytest.raises(MeasureError, match="not a valid DuckDB"):
            commit(tmp_path, SWEEP, [trial()])
        assert (tmp_path / "sweep.duckdb").read_text() == "no database"
        assert files(tmp_path) == ["sweep.duckdb"]

    @pytest.mark.parametrize(
        ("spoil", "error", "said"),
        [
            ("UPDATE about SET schema_version = '2.0'", NewerSchemaError, "schema_version is 2.0, this version of aiperf reads 1.0"),
            ("DROP TABLE about", ConfigError, "no aggregate of aiperf"),
            ("DELETE FROM about", ConfigError, "not of 0"),
        ],
    )
    def test_what_is_not_ours(self, tmp_path, spoil, error, said):
        campaign(tmp_path / "c")
        with duckdb.connect(tmp_path / "c" / "sweep.duckdb") as connection:
            connection.execute(spoil)
        with pytest.raises(error, match=said):
            asked(tmp_path / "c", "SELECT 1")

    def test_a_file_that_grew_is_read(self, tmp_path):
        campaign(tmp_path / "c")
        with duckdb.connect(tmp_path / "c" / "sweep.duckdb") as connection:
            connection.execute("UPDATE about SET schema_version = '1.7'")
            connection.execute("ALTER TABLE trials ADD COLUMN later INTEGER")
        assert asked(tmp_path / "c", "SELECT number, later FROM trials") == [(1, None)]

    def test_no_file(self, tmp_path):
        with pytest.raises(ConfigError, match=r"sweep\.duckdb: cannot be read"):
            asked(tmp_path, "SELECT 1")

    def test_a_writer_is_waited_for_but_not_for_ever(self, tmp_path, monkeypatch):
        campaign(tmp_path)
        hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", hold, tmp_path / "sweep.duckdb"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "held\n"
            monkeypatch.setattr(aggregate, "_PATIENCE_S", 0.1)
            with pytest.raises(MeasureError, match=r"has been writing to it for 0\.1 s"):
                asked(tmp_path, "SELECT 1")
            monkeypatch.setattr(aggregate, "_PATIENCE_S", 20)
            monkeypatch.setattr(aggregate.clock, "sleep", lambda _: writer.communicate())
            assert asked(tmp_path, "SELECT count(*) FROM trials") == [(1,)]
