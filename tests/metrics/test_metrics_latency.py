import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_records import answer, bare, records, unsent

from aiperf.metrics.columns import has_metrics, with_metrics
from aiperf.metrics.requests import output_sequence_length, reasoning_token_count
from aiperf.plugin.plugins import of_requests
from aiperf.records import ERRORS, SCHEMA

STREAM = answer(
    0, 5, ready=6, started=7, sent=8, tokens=[10, 20, 30, 50], channels=["reasoning", "reasoning", "content", "tool_call"], end=51
)
OF_STARTED = ("queue_time", "schedule_lateness")


def one(row: dict, tag: str) -> object:
    return records([row])[tag].to_pylist()[0]


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("time_to_first_token", 2.0),
        ("time_to_first_output_token", 22.0),
        ("request_latency", 42.0),
        ("inter_token_latency", 40 / 3),
        ("inter_chunk_latency", [10.0, 10.0, 20.0]),
        ("planned_time_to_first_token", 5.0),
        ("planned_time_to_first_output_token", 25.0),
        ("planned_request_latency", 45.0),
        ("queue_time", 1.0),
        ("schedule_lateness", 1.0),
        ("output_token_throughput_per_user", 75.0),
        ("input_sequence_length", 10.0),
        ("output_sequence_length", 4.0),
        ("output_token_count", 2.0),
        ("reasoning_token_count", 2.0),
    ],
)
def test_a_streamed_answer(tag: str, value: object) -> None:
    assert one(STREAM, tag) == pytest.approx(value)


@pytest.mark.parametrize("tag", ["time_to_first_token", "inter_token_latency", "inter_chunk_latency", "output_token_throughput_per_user"])
def test_an_answer_that_was_not_streamed_has_no_token_times(tag: str) -> None:
    assert one(answer(0, 0, end=300), tag) is None


def test_an_answer_that_was_not_streamed_has_its_latency_and_length() -> None:
    row = answer(0, 0, end=300, output_tokens=7)
    assert one(row, "request_latency") == 300.0
    assert one(row, "output_sequence_length") == 7.0


@pytest.mark.parametrize("tag", ["request_latency", "planned_request_latency", "time_to_first_token", "inter_chunk_latency"])
def test_a_stream_without_a_token_has_no_latency(tag: str) -> None:
    assert one(answer(0, 0, end=300) | {"last_token_ns": None}, tag) is None


@pytest.mark.parametrize(("due", "ready", "started"), [(5, 4.999, 4.998), (5, 4.999, 4.9995), (5, 5.0, 4.999)])
def test_samples_of_the_clocks_offset_make_no_negative_times(due: float, ready: float, started: float) -> None:
    row = answer(0, due, ready=ready, started=started, tokens=[10])
    assert [str(one(row, tag)) for tag in ("queue_time", "schedule_lateness")] == ["0.0", "0.0"]


def test_an_answer_that_only_reasoned_has_no_first_output_token() -> None:
    row = answer(0, 0, tokens=[10, 20], channels=["reasoning", "reasoning"])
    assert one(row, "time_to_first_token") == 10.0
    assert one(row, "time_to_first_output_token") is None


@pytest.mark.parametrize(("tokens", "output_tokens"), [([10], 1), ([10], 32), ([10, 20], 1)])
def test_one_token_or_one_event_has_no_gap(tokens: list, output_tokens: int) -> None:
    row = answer(0, 0, tokens=tokens, output_tokens=output_tokens)
    assert one(row, "inter_token_latency") is None
    assert one(row, "output_token_throughput_per_user") is None


def test_tokens_that_came_at_once_have_no_rate_a_user() -> None:
    row = answer(0, 0, tokens=[10, 10, 10])
    assert one(row, "inter_token_latency") == 0.0
    assert one(row, "output_token_throughput_per_user") is None


def test_events_that_carry_no_tokens_are_no_gaps() -> None:
    row = answer(0, 0, tokens=[10, 12, 20, 21, 22], channels=["role", "content", "content", "usage", "done"])
    assert one(row, "inter_chunk_latency") == [8.0]


def test_stamps_are_subtracted_without_loss() -> None:
    assert one(answer(0, 0, tokens=[10.000001, 20.000002]), "time_to_first_token") == 10.000001


