"""Every arrival process of ours keeps its contract, for any rate and seed."""

import pytest
from builtin import every, names
from hypothesis import given
from hypothesis import strategies as st

from aiperf.clock import SECOND
from aiperf.plugin import plugins
from aiperf.testing import ArrivalsContract
from aiperf.testing.contracts import check_arrivals

SEEDS, COUNTS = st.integers(0, 2**63 - 1), st.integers(0, 300)


class TestEveryArrivalProcess(ArrivalsContract):
    entry = every("arrival_pattern")


@pytest.mark.parametrize("name", names("arrival_pattern"))
@given(rate=st.floats(0.01, 1e6), seed=SEEDS, few=COUNTS, more=COUNTS, expected=st.floats(0, 500))
def test_whatever_the_rate_and_the_seed(name, rate, seed, few, more, expected):
    made = plugins.make("arrival_pattern", name, rate, seed=seed)
    check_arrivals(made, few=few, count=few + more, until_ns=round(expected / rate * SECOND))
