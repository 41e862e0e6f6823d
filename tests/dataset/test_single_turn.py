import json
from typing import Any

import numpy as np
import pytest

from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import COMMON, Bank, Wording
from aiperf.dataset.custom import SingleTurn
from aiperf.errors import ConfigError, DataError
from aiperf.workload import Turn

WORDING = Wording(salt="s")


@pytest.fixture
def texts(tmp_path):
    def loaded(*rows: Any, wording: Wording = WORDING, **options: Any) -> SingleTurn:
        path = tmp_path / "texts.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return SingleTurn(path, Dataset.model_validate({"type": "custom", "path": str(path), **options}), seed=1, wording=wording)

    return loaded


def turns(source: SingleTurn) -> list[Turn]:
    return [source.turn(i, warmup=False) for i in range(len(source))]


class TestRows:
    def test_say_what_they_hold(self, texts) -> None:
        full = {"text": "Grüße 🌍", "role": "system", "model": "m", "output_length": 3, "extra": {"n": 1}, "timestamp": 2.5}
        source = texts(full, {"texts": ["b"], "timestamp": 4, "role": None})
        assert turns(source) == [Turn(("Grüße 🌍",), 0, 3, "system", "m", {"n": 1}), Turn(("b",))]
        assert source.turn(0, warmup=True) == source.turn(0, warmup=False)
        assert source.due_ns().tolist() == [2_500_000, 4_000_000]
        assert source.says == {"texts"}

    def test_several_texts_are_a_batch(self, texts) -> None:
        source = texts({"text": "a"}, {"texts": ["b", "c"]})
        assert [turn.texts for turn in turns(source)] == [("a",), ("b", "c")]
        assert source.says == {"texts", "batches"}

    def test_ask_for_the_experiments_lengths_where_they_have_none(self, texts) -> None:
        source = texts({"text": "a", "output_length": 3}, {"text": "b"}, output_tokens=9)
        assert source.lengths(np.array([1, 0])).output_tokens.tolist() == [9, 3]
        assert source.lengths(np.arange(2)).input_tokens.tolist() == [0, 0]
        with pytest.raises(ConfigError, match=r"exact needs dataset\.output_tokens\.mean, since .*texts\.jsonl:2 has no output_length"):
            texts({"text": "a", "output_length": 3}, {"text": "b"}, output_tokens={"exact": True})

    def test_out_of_order_are_sorted_and_delays_add_up(self, texts) -> None:
        source = texts({"text": "a", "timestamp": 9}, {"text": "b", "delay": 1}, {"text": "c", "timestamp": 2}, {"text": "d", "delay": 3})
        assert [turn.text for turn in turns(source)] == ["c", "d", "a", "b"]
        assert source.due_ns().tolist() == [2_000_000, 5_000_000, 9_000_000, 10_000_000]

    def test_are_told_to_be_as_they_stand(self, texts) -> None:
        assert "texts are sent as they stand" in texts({"text": "a"}).notes[0]

    def test_skipped_are_counted(self, texts) -> None:
        source = texts({"nope": 1}, {"text": "b"}, on_bad_row="skip")
        assert [turn.text for turn in turns(source)] == ["b"]
        assert source.notes[0].startswith("1 of 2 rows were left out")
        assert not any("nope" in note for note in source.notes)

    def test_have_no_token_ids(self, texts) -> None:
        ids = np.arange(512, dtype=np.int32)
        with pytest.raises(DataError, match=r"texts\.jsonl:2: text has no token ids, which endpoint\.prompt=token_ids asks for"):
            texts("", {"text": "a"}, wording=Wording(Bank(COMMON.spelled, ids, ids)))


BAD = [
    ({}, "has none of text, texts; expected one of them"),
    ({"text": "a", "texts": ["b"]}, "has text and texts; expected one of them"),
    ({"text": ""}, 'text=""; expected a text that is not empty'),
    ({"text": 3}, "text=3; expected a text"),
    (
        {"text": {"name": "q", "contents": ["a"]}},
        r'text={"name":"q","contents":\["a"\]}; expected a text .*; items of name and contents are not',
    ),
    (
        {"texts": [{"name": "q", "contents": ["a"]}]},
        r"texts=\[{.*; expected a list of texts, .*; items of name and contents are not played yet",
    ),
    ({"texts": []}, r"texts=\[\]; expected a list of texts"),
    ({"texts": ["a", ""]}, r'texts=\["a",""\]; expected a list of texts, none of them empty'),
    ({"text": "a", "timestamp": 1, "delay": 2}, "has timestamp=1 and delay=2; expected one of them"),
    ({"text": "a", "timestamp": "1"}, 'timestamp="1"; expected milliseconds from the start, 0 or more'),
    ({"text": "a", "role": 1}, "role=1; expected a name, as user"),
    ({"text": "a", "model": ""}, 'model=""; expected a name'),
    ({"text": "a", "output_length": 0}, "output_length=0; expected a whole number of tokens"),
    ({"text": "a", "extra": 1}, "extra=1; expected an object"),
    ({"text": "a", "session_id": "s"}, 'session_id="s" is of a conversation of several turns, which is not played yet'),
    ({"text": "a", "image": "cat.png"}, 'image="cat.png" is not played yet; expected no more than text, texts, role, model'),
    ({"text": "a", "audios": ["a.wav"]}, r'audios=\["a.wav"\] is not played yet'),
    ({"text": "a", "video": "v.mp4"}, 'video="v.mp4" is not played yet'),
    ({"text": "a", "input_length": 5}, "input_length=5 is of another format"),
    ({"text": "a", "extra": {"stream": False}}, "extra holds stream=false; expected it as endpoint.streaming, for all rows"),
    ("nothing", r"is no JSON \(.*\): nothing; expected a JSON object a line"),
    ("3", "3 is no row; expected an object with text, texts"),
]


@pytest.mark.parametrize(("row", "message"), BAD, ids=[f"{i}" for i in range(len(BAD))])
def test_bad_rows_say_file_line_field_value_and_what_was_expected(texts, row, message) -> None:
    with pytest.raises(DataError, match=r"texts\.jsonl:2: " + message):
        texts({"text": "a"}, row)


def test_unknown_fields_pass_and_are_said_once(texts) -> None:
    source = texts({"text": "a", "user": 1}, {"text": "b", "user": 2, "image": None})
    assert [turn.text for turn in turns(source)] == ["a", "b"]
    assert [note.split(": ")[1] for note in source.notes[:2]] == [
        "image is not read (line 2 is the first with it)",
        "user is not read (line 1 is the first with it)",
    ]
