import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.report.grid import cell, grid

ROWS = [("run-a", 12.34567891, None, "a long sentence that goes on and on and on"), ("run-b", 100, True, "short")]
NAMES = ("campaign", "rate", "met", "detail")


def test_columns_under_their_names_numbers_to_the_right():
    assert grid(NAMES, ROWS).splitlines() == [
        "campaign     rate  met   detail",
        "--------  -------  ----  ------------------------------------------",
        "run-a     12.3457  -     a long sentence that goes on and on and on",
        "run-b         100  true  short",
    ]


def test_in_a_narrow_terminal_long_texts_are_cut():
    found = grid(NAMES, ROWS, width=52).splitlines()
    assert max(map(len, found)) == 52
    assert found[2].startswith("run-a     12.3457  -     a long sentence")
    assert found[2].endswith("…")


def test_columns_that_do_not_fit_are_named():
    found = grid(NAMES, ROWS, width=24).splitlines()
    assert found[0] == "campaign     rate  met"
    assert found[-1] == "1 more columns do not fit: detail"


def test_without_rows_there_are_the_names():
    assert grid(("a", "b"), []).splitlines() == ["a  b", "-  -"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (float("nan"), "-"), (float("inf"), "-"), (0.0, "0"), (2.0, "2"), (0.1 + 0.2, "0.3"), (1234567.8, "1234570"),
        (1e-9, "1e-09"), (1e300, "1e+300"), (1_700_000_000_000_000_000, "1700000000000000000"), (False, "false"), ("a\n b", "a b"),
        ([1, None], "[1, null]"), ({"a": "ü"}, '{"a": "ü"}'),
    ],
)  # fmt: skip
def test_cells(value, shown):
    assert cell(value) == shown


cells = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=60))


@given(st.lists(st.tuples(cells, cells, cells), max_size=5), st.integers(30, 200))
def test_a_table_is_never_wider_than_the_terminal(rows, width):
    found = grid(("a", "b" * 20, "c"), rows, width=width).split("\n")
    assert [line for line in found[: len(rows) + 2] if len(line) > width] == []
    assert len(found) - len(rows) in (2, 3)