def test_in_closed_loop_a_request_is_due_when_it_is_ready() -> None:
    row = answer(0, 0, ready=4, sent=5, tokens=[10]) | {"due_ns": None}
    assert one(row, "planned_request_latency") == 6.0
    assert one(row, "queue_time") == 0.0
    assert one(row, "schedule_lateness") == 1.0


def test_lengths_without_usage_are_what_was_asked_for_and_what_came() -> None:
    row = answer(0, 0, tokens=[1, 2, 3, 4], channels=["reasoning", "content", "content", "content"])
    silent = row | {"input_tokens": None, "output_tokens": None, "asked_input_tokens": 12, "chunk_tokens": [0, 0, 0, 0]}
    assert one(silent, "input_sequence_length") == 12.0
    assert one(silent, "output_sequence_length") == 4.0
    assert one(silent, "reasoning_token_count") == 1.0
    assert one(silent | {"chunk_tokens": [3, 2, 2, 2]}, "output_sequence_length") == 9.0


def test_reasoning_is_apportioned_where_usage_does_not_say_and_taken_where_it_does() -> None:
    row = answer(0, 0, tokens=[1, 2, 3, 4], channels=["reasoning", "content", "content", "content"], output_tokens=8)
    assert one(row, "reasoning_token_count") == 2.0
    assert one(row | {"reasoning_tokens": 5}, "reasoning_token_count") == 5.0
    assert one(row | {"reasoning_tokens": 5}, "output_token_count") == 3.0


@pytest.mark.parametrize("error", ERRORS)
def test_a_failed_request_is_in_no_latency(error: str) -> None:
    table = records([STREAM | {"error": error}])
    for entry in of_requests():
        value = table[entry.name].to_pylist()[0]
        assert (value is None) == (entry.name not in OF_STARTED), entry.name


def test_what_was_never_started_has_no_metric_at_all() -> None:
    table = records([unsent(0, 3, "duration")])
    assert {entry.name: table[entry.name].to_pylist()[0] for entry in of_requests()} == {entry.name: None for entry in of_requests()}


def test_columns_are_floats_or_lists_of_floats_named_by_their_tags() -> None:
    table = records([STREAM])
    assert table.column_names[: len(SCHEMA)] == SCHEMA.names
    for entry in of_requests():
        wanted = pa.list_(pa.float64()) if entry.name == "inter_chunk_latency" else pa.float64()
        assert table.schema.field(entry.name).type == wanted


def test_columns_are_computed_anew_and_not_doubled() -> None:
    table = records([STREAM])
    assert with_metrics(table).equals(table)
    assert has_metrics(table)
    assert not has_metrics(bare([STREAM]))


def test_records_without_rows_have_empty_columns() -> None:
    table = with_metrics(SCHEMA.empty_table())
    assert table.num_rows == 0
    assert has_metrics(table)


rows = st.lists(
    st.tuples(
        st.lists(st.integers(0, 1000), max_size=6), st.sampled_from([None, "reset"]), st.sampled_from(["reasoning", "content", "role"])
    ),
    min_size=1,
    max_size=12,
)


@given(rows, st.integers(0, 12), st.integers(0, 12))
def test_a_row_has_the_same_values_wherever_it_lies(found: list, start: int, length: int) -> None:
    made = [
        answer(i, 0, tokens=sorted(tokens), channels=[name] * len(tokens), error=error, end=2000)
        for i, (tokens, error, name) in enumerate(found)
    ]
    table = bare(made)
    whole, split = with_metrics(table), pa.concat_tables([table.slice(0, start), table.slice(start)])
    assert with_metrics(split).to_pylist() == whole.to_pylist()
    assert with_metrics(table.slice(start, length)).to_pylist() == whole.slice(start, length).to_pylist()


@given(rows)
def test_plain_strings_serve_as_well_as_dictionaries(found: list) -> None:
    made = [
        answer(i, 0, tokens=sorted(tokens), channels=[name] * len(tokens), error=error) for i, (tokens, error, name) in enumerate(found)
    ]
    table = bare(made)
    plain = table.set_column(table.column_names.index("chunk_channel"), "chunk_channel", table["chunk_channel"].cast(pa.list_(pa.string())))
    assert output_sequence_length(plain).equals(output_sequence_length(table))
    assert reasoning_token_count(plain).equals(reasoning_token_count(table))
