from dataclasses import replace
from functools import partial

import pyarrow as pa
import pytest
from spooled import DONE, OFFSET, ROLE, START, Parent, data, exchange, good, spool, task, token, writer

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.chat import ChatEndpoint
from aiperf.errors import MeasureError
from aiperf.metrics.columns import has_metrics
from aiperf.plugin import plugins
from aiperf.processing import processor
from aiperf.processing.assembly import DIED
from aiperf.processing.processor import process_job
from aiperf.records import SCHEMA
from aiperf.spool import Exchange
from aiperf.store.parquet import read_records, write_plan

MS = 1_000_000
SECOND = 1000 * MS


def run(job, parent=None):
    parent = parent or Parent()
    process_job(parent, job)
    (said,) = parent.said
    found = read_records(job.records)
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
        "torn_bytes": [0, 0],
        "read_bytes": [path.stat().st_size for path in spools],
        "clock_step_ns": 0,
        "samples": {"error_event": '{"error": "boom"}'},
        "failures": {},
        "asides_cut": 0,
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
    found = read_records(job.records)
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
    assert (said["records"], rows, said["frames"], said["torn_bytes"]) == (0, {}, 0, [0])


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
    assert not list(tmp_path.rglob("*.parquet*"))


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

    def test_a_plan_that_a_stop_rule_has_ended_holds_nothing_later(self, tmp_path):
        sent = good(1, due=START - OFFSET + SECOND)
        job = task(tmp_path, [spool(tmp_path / "0", [sent])], plan=self.plan(tmp_path / "plan.parquet"))
        _, rows = run(job, Parent([("cut", 2 * SECOND), "finish"]))
        assert [(n, rows[n]["error"]) for n in rows] == [(0, "unsent"), (1, None), (2, "unsent")]

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
    assert said["damaged"][0].startswith("0: the frame at byte ")


def test_a_torn_tail_is_counted(tmp_path):
    spool(tmp_path / "0", [good(0)])
    with (tmp_path / "0").open("ab") as file:
        file.write(b"\x99\x00\x00\x00torn")
    said, rows = run(task(tmp_path, [tmp_path / "0"]))
    assert (list(rows), said["torn_bytes"]) == ([0], [8])


def test_a_request_that_was_never_answered(tmp_path):
    refused = Exchange(0, phase=1, due=START - OFFSET, ready=START, started=START, error="connect", reason="connection refused")
    said, rows = run(task(tmp_path, [spool(tmp_path / "0", [refused])]))
    assert (rows[0]["error"], rows[0]["reason"], rows[0]["status"], rows[0]["stamp"]) == ("connect", "connection refused", None, None)
    assert rows[0]["schedule_lateness"] == 0
    assert said["samples"] == {"connect": "connection refused"}


def test_a_disk_that_refuses_is_an_error_that_names_the_file(tmp_path):
    job = task(tmp_path, [spool(tmp_path / "0", [good(0)])])
    (job.records / "0000.parquet.part").mkdir(parents=True)
    parent = Parent()
    with pytest.raises(MeasureError, match=r"0000.parquet: cannot be written \(.+\)"):
        process_job(parent, job)
    assert parent.said == []
    assert not list(tmp_path.rglob("*.parquet"))


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


class TestAnEndpointOfAnotherPackage:
    """What it says besides, and metrics that fail, reach the records and the parent."""

    @pytest.fixture(autouse=True)
    def _registry(self):
        yield
        plugins.reset_registry()

    def run(self, folder, *asides):
        return self.changed(folder, *(partial(replace, plugin=aside) for aside in asides))

    def changed(self, folder, *changes):
        """A run whose answers are each what a function makes of the true one."""
        left = list(changes)

        class Talking(ChatEndpoint):
            def answer(self, exchange):
                return left.pop(0)(super().answer(exchange))

        plugins.register("endpoint", "talking", Talking, metadata=plugins.get_metadata("endpoint", "chat"))
        job = task(folder, [spool(folder / "0", [good(n) for n in range(len(changes))])])
        return run(replace(job, endpoint=Endpoint(url=("http://a",), type="talking")))

    def test_that_says_what_cannot_be_has_a_client_error_a_request(self, tmp_path):
        wrong = {
            "NoneType": lambda said: None,
            "no Said but a dict": lambda said: {"text": "a"},
            "Expected `int | null`, got `str`": partial(replace, output_tokens="12"),
            "Expected `str | null`, got `int`": partial(replace, error=3),
            "error class that there is not: 'slow'": partial(replace, error="slow"),
            "surrogates not allowed": partial(replace, finish_reason="\ud800"),
            "RuntimeError: \N{REPLACEMENT CHARACTER}": lambda said: (_ for _ in ()).throw(RuntimeError("\ud800")),
            "not of one length": partial(replace, reads=[]),
            "a read that there cannot be: 99": lambda said: replace(said, reads=[99] * len(said.reads)),
            "a channel that there cannot be: -1": lambda said: replace(said, channels=[-1] * len(said.reads)),
            "a count that there cannot be: 4294967296": partial(replace, output_tokens=2**32),
            "a count that there cannot be: -5": partial(replace, choices=-5),
            "ZeroDivisionError": lambda said: 1 / 0,
        }
        said, rows = self.changed(tmp_path, *wrong.values(), lambda said: said)
        assert [row["error"] for row in rows.values()] == [*["client"] * len(wrong), None]
        for part, row in zip(wrong, rows.values()):
            assert row["reason"].startswith(f"endpoint:talking of {__name__}: ")
            assert part in row["reason"]
        assert said["samples"].keys() == {"client"}

    def test_is_heard_besides(self, tmp_path):
        said, rows = self.run(tmp_path, {"took_ms": 3, "of": {"nan": float("nan")}}, None, {}, {"log": "x" * 70_000, "n": 1})
        assert [row["plugin"] for row in rows.values()] == ['{"took_ms": 3, "of": {"nan": null}}', None, None, '{"n": 1.0}']
        assert (said["asides_cut"], said["failures"]) == (1, {})

    def test_that_says_what_cannot_be_written_keeps_its_rows(self, tmp_path):
        said, rows = self.run(tmp_path, {(1, 2): 3}, {"n": 1}, 7)
        assert [row["plugin"] for row in rows.values()] == [None, '{"n": 1}', None]
        assert [row["error"] for row in rows.values()] == [None] * 3
        assert said["failures"]["plugin"].startswith(f"endpoint:talking of {__name__}: TypeError: keys must be")

    def test_metrics_that_fail_are_told_once_of_all_batches(self, tmp_path, monkeypatch):
        monkeypatch.setattr(processor, "BATCH_ROWS", 2)
        plugins.register("record_processor", "words", lambda records: [1] * (3 - len(records)), metadata={"unit": "words"})
        said, rows = run(task(tmp_path, [spool(tmp_path / "0", [good(n) for n in range(3)])]))
        assert [row["words"] for row in rows.values()] == [None] * 3
        assert list(said["failures"]) == ["words"]
        assert said["failures"]["words"].startswith(f"metric words of {__name__}: ValueError: it returned 1 values for 2 rows")
