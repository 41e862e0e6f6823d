import pyarrow as pa
import pytest
from spooled import DONE, OFFSET, ROLE, START, Parent, data, exchange, good, spool, task, token, writer

from aiperf.errors import MeasureError
from aiperf.metrics.columns import has_metrics
from aiperf.processing import processor
from aiperf.processing.processor import process_job
from aiperf.processing.unsent import DIED
from aiperf.records import SCHEMA
from aiperf.spool import Exchange
from aiperf.store.parquet import read_records, write_plan

MS = 1_000_000
SECOND = 1000 * MS


def run(job, parent=None):
    parent = parent or Parent()
    process_job(parent, job)
    (said,) = parent.said
    found = read_records(job.records.parent)
    assert found.num_rows == said["records"]
    return said, {row["request"]: row for row in found.to_pylist()}


def test_records_of_a_finished_run(tmp_path):
    bad = exchange(3, [ROLE, token(), data({"error": "boom"})])
    thinking = exchange(2, [token("<think>"), token("x", "stop"), DONE])
    spools = [spool(tmp_path / "0", [good(0), thinking], offsets=[OFFSET]), spool(tmp_path / "1", [bad, good(1, 4)])]
    said, rows = run(task(tmp_path, spools))
    assert said == {
        "done": True,
        "records": 4,
        "damaged": [],
        "torn_bytes": 0,
        "clock_step_ns": 0,
        "samples": {"error_event": '{"error": "boom"}'},
        "think_tags": 1,
        "usage_missing": 1,
        "client_counted": 0,
        "frames": 2,
    }
    assert list(rows) == [0, 1, 2, 3]
    assert [rows[n]["generator"] for n in range(4)] == [0, 1, 0, 1]
    assert [rows[n]["error"] for n in range(4)] == [None, None, None, "error_event"]
    assert rows[1]["time_to_first_token"] == pytest.approx(2)
    assert rows[1]["request_latency"] == pytest.approx(5)
    assert rows[1]["inter_token_latency"] == pytest.approx(1)
    assert rows[3]["time_to_first_token"] is None
    assert rows[3]["first_token_ns"] == START + 2 * MS
    assert [row["due_ns"] for row in rows.values()] == [START] * 4


def test_the_file_holds_every_column(tmp_path):
    job = task(tmp_path, [spool(tmp_path / "0", [good(0)])])
    run(job)
    found = read_records(job.records.parent)
    assert found.schema.names[: len(SCHEMA)] == SCHEMA.names
    assert has_metrics(found)


def test_shards_are_the_whole(tmp_path):
    spools = [spool(tmp_path / str(g), [good(n) for n in range(g, 20, 2)]) for g in range(2)]
    counts = [run(task(tmp_path / f"shard{shard}", spools, shard=shard, shards=3)) for shard in range(3)]
    assert [said["records"] for said, _ in counts] == [7, 7, 6]
    assert sorted(n for _, rows in counts for n in rows) == list(range(20))


def test_many_requests_are_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "BATCH_ROWS", 4)
    said, rows = run(task(tmp_path, [spool(tmp_path / "0", [good(n) for n in range(11)])]))
    assert (said["records"], len(rows)) == (11, 11)


def test_a_run_of_nothing_is_an_empty_file(tmp_path):
    said, rows = run(task(tmp_path, [tmp_path / "never"]))
    assert (said["records"], rows, said["frames"], said["torn_bytes"]) == (0, {}, 0, 0)


def test_follows_the_spool_while_it_grows(tmp_path):
    file = writer(tmp_path / "0", [OFFSET, OFFSET + 5])
    started = exchange(1, [ROLE, token()])

    def first(_):
        file.put(started, last=False)
        file.put(good(0), last=True)
        file.cut()

    def second(_):
        started.stamps.extend([START + 3 * MS, START + 4 * MS])
        started.bodies.extend([token("b", "stop"), DONE])
        started.marks.extend([0, 4, START])
        file.put(started, last=True)
        file.close()
        return "finish"

    said, rows = run(task(tmp_path, [tmp_path / "0"]), Parent([None, first, None, second]))
    assert (said["frames"], said["clock_step_ns"]) == (2, 5)
    assert rows[1]["chunk_ns"] == [START + 2 * MS, START + 3 * MS]
    assert rows[1]["error"] is None


def test_what_comes_between_the_last_look_and_finish_is_read(tmp_path):
    spools = [spool(tmp_path / "0", [good(0)])]

    def late(parent):
        spool(tmp_path / "1", [good(1)])
        return "finish"

    _, rows = run(task(tmp_path, [tmp_path / "1", *spools]), Parent([None, late]))
    assert list(rows) == [0, 1]


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_a_parent_that_is_gone_ends_it_at_once_without_a_file(tmp_path, looks):
    def gone(parent):
        parent.closed = True

    job = task(tmp_path, [spool(tmp_path / "0", [good(0)]), spool(tmp_path / "1", [good(1)])])
    parent = Parent([*[None] * looks, gone])
    process_job(parent, job)
    assert parent.said == []
    assert not job.records.exists()


