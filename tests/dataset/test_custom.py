import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import Wording
from aiperf.dataset.custom import CustomDatasetComposer, format_of
from aiperf.errors import ConfigError, DataError

TRACE = [{"timestamp": 10 * i, "input_length": 10 + i} for i in range(20)]


@pytest.fixture
def file(tmp_path):
    def written(*rows: Any) -> Path:
        path = tmp_path / "data.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return written


@pytest.fixture
def composed(file):
    def made(*rows: Any, **options: Any) -> CustomDatasetComposer:
        path = file(*rows)
        return CustomDatasetComposer(
            Dataset.model_validate({"type": "custom", "path": str(path), **options}), seed=3, wording=Wording(salt="s")
        )

    return made


class TestTheFormat:
    @pytest.mark.parametrize(
        ("row", "name"),
        [
            ({"input_length": 5}, "mooncake_trace"),
            ({"timestamp": 1, "text_input": "a"}, "mooncake_trace"),
            ({"messages": [{}]}, "mooncake_trace"),
            ({"payload": {}}, "mooncake_trace"),
            ({"text": "a", "input_length": None}, "single_turn"),
            ({"texts": ["a"], "timestamp": 3}, "single_turn"),
        ],
    )
    def test_is_recognised_by_the_first_row(self, file, row, name) -> None:
        assert format_of(file("", " ", row, "whatever")) == name

    def test_is_played_when_recognised(self, composed) -> None:
        assert composed({"text": "hello"}).turn(0, warmup=False).text == "hello"
        assert composed({"input_length": 5}).turn(0, warmup=False).input_tokens == 5

    def test_that_is_not_known_lists_those_that_are(self, file) -> None:
        with pytest.raises(ConfigError) as caught:
            format_of(file({"question": "why?", "answer": 42}))
        message = str(caught.value)
        assert "data.jsonl is of no format that is known; its first row holds question, answer. Set dataset.format to one of" in message
        assert "\n  mooncake_trace: Rows of" in message
        assert "\n  single_turn: Rows of" in message

    def test_that_two_claim_is_asked_for(self, file) -> None:
        with pytest.raises(ConfigError, match="could be mooncake_trace or single_turn; its first row holds text, messages"):
            format_of(file({"text": "a", "messages": []}))

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("{", r":1: is no JSON \(.*\): \{; expected a JSON object a line"),
            ("[1]", r":1: \[1\] is no row; expected a JSON object a line"),
            ("", ": holds no rows"),
        ],
        ids=["json", "list", "empty"],
    )
    def test_of_no_row_is_a_mistake_in_the_data(self, file, row, message) -> None:
        with pytest.raises(DataError, match=r"data\.jsonl" + message):
            format_of(file(row))

    def test_of_another_encoding_is_a_mistake_in_the_data(self, tmp_path) -> None:
        path = tmp_path / "data.jsonl"
        path.write_bytes(b'{"text": "caf\xe9"}\n')
        with pytest.raises(DataError, match=r"data\.jsonl:1: is no JSON \('utf-8' codec"):
            format_of(path)

    def test_that_is_named_is_believed(self, composed) -> None:
        with pytest.raises(DataError, match="has none of text, texts"):
            composed({"question": 1}, format="single_turn")


class TestEntries:
    def test_are_the_first_rows_and_then_come_round(self, composed) -> None:
        source = composed(*TRACE, entries=3)
        assert source.lengths(np.arange(5)).input_tokens.tolist() == [10, 11, 12, 10, 11]
        assert [source.turn(i, warmup=False).input_tokens for i in range(5)] == [10, 11, 12, 10, 11]
        assert source.due_ns().tolist() == [0, 10_000_000, 20_000_000]

    def test_beyond_the_file_are_the_file(self, composed) -> None:
        source = composed(*TRACE, entries=50)
        assert len(source.due_ns()) == 20
        assert source.lengths(np.array([20])).input_tokens.tolist() == [10]


class TestSampling:
    def test_a_shuffle_is_every_row_once(self, composed) -> None:
        source = composed(*TRACE, sampling="shuffle")
        asked = source.lengths(np.arange(40)).input_tokens.tolist()
        assert asked[:20] != asked[20:]
        assert sorted(asked[:20]) == sorted(asked[20:]) == [row["input_length"] for row in TRACE]
        assert [source.turn(i, warmup=False).input_tokens for i in range(40)] == asked

    def test_at_random_rows_may_come_twice(self, composed) -> None:
        asked = composed(*TRACE, sampling="random", entries=5).lengths(np.arange(100)).input_tokens
        assert set(asked.tolist()) == {10, 11, 12, 13, 14}
        assert sorted(asked[:5].tolist()) != [10, 11, 12, 13, 14]

    def test_times_belong_to_rows_in_their_order(self, composed) -> None:
        source = composed(*TRACE, sampling="shuffle")
        assert source.due_ns() is None
        assert "its times are not used, since dataset.sampling=shuffle" in source.notes[-1]
        assert composed({"input_length": 5}, sampling="shuffle").notes == ()


def test_what_would_be_ignored_is_refused_together(composed) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(*TRACE, input_tokens=9, batch_size=4)
    assert [problem.split(" is for synthetic")[0] for problem in caught.value.problems] == ["dataset.input_tokens", "dataset.batch_size"]


def test_notes_of_the_file_are_handed_on(composed) -> None:
    assert "user is not read" in composed({**TRACE[0], "user": 1}).notes[0]
