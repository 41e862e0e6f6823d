"""Who decides when rows of a file are played: a choice, a key, or the data's own times."""

import pytest

DATA = ("dataset=mooncake_trace", "dataset.path=pkg://samples/mooncake_200.jsonl")


def test_nothing_said_leaves_it_to_the_data(compose):
    composed = compose(*DATA, "timing.warmup.requests=3")
    assert composed.experiment.timing.type == "concurrency"
    timed = composed.if_timed().experiment.timing
    assert (timed.type, timed.stop.duration_s, timed.warmup.requests) == ("fixed_schedule", None, 3)


@pytest.mark.parametrize("key", ["speedup=3", "start_s=1", "end_s=9", "offset=kept"])
def test_a_key_that_only_times_have_decides(key, compose):
    composed = compose(*DATA, f"timing.{key}")
    assert (composed.experiment.timing.type, composed.choices["timing"], composed.if_timed) == ("fixed_schedule", "fixed_schedule", None)


@pytest.mark.parametrize("said", ["timing=concurrency", "timing.concurrency=3", "timing.type=concurrency", "timing=request_rate"])
def test_a_choice_or_a_key_of_another_timing_decides(said, compose):
    assert compose(*DATA, said).if_timed is None


def test_an_experiments_choice_decides(write, compose):
    write("experiments/one.yaml", "choose: {dataset: mooncake_trace, timing: concurrency}\ndataset: {path: a.jsonl}\n")
    assert compose("experiment=one").if_timed is None
    write("experiments/two.yaml", "choose: {dataset: mooncake_trace}\ndataset: {path: a.jsonl}\ntiming: {concurrency: 4}\n")
    assert compose("experiment=two").if_timed is None
    write(
        "experiments/three.yaml", "defaults: [override /timing: concurrency]\nchoose: {dataset: mooncake_trace}\ndataset: {path: a.jsonl}\n"
    )
    assert compose("experiment=three").if_timed is None


def test_an_experiments_other_keys_stay(write, compose):
    write(
        "experiments/one.yaml", "choose: {dataset: mooncake_trace}\ndataset: {path: a.jsonl}\ntiming: {speedup: 4, stop: {requests: 9}}\n"
    )
    timing = compose("experiment=one").experiment.timing
    assert (timing.type, timing.speedup, timing.stop.requests) == ("fixed_schedule", 4, 9)


def test_what_was_composed_from_times_composes_again_alike(compose, write):
    text = compose(*DATA).if_timed().text
    write("experiments/again.yaml", text)
    again = compose("experiment=again")
    assert (again.experiment.timing.type, again.if_timed) == ("fixed_schedule", None)


def test_drawn_data_have_no_times(compose):
    assert compose().if_timed is None
