"""Metrics of other packages: they appear as ours do, and what they do wrongly costs their own values alone."""

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_records import answer, bare, facts, records

from aiperf.config.experiment import Experiment
from aiperf.metrics.columns import has_metrics, with_metrics
from aiperf.metrics.summary import summarise
from aiperf.plugin import plugins, registry
from aiperf.records import SCHEMA
from aiperf.results import Summary
from aiperf.store.summary import as_csv, as_dict
from aiperf.store.tables import record_columns

ROWS = [answer(n, 10 * n, tokens=[10 * n + 2, 10 * n + 4, 10 * n + 8]) for n in range(3)]
HERE = __name__.partition(".")[0]
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.just(10**400),
    st.just({}),
    st.just([1.0]),
)


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    yield
    plugins.reset_registry()


def add(compute: Callable[..., Any], name: str = "words", category: str = "record_processor", priority: int = 0, **metadata: Any) -> None:
    plugins.register(
        category,
        name,
        compute,
        priority=priority,
        metadata={"unit": "words", "better": "higher", "population": "good requests", **metadata},
    )


def of_records(compute: Callable[..., Any], **metadata: Any) -> tuple[pa.ChunkedArray, dict[str, str]]:
    add(compute, **metadata)
    failed: dict[str, str] = {}
    return with_metrics(bare(ROWS), failed)["words"], failed


def summary(rows: list[dict] = ROWS, **groups: Any) -> Summary:
    timing = {"type": "request_rate", "rate": 100, "stop": {"requests": 8}}
    experiment = Experiment.model_validate({"endpoint": {"url": "http://h"}, "timing": timing, **groups})
    return summarise(records(rows), facts(0, 100, planned=3), experiment, samples={})


def test_the_reserved_names_are_the_columns() -> None:
    assert list(plugins.categories()["record_processor"].reserved) == [*SCHEMA.names, "trial_id", "campaign"]


@pytest.mark.parametrize(
    ("found", "values"),
    [
        (pa.array([1, None, 2.5]), [1, None, 2.5]),
        (pa.chunked_array([[1], [2, 3]]), [1, 2, 3]),
        (np.array([1.0, np.nan, np.inf], np.float32), [1, None, None]),
        ([1, -math.inf, None], [1, None, None]),
        (pa.nulls(3), [None] * 3),
    ],
)
def test_what_is_no_finite_number_is_null(found: Any, values: list) -> None:
    column, failed = of_records(lambda _: found)
    assert (column.type, column.to_pylist(), failed) == (pa.float64(), values, {})


def test_lists_are_without_what_is_no_finite_number() -> None:
    column, failed = of_records(lambda _: pa.array([[1.0, math.nan, None, 2.0], None, []]), list=True)
    assert (column.type, column.to_pylist(), failed) == (pa.list_(pa.float64()), [[1, 2], None, []], {})


def test_it_may_look_at_ours_and_comes_after_them() -> None:
    column, _ = of_records(lambda records: pc.multiply(records["request_latency"], 2))
    assert column.to_pylist() == [16, 16, 16]
    assert with_metrics(bare(ROWS)).column_names[-1] == "words"
    assert has_metrics(with_metrics(bare(ROWS)))


def ends_the_process(_: pa.Table) -> None:
    sys.exit(3)


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (lambda _: 1 / 0, rf"metric words of {HERE}: ZeroDivisionError: division by zero \(.*test_metrics_plugged\.py:\d+\)"),
        (lambda _: pa.array([1, 2]), rf"metric words of {HERE}: ValueError: it returned 2 values for 3 rows \(.+\)"),
        (lambda _: ["a", "b", "c"], "TypeError: it returned str where a number is expected"),
        (lambda _: [True, True, True], "it returned bool where a number is expected"),
        (lambda _: [[1.0], [2.0], [3.0]], "it returned list where a number is expected"),
        (lambda _: 5, "TypeError"),
        (lambda records: records["nothing"], "KeyError"),
        (ends_the_process, "SystemExit: 3"),
    ],
)
def test_what_it_does_wrongly_is_told_once_and_its_column_is_null(compute: Callable, said: str) -> None:
    column, failed = of_records(compute)
    assert (column.type, column.null_count) == (pa.float64(), 3)
    again = dict(failed)
    with_metrics(bare(ROWS), again)
    assert again == failed
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(failed["words"])


