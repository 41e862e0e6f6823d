"""The column `plugin`: what an endpoint says besides."""

import json
import math
from datetime import date
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_records import answer, records

from aiperf.metrics.asides import MOST_BYTES, MOST_NAMES, as_json, summarised

SAID = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=10,
)


def good(*texts):
    return records([answer(n, n, tokens=[n + 1], plugin=text) for n, text in enumerate(texts)])


def found(*texts):
    return {one.metric: one for one in summarised(good(*texts))[0]}


def test_numbers_are_summarised_by_dotted_name():
    said = [{"rag": {"took_ms": n, "ok": True, "ids": [1]}, "name": "x", "docs": n} for n in range(11)]
    seen = found(*map(json.dumps, said), None, json.dumps({"rag": {"took_ms": None}}))
    assert list(seen) == ["plugin.docs", "plugin.rag.took_ms"]
    assert (seen["plugin.rag.took_ms"].n, seen["plugin.rag.took_ms"].unit, seen["plugin.docs"].unit) == (11, "ms", "")
    assert (seen["plugin.rag.took_ms"].stats["avg"], seen["plugin.rag.took_ms"].stats["p50"]) == (5, 5)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("a_ms", "ms"), ("a_s", "s"), ("a_ns", "ns"), ("a_tokens", "tokens"), ("tokens", ""), ("ms", ""), ("items", ""), ("as", "")],
)
def test_a_name_ends_in_its_unit(name, unit):
    assert found(json.dumps({name: 1}))[f"plugin.{name}"].unit == unit


def test_names_with_the_most_values_are_kept_and_the_others_counted():
    texts = [json.dumps({f"k{n}_{row}": 1 for n in range(MOST_NAMES)} | {"zz": 2}) for row in range(2)]
    metrics, notes = summarised(good(*texts))
    assert (len(metrics), metrics[-1].metric) == (MOST_NAMES, "plugin.zz")
    assert notes == [f"{MOST_NAMES + 1} more names of numbers in the column plugin are in the records alone"]


@pytest.mark.parametrize(
    "text", ["", "[1]", "3", "{", "[" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000, '{"a": 1e999}', '{"a": 9' + "9" * 400 + "}"]
)
def test_what_holds_no_number_of_ours_is_passed_over(text):
    assert found(text) == {}


def test_what_json_cannot_hold_is_its_text():
    said = {
        "day": date(2026, 1, 2),
        "big": np.float32(0.5),
        "n": np.int64(3),
        "nan": math.nan,
        "of": MappingProxyType({"a": (1, np.inf)}),
        1: b"x",
    }
    assert json.loads(as_json(said)[0]) == {"day": "2026-01-02", "big": 0.5, "n": 3, "nan": None, "of": {"a": [1, None]}, "1": "b'x'"}
    assert as_json({}) == (None, False)
    assert json.loads(as_json({"a": "\ud800"})[0]) == {"a": "?"}


@pytest.mark.parametrize("said", [3, [1], {(1, 2): 3}])
def test_what_is_no_mapping_of_names_is_refused(said):
    with pytest.raises(TypeError):
        as_json(said)
    inner = {}
    inner["self"] = inner
    with pytest.raises(RecursionError):
        as_json(inner)


def test_what_is_too_long_is_cut_down_to_its_numbers():
    text, is_cut = as_json({"log": "x" * MOST_BYTES, "rag": {"took_ms": 3.5, "text": "y"}})
    assert (json.loads(text), is_cut) == ({"rag.took_ms": 3.5}, True)
    assert found(text)["plugin.rag.took_ms"].n == 1
    assert as_json({"ü" * MOST_BYTES: 1}) == (None, True)
    assert as_json({"a": "x" * (MOST_BYTES - 9)})[1] is False
    assert as_json({"a": "x" * (MOST_BYTES - 8)})[1] is True


@given(st.dictionaries(st.text(max_size=3), SAID, max_size=4))
def test_every_mapping_is_a_text_whose_numbers_are_found(said):
    text, is_cut = as_json(said)
    assert is_cut is False
    if text is None:
        assert not said
        return
    json.loads(text, parse_constant=pytest.fail)
    for one in summarised(good(text))[0]:
        assert all(value is None or math.isfinite(value) for value in one.stats.values())
