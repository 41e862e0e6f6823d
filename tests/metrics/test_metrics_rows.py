"""Some of the records, read by column: the same as a copy of them, however they lie."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.metrics.rows import Rows, batches, in_order, row_of_each

LISTS = st.lists(st.one_of(st.none(), st.lists(st.floats(-9, 9), max_size=3)), max_size=300)


def table(lists: list, cuts: list[int]) -> pa.Table:
    """A column of numbers and one of lists, in several chunks."""
    whole = pa.table({"n": pa.array(range(len(lists)), pa.int64()), "lists": pa.array(lists, pa.list_(pa.float64()))})
    edges = [0, *sorted(min(cut, len(lists)) for cut in cuts), len(lists)]
    return pa.concat_tables([whole.slice(start, end - start) for start, end in pairwise(edges)])


@given(LISTS, st.lists(st.integers(0, 300), max_size=3), st.sampled_from([1, 2, 3, 50, 1000]), st.booleans())
def test_rows_are_what_a_filter_leaves(lists: list, cuts: list[int], every: int, unknown: bool) -> None:
    records = table(lists, cuts)
    mask = [None if unknown and i % 7 == 0 else i // every % 2 == 0 for i in range(len(lists))]
    wanted = pa.chunked_array([pa.array(mask, pa.bool_())])
    rows, copied = Rows(records, wanted), records.filter(wanted)
    assert len(rows) == rows.num_rows == len(copied)
    for name in records.column_names:
        assert rows[name].to_pylist() == copied[name].to_pylist()
    again = pa.chunked_array([pa.array([i % 3 == 0 for i in range(len(copied))], pa.bool_())])
    assert Rows(rows, again)["lists"].to_pylist() == copied.filter(again)["lists"].to_pylist()
    assert [row for batch in batches(rows, ["lists"]) for row in batch["lists"].to_pylist()] == copied["lists"].to_pylist()


@given(LISTS, st.lists(st.integers(0, 300), max_size=3), st.randoms(use_true_random=False))
def test_an_order_of_rows_is_an_order_of_their_values(lists: list, cuts: list[int], chance) -> None:
    records, order = table(lists, cuts), list(range(len(lists)))
    chance.shuffle(order)
    assert in_order(records, "lists", np.array(order, np.int64)).tolist() == [value for row in order for value in lists[row] or ()]
    assert in_order(records, "lists").tolist() == [value for values in lists for value in values or ()]
    assert in_order(records, "n", np.array(order, np.int64)).tolist() == order
    every = Rows(records, pa.chunked_array([pa.array([i % 3 == 0 for i in range(len(lists))], pa.bool_())]))
    assert in_order(every, "lists").tolist() == [value for values in lists[::3] for value in values or ()]


@pytest.mark.parametrize(("lists", "rows"), [([[1.0], None, [], [2.0, 3.0]], [0, 3, 3]), ([], [])])
def test_the_row_of_each_value(lists: list, rows: list[int]) -> None:
    assert row_of_each(pa.array(lists, pa.list_(pa.float64()))).tolist() == rows


def test_rows_have_what_else_a_table_has() -> None:
    rows = Rows(table([[1.0], None, [2.0]], []), pa.chunked_array([[True, False, True]]))
    assert rows.column_names == ["n", "lists"]
    assert rows.select(["n"]).to_pylist() == [{"n": 0}, {"n": 2}]
    with pytest.raises(KeyError):
        rows["nothing"]
