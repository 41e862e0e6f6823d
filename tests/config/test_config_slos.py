import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.experiment import Goodput
from aiperf.config.slos import EACH, Limit, limits
from aiperf.errors import ConfigError
from aiperf.plugin.plugins import of_requests
from aiperf.results import STATS

RECORD_METRICS = [entry.name for entry in of_requests()]


def test_a_scalar_is_of_each_request_and_a_mapping_over_the_window():
    goodput = Goodput(slos={"time_to_first_token": "400ms", "request_latency": {"p99": "20s", "avg": 3}, "input_sequence_length": 7})
    assert limits(goodput) == (
        Limit("time_to_first_token", EACH, "<=", 400.0, "ms"),
        Limit("request_latency", "p99", "<=", 20_000.0, "ms"),
        Limit("request_latency", "avg", "<=", 3.0, "ms"),
        Limit("input_sequence_length", EACH, "<=", 7.0, "tokens"),
    )


def test_more_is_better_turns_the_sign():
    assert limits(Goodput(slos={"output_token_throughput_per_user": 30}))[0].op == ">="


@pytest.mark.parametrize("value", ["400 tokens", "4s", "", "x", "-3", "nan", "inf", True])
def test_a_quantity_that_is_none(value):
    with pytest.raises(ConfigError, match="input_sequence_length: expected a number"):
        limits(Goodput.model_construct(slos={"input_sequence_length": value}))


def test_all_that_is_wrong_is_said():
    with pytest.raises(ConfigError) as caught:
        limits(Goodput(slos={"nothing": 1, "goodput": 2, "request_latency": {"p98": 1, "p99": "soon"}}))
    assert len(caught.value.problems) == 4


@given(st.sampled_from(RECORD_METRICS), st.sampled_from(["", *STATS]), st.floats(0, 1e9))
def test_every_record_metric_can_be_promised(metric, stat, threshold):
    (limit,) = limits(Goodput(slos={metric: {stat: threshold} if stat else threshold}))
    assert (limit.metric, limit.stat, limit.threshold) == (metric, stat or EACH, threshold)
