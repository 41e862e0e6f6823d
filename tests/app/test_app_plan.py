"""The plan before the start: its table, its words, its salt."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from aiperf.app import plan as planning
from aiperf.app.data import data, salt_of
from aiperf.app.plan import Plan
from aiperf.app.session import table
from aiperf.app.words import lines
from aiperf.config.experiment import Cluster, Experiment, Goodput
from aiperf.errors import ConfigError
from aiperf.plugin import plugins
from aiperf.store.parquet import PLAN_SCHEMA
from aiperf.workload import WARMUP_FROM, Phase, Schedule

SECOND = 1_000_000_000


def experiment(timing: dict[str, object], **groups: object) -> Experiment:
    return Experiment.model_validate({"endpoint": {"url": "http://h:1"}, "timing": timing, "seed": 3, **groups})


def closed(**timing: object) -> Experiment:
    return experiment({"type": "concurrency", "concurrency": 4, "stop": {"requests": 10}, **timing})


def open_loop(**timing: object) -> Experiment:
    return experiment({"type": "request_rate", "rate": 10, "arrival": "constant", "stop": {"duration_s": 2}, **timing})


def traced(path: Path, **timing: object) -> Experiment:
    rows = [{"timestamp": 500 * i, "input_length": 100 + i, "output_length": 5 + i, "hash_ids": [i]} for i in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = {"type": "custom", "format": "mooncake_trace", "path": str(path)}
    return experiment({"type": "fixed_schedule", **timing}, dataset=dataset)


def made(of: Experiment) -> Plan:
    return planning.make(of, data(of, "salt", print))


def test_in_open_loop_every_arrival_is_in_the_table() -> None:
    plan = made(open_loop(warmup={"requests": 5}))
    laid = table(plan, 3)
    assert laid.schema == PLAN_SCHEMA
    assert laid["request"].to_pylist() == [*range(20), *range(WARMUP_FROM, WARMUP_FROM + 5)]
    assert laid["phase"].to_pylist() == ["profiling"] * 20 + ["warmup"] * 5
    due = laid["due_ns"].to_numpy()
    assert due[20:].tolist() == [i * SECOND // 10 for i in range(5)]
    assert (due[:20] - due[0]).tolist() == [i * SECOND // 10 for i in range(20)]
    assert due[0] == plan.schedule.phases[0].duration_ns
    assert set(laid["seed"].to_pylist()) == {3}
    assert set(laid["turn"].to_pylist()) == {0}
    assert (plan.open_loop, plan.planned, plan.stop_ns) == (True, 20, 2 * SECOND)


def test_in_closed_loop_the_table_holds_what_was_reached() -> None:
    plan = made(closed(warmup={"requests": 3}))
    assert table(plan, 3).num_rows == 13
    laid = table(plan, 3, np.array([*range(7), *range(WARMUP_FROM, WARMUP_FROM + 3)])[::-1])
    assert laid["request"].to_pylist() == [*range(7), *range(WARMUP_FROM, WARMUP_FROM + 3)]
    assert laid["due_ns"].null_count == 10
    assert laid["conversation"].to_pylist() == [*range(7), *range(3)]
    assert (plan.open_loop, plan.planned, plan.stop_ns) == (False, 10, None)


def test_where_only_the_load_shows_how_many_there_are_none_are_planned() -> None:
    assert made(closed(stop={"duration_s": 5})).planned is None


def test_a_trace_keeps_its_rows_lengths_and_times(tmp_path: Path) -> None:
    plan = made(traced(tmp_path / "t.jsonl", speedup=2, start_s=0.9))
    laid = table(plan, 3)
    assert laid["conversation"].to_pylist() == [2, 3, 4, 5]
    assert laid["input_tokens"].to_pylist() == [102, 103, 104, 105]
    assert laid["output_tokens"].to_pylist() == [7, 8, 9, 10]
    assert laid["due_ns"].to_pylist() == [i * SECOND // 4 for i in range(4)]


def test_the_same_seed_is_the_same_plan_and_another_is_not() -> None:
    drawn = {"arrival": "poisson"}
    tables = [table(made(of), 3) for of in (open_loop(**drawn), open_loop(**drawn))]
    assert tables[0].equals(tables[1])
    other = open_loop(**drawn).model_copy(update={"seed": 4})
    assert not np.array_equal(table(made(other), 4)["due_ns"].to_numpy(), tables[0]["due_ns"].to_numpy())


def test_data_without_times_cannot_be_played_at_their_times() -> None:
    with pytest.raises(ConfigError, match="recorded times"):
        made(experiment({"type": "fixed_schedule"}))


@pytest.mark.parametrize(("word", "salt"), [("run", "a1b2c3"), ("none", ""), ("mine", "mine")])
def test_the_salt_is_the_runs_none_or_a_word(word: str, salt: str) -> None:
    assert salt_of(word, "a1b2c3") == salt


def test_a_salt_makes_other_text_of_the_same_length() -> None:
    of = closed()
    texts = [data(of, salt, print).source.turn(0, warmup=False).text for salt in ("a", "b", "a")]
    assert texts[0] == texts[2] != texts[1]
    assert len(texts[0].split()) == len(texts[1].split())


def test_the_hash_is_the_files(tmp_path: Path) -> None:
    of = traced(tmp_path / "t.jsonl")
    assert planning.data_hash(of) == hashlib.sha256((tmp_path / "t.jsonl").read_bytes()).hexdigest()
    assert planning.data_hash(closed()) is None


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (closed(), ["http://h:1, streamed; no sampling parameters", "prompts of", "4 in flight (closed loop); 10 requests; no warm-up"]),
        (closed(warmup={"duration_s": 3}, stop={"duration_s": 60}), ["4 in flight (closed loop); 60 s; warm-up of 3 s before it"]),
        (closed(stop={"duration_s": 60, "requests": 5000}), ["5,000 requests or 60 s"]),
        (open_loop(), ["10 arrivals a second, constant; 20 requests in 2 s"]),
        (open_loop(concurrency=3, warmup={"requests": 5}), ["constant, at most 3 in flight; ", "warm-up of 5 requests before it"]),
    ],
)
def test_the_plan_in_words(of: Experiment, words: list[str]) -> None:
    said = "\n".join(lines(of, made(of)))
    assert all(word in said for word in words), said


def test_what_is_sent_besides_is_said() -> None:
    of = closed().model_copy(update={"dataset": closed().dataset.model_copy(update={"salt": "mine"})})
    extra = of.endpoint.model_copy(update={"extra": {"top_p": 0.5, "temperature": 0}, "streaming": False})
    said = "\n".join(lines(of.model_copy(update={"endpoint": extra}), made(of)))
    assert "not streamed; every body carries temperature, top_p" in said
    assert "salted with 'mine'" in said


def test_a_trace_in_words(tmp_path: Path) -> None:
    of = traced(tmp_path / "t.jsonl", speedup=2)
    said = "\n".join(lines(of, made(of)))
    assert "the recorded times, 2 times as fast" in said
    assert "prompts of 100 to 105 (mean 102) tokens, text unique to this run; answers of 5 to 10 (mean 8) tokens asked for" in said


def test_a_promise_that_the_plan_cannot_support_is_said_before_it_starts() -> None:
    slos = {"time_to_first_token": {"p99": 400, "p90": 300, "avg": 200}, "inter_chunk_latency": {"p99": 9}}
    said = []
    for count in (200, 662):
        of = closed(stop={"requests": count}).model_copy(update={"goodput": Goodput(slos=slos)})
        said += [line for line in lines(of, made(of)) if line.startswith("note")]
    needs = "goodput.slos.time_to_first_token.p99 needs 662 requests, the plan holds 200"
    assert said == [f"note      {needs}: the verdict will be INVALID (too_few_samples)"]


@pytest.mark.parametrize("generators", [1, 2, 3])
def test_the_plan_is_the_same_for_any_number_of_generators(generators: int) -> None:
    for of, options in ((open_loop, {"warmup": {"requests": 5}}), (closed, {"warmup": {"requests": 3}})):
        one, several = (made(of(**options).model_copy(update={"cluster": Cluster(generators=n)})) for n in (1, generators))
        assert table(several, 3).equals(table(one, 3))


class OneSlot:
    """A strategy that has its own idea of a level."""

    def __init__(self, timing: object, *, seed: int) -> None:
        pass

    def schedule(self, recorded_ns: object) -> Schedule:
        return Schedule((Phase("profiling", requests=5),), 0)


def test_a_strategy_s_plan_that_generators_cannot_share_is_refused(request: pytest.FixtureRequest) -> None:
    plugins.register("timing_strategy", "one_slot", OneSlot)
    request.addfinalizer(plugins.reset_registry)
    alone = closed().model_copy(update={"timing": closed().timing.model_copy(update={"type": "one_slot"})})
    assert made(alone).planned == 5
    with pytest.raises(ConfigError, match=r"cluster.generators=2: each needs a slot of its own, and the plan has 1"):
        made(alone.model_copy(update={"cluster": Cluster(generators=2)}))
