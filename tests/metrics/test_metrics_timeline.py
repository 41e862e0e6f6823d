from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_records import T0, answer, bare, ns, unsent

from aiperf.metrics.timeline import MOST_BINS, timeline
from aiperf.results import Timeline

SECOND = 1000.0
ENDS = st.lists(
    st.tuples(st.integers(0, 4_000_000), st.sampled_from([None, None, "reset", "http_5xx", "abandoned", "cancelled"])), max_size=40
)


def test_answers_and_failures_are_counted_in_the_bin_of_their_end() -> None:
    rows = [
        answer(0, 0, tokens=[50, 99]),
        answer(1, 10, tokens=[50, 100]),
        answer(2, 20, end=250, error="http_5xx"),
        answer(3, 30, end=290, error="reset"),
        answer(4, 30, end=310, error="reset"),
        answer(5, 30, end=320, error="abandoned"),
        unsent(6, 40, "duration"),
    ]
    assert timeline(bare(rows)) == Timeline(0.1, (1, 1, 0, 0), {"reset": (0, 0, 1, 1), "http_5xx": (0, 0, 1, 0)})


@pytest.mark.parametrize(
    ("end", "width", "bins"),
    [(0, 0.1, 1), (5_999.9, 0.1, 60), (6_000, 0.2, 31), (12_000, 0.5, 25), (29_999, 0.5, 60), (30_000, 1, 31), (60_000, 2, 31),
     (3_600_000, 100, 37), (86_400_000, 2000, 44)],
)  # fmt: skip
def test_bins_are_the_narrowest_of_a_round_width_that_suffice(end: float, width: float, bins: int) -> None:
    found = timeline(bare([answer(0, 0, tokens=[end])]))
    assert found is not None
    assert (found.bin_s, len(found.good), found.good[-1]) == (width, bins, 1)


@pytest.mark.parametrize("rows", [[], [unsent(0, 0, "duration")], [answer(0, 0, end=5, error="abandoned")]])
def test_a_run_of_nothing_has_none(rows: list[dict]) -> None:
    assert timeline(bare(rows)) is None


def test_a_request_that_was_never_sent_off_still_failed() -> None:
    refused = answer(0, 20, sent=None, started=20, end=220, error="connect")
    lost = answer(1, 0, end=None, error="client", last_token_ns=None, sent_ns=ns(150))
    assert timeline(bare([refused, lost])) == Timeline(0.1, (0, 0, 0), {"client": (0, 1, 0), "connect": (0, 0, 1)})


def test_closed_loop_begins_with_its_first_ready_request() -> None:
    rows = [answer(i, 500 + i, tokens=[700 + 100 * i], due_ns=None) for i in range(2)]
    assert timeline(bare(rows)) == Timeline(0.1, (0, 0, 1, 1), {})


def test_what_a_clock_puts_before_the_start_counts_in_the_first_bin() -> None:
    assert timeline(bare([answer(0, 100, tokens=[90]), answer(1, 100, tokens=[120])])) == Timeline(0.1, (2,), {})


@given(ENDS)
def test_nothing_is_lost_and_bins_are_few(ends: list[tuple[int, str | None]]) -> None:
    rows = [answer(i, min(end, 5 * i), end=end, error=error) for i, (end, error) in enumerate(ends)]
    found = timeline(bare(rows))
    counted = Counter(error for _, error in ends if error not in ("abandoned", "cancelled"))
    if not counted:
        assert found is None
        return
    assert found is not None
    assert sum(found.good) == counted.pop(None, 0)
    assert {name: sum(counts) for name, counts in found.errors.items()} == counted
    assert len(found.good) <= MOST_BINS
    assert {len(counts) for counts in found.errors.values()} <= {len(found.good)}
    start = min(row["due_ns"] for row in rows) - T0
    edges = [start + round(i * found.bin_s * 1e9) for i in range(len(found.good) + 1)]
    good = [end * 1_000_000 for end, error in ends if error is None]
    assert list(found.good) == [sum(low <= at < high for at in good) for low, high in pairwise(edges)]
