"""Which rules an experiment asks for."""

from typing import Any

import numpy as np
import pytest

from aiperf.app.conduct import precision_of, stop_rule
from aiperf.config.experiment import Experiment
from aiperf.results import Pulse


def experiment(stop: dict[str, Any], **endpoint: object) -> Experiment:
    said = {"endpoint": {"url": "http://h:1", **endpoint}, "timing": {"concurrency": 4, "stop": {"requests": 10, **stop}}}
    return Experiment.model_validate(said)


def pulse(first: dict[int, int], failed: int = 0) -> Pulse:
    return Pulse(0, 0, "profiling", 0, 0, 0, 0, {"reset": failed}, 0, 0, 0.0, first, {})


def test_a_plan_alone_needs_no_pulses() -> None:
    assert stop_rule(experiment({})) is None


@pytest.mark.parametrize(
    ("stop", "endpoint", "expected"),
    [
        ({}, {}, ("time_to_first_token.p50", "time_to_first_token.p99")),
        ({}, {"streaming": False}, ("request_latency.p50", "request_latency.p99")),
        ({"precision_of": "request_latency.p90"}, {}, ("request_latency.p90",)),
    ],
)
def test_what_is_to_be_known(stop: dict[str, Any], endpoint: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert precision_of(experiment({"precision": 0.05, **stop}, **endpoint)) == expected


def test_each_rule_that_is_asked_for_ends_the_run() -> None:
    draw = np.random.default_rng(1)
    pulses = [pulse({int(place): 1 for place in draw.normal(400, 20, 20)}) for _ in range(2000)]
    rule = stop_rule(experiment({"precision": 0.1, "max_errors": 3}), until=lambda one: one.failed["reset"] == 2)
    assert rule is not None
    words = [rule(one) for one in pulses]
    assert words[0] is None
    assert "precision" in words
    assert rule(pulse({}, failed=2)) == "until"
    assert rule(pulse({}, failed=4)) == "max_errors"