def test_what_of_ours_is_wrong_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "get_class", lambda category, name: lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        records(ROWS)


@settings(max_examples=60, deadline=None)
@given(st.one_of(ANYTHING, st.lists(ANYTHING, min_size=3, max_size=3)), st.booleans())
def test_whatever_it_returns_there_is_a_column_of_finite_numbers(found: Any, is_list: bool) -> None:
    plugins.reset_registry()
    column, failed = of_records(lambda _: found, list=is_list)
    assert (len(column), column.type) == (3, pa.list_(pa.float64()) if is_list else pa.float64())
    numbers = [number for value in column.to_pylist() for number in (value if isinstance(value, list) else [value])]
    assert all(number is None or math.isfinite(number) for number in numbers)
    assert not failed or column.null_count == 3


@pytest.mark.parametrize(
    ("found", "value", "notes"),
    [(2, 2.0, 0), (np.float32(0.5), 0.5, 0), (pa.scalar(3), 3.0, 0), (None, None, 0), (math.nan, None, 0), (np.float32("inf"), None, 0),
     ("fast", None, 1), (True, None, 1), ([1], None, 1)],
)  # fmt: skip
def test_one_value_a_run(found: Any, value: float | None, notes: int) -> None:
    add(lambda _: found, "cost", "results_processor")
    seen = summary()
    assert [one.stats for one in (*seen.metrics, *seen.whole) if one.metric == "cost"] == [{"avg": value}] * 2
    assert len([note for note in seen.verdict.notes if note.startswith(f"metric cost of {HERE}: TypeError: it returned")]) == notes


def test_they_are_in_every_file_and_can_be_promised() -> None:
    add(lambda records: pc.cast(records["output_tokens"], pa.float64()))
    add(lambda view: len(view.run), "cost", "results_processor")
    seen = summary(goodput={"slos": {"words": 4}})
    assert (seen.slos[0].op, seen.slos[0].unit, seen.slos[0].value) == (">=", "words", 0)
    assert seen.facts["plugged"] == ["words", "cost"]
    metrics = as_dict(seen, name="n")["metrics"]
    assert (metrics["words"]["stats"]["p50"], metrics["words"]["n"], metrics["cost"]["stats"]) == (3, 3, {"avg": 3})
    assert [line.partition(",")[0] for line in as_csv(seen).splitlines() if line.startswith(("words", "cost"))] == ["words", "cost"]
    assert record_columns().field("words").type == pa.float64()


def test_a_metric_of_the_name_of_an_aside_is_what_counts() -> None:
    add(lambda records: [7] * len(records), "plugin.took_ms")
    seen = summary([row | {"plugin": '{"took_ms": 9, "n": 1}'} for row in ROWS])
    assert [(one.metric, one.stats["avg"]) for one in seen.metrics[-2:]] == [("plugin.n", 1), ("plugin.took_ms", 7)]


def test_one_that_fails_keeps_no_promise_and_no_run_back() -> None:
    add(lambda _: 1 / 0)
    seen = summary(goodput={"slos": {"words": 4}})
    assert (seen.slos[0].met, next(one.n for one in seen.metrics if one.metric == "words")) == (False, 0)
    assert seen.counts["good"] == 3


BUILT_IN = [(category, entry.name) for category in ("record_processor", "results_processor") for entry in plugins.iter_entries(category)]


@pytest.mark.parametrize(("category", "name"), BUILT_IN)
def test_a_metric_whose_lines_are_gone_is_gone_and_nothing_else_is(category: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, read = summary(), registry._ours

    def without(file: str) -> dict[str, Any]:
        said = read(file)
        return said | {category: {tag: one for tag, one in said[category].items() if tag != name}} if category in said else said

    monkeypatch.setattr(registry, "_ours", without)
    plugins.reset_registry()
    after = summary()
    assert [one for one in before.metrics if one.metric != name] == list(after.metrics)
    assert (before.verdict, before.counts) == (after.verdict, after.counts)


def test_a_verdict_is_not_another_packages() -> None:
    before = summary()
    add(lambda records: pa.array([1e9] * len(records)), name="schedule_lateness", priority=1)
    after = summary()
    assert (before.verdict, before.counts) == (after.verdict, after.counts)
    assert next(one for one in after.metrics if one.metric == "schedule_lateness").stats["avg"] == 1e9