class TestAGeneratorThatDied:
    def test_leaves_answers_without_an_end(self, tmp_path):
        file = writer(tmp_path / "0")
        file.put(good(0), last=True)
        file.put(exchange(1, [ROLE, token()]), last=False)
        file.close()
        said, rows = run(task(tmp_path, [tmp_path / "0"]))
        assert (rows[1]["error"], rows[1]["reason"], rows[1]["first_token_ns"]) == ("abandoned", DIED, START + 2 * MS)
        assert said["samples"] == {"abandoned": DIED}

    def plan(self, path, count=4, due_ns=(0, SECOND, 2 * SECOND, 3 * SECOND)):
        columns = {
            "request": list(range(count)),
            "phase": ["profiling"] * count,
            "due_ns": list(due_ns),
            "conversation": [n * 10 for n in range(count)],
            "turn": [0] * count,
            "input_tokens": [7] * count,
            "output_tokens": [0, 1, 2, 3],
            "seed": [1] * count,
        }
        write_plan(path, pa.table(columns))
        return path

    def test_leaves_plans_without_a_request(self, tmp_path):
        sent = good(1, due=START - OFFSET + SECOND)
        job = task(tmp_path, [spool(tmp_path / "0", [sent])], plan=self.plan(tmp_path / "plan.parquet"))
        said, rows = run(job)
        assert list(rows) == [0, 1, 2, 3]
        assert [rows[n]["due_ns"] for n in range(4)] == [START, START + SECOND, START + 2 * SECOND, START + 3 * SECOND]
        assert [rows[n]["error"] for n in range(4)] == ["unsent", None, "unsent", "unsent"]
        assert {rows[n]["reason"] for n in (0, 2, 3)} == {DIED}
        assert [(rows[n]["session"], rows[n]["asked_output_tokens"], rows[n]["phase"]) for n in (0, 2)] == [
            (0, None, "profiling"),
            (20, 2, "profiling"),
        ]
        assert (rows[0]["started_ns"], rows[0]["generator"]) == (None, None)
        assert said["samples"] == {"unsent": DIED}

    def test_before_it_sent_anything_leaves_the_clock_unknown(self, tmp_path):
        _, rows = run(task(tmp_path, [tmp_path / "0"], plan=self.plan(tmp_path / "plan.parquet")))
        assert [row["due_ns"] for row in rows.values()] == [None] * 4

    def test_each_shard_accounts_for_its_own(self, tmp_path):
        plan = self.plan(tmp_path / "plan.parquet")
        spools = [spool(tmp_path / "0", [good(0)])]
        _, even = run(task(tmp_path / "a", spools, plan=plan, shards=2))
        _, odd = run(task(tmp_path / "b", spools, plan=plan, shards=2, shard=1))
        assert (list(even), list(odd)) == ([0, 2], [1, 3])

    def test_nothing_is_missing_where_all_was_sent(self, tmp_path):
        job = task(tmp_path, [spool(tmp_path / "0", [good(n) for n in range(4)])], plan=self.plan(tmp_path / "plan.parquet"))
        said, _ = run(job)
        assert said["samples"] == {}


def test_damage_keeps_what_came_before_and_is_reported(tmp_path):
    file = writer(tmp_path / "0")
    for n in range(2):
        file.put(good(n), last=True)
        file.cut()
    file.close()
    broken = bytearray((tmp_path / "0").read_bytes())
    broken[-1] ^= 1
    (tmp_path / "0").write_bytes(broken)
    said, rows = run(task(tmp_path, [tmp_path / "0", spool(tmp_path / "1", [good(5)])]))
    assert list(rows) == [0, 5]
    assert len(said["damaged"]) == 1
    assert str(tmp_path / "0") in said["damaged"][0]


def test_a_torn_tail_is_counted(tmp_path):
    spool(tmp_path / "0", [good(0)])
    with (tmp_path / "0").open("ab") as file:
        file.write(b"\x99\x00\x00\x00torn")
    said, rows = run(task(tmp_path, [tmp_path / "0"]))
    assert (list(rows), said["torn_bytes"]) == ([0], 8)


def test_a_request_that_was_never_answered(tmp_path):
    refused = Exchange(0, phase=1, due=START - OFFSET, ready=START, started=START, error="connect", reason="connection refused")
    said, rows = run(task(tmp_path, [spool(tmp_path / "0", [refused])]))
    assert (rows[0]["error"], rows[0]["reason"], rows[0]["status"], rows[0]["stamp"]) == ("connect", "connection refused", None, None)
    assert rows[0]["schedule_lateness"] == 0
    assert said["samples"] == {"connect": "connection refused"}


def test_a_disk_that_refuses_is_an_error_that_names_the_file(tmp_path):
    job = task(tmp_path, [spool(tmp_path / "0", [good(0)])])
    job.records.with_name(job.records.name + ".part").mkdir(parents=True)
    parent = Parent()
    with pytest.raises(MeasureError, match=rf"{job.records.name}: cannot be written \(.+\)"):
        process_job(parent, job)
    assert parent.said == []
    assert not job.records.exists()


@pytest.mark.parametrize(
    ("made", "tag", "value"),
    [
        (exchange(0, [ROLE, data({"choices": [{"delta": {}, "finish_reason": "stop"}]}), DONE]), "request_latency", None),
        (exchange(0, [b'{"choices": [{"message": {"content": ""}}]}'], content_type="application/json"), "request_latency", 1.0),
    ],
)
def test_an_answer_without_a_token_has_a_latency_only_where_it_was_not_streamed(tmp_path, made, tag, value):
    _, rows = run(task(tmp_path, [spool(tmp_path / "0", [made])]), Parent(["finish"]))
    assert (rows[0]["error"], rows[0][tag]) == (None, value)
