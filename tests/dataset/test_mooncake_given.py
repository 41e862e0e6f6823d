"""Rows of a trace that bring their own words: a text, messages, a payload; what is left out, and what stays on disk."""

import json
import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import COMMON, Bank, Wording
from aiperf.dataset.custom import MooncakeTrace
from aiperf.errors import ConfigError, DataError, MeasureError
from aiperf.workload import Turn

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Grüße 🌍"}]

WORDING = Wording(salt="s")


@pytest.fixture
def trace(tmp_path):
    def loaded(*rows: Any, wording: Wording = WORDING, **options: Any) -> MooncakeTrace:
        path = tmp_path / "given.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return MooncakeTrace(path, Dataset.model_validate({"type": "custom", "path": str(path), **options}), seed=1, wording=wording)

    return loaded


def turns(source: MooncakeTrace) -> list[Turn]:
    return [source.turn(i, warmup=False) for i in range(len(source))]


class TestWordsOfTheFile:
    def test_a_text_is_sent_as_it_stands(self, trace) -> None:
        source = trace({"text_input": " Grüße\n", "output_length": 7, "extra": {"n": 2}}, {"text_input": "b", "tools": TOOLS})
        assert turns(source) == [Turn((" Grüße\n",), output_tokens=7, extra={"n": 2}), Turn(("b",), tools=TOOLS)]
        assert source.turn(0, warmup=True) == source.turn(0, warmup=False)
        assert source.lengths(np.arange(2)).input_tokens.tolist() == [0, 0]
        assert source.says == {"texts", "tools"}

    def test_messages_are_sent_as_they_stand(self, trace) -> None:
        source = trace({"messages": MESSAGES, "tools": TOOLS, "timestamp": 3, "output_length": 5})
        assert turns(source) == [Turn(messages=MESSAGES, tools=TOOLS, output_tokens=5)]
        assert (source.says, source.due_ns().tolist()) == ({"messages", "tools"}, [3_000_000])

    def test_a_payload_is_the_files_own_bytes(self, trace) -> None:
        body = '{"b": 1.50,  "a":"\\u00fc", "nested": {"payload": {}}}'
        source = trace(f'{{ "delay": 1, "payload" :  {body} , "output_length": 9}}', {"payload": {}, "delay": 0})
        assert turns(source) == [Turn(payload=body.encode()), Turn(payload=b"{}")]
        assert source.says == {"payload"}

    def test_a_drawn_row_may_have_tools_and_extra(self, trace) -> None:
        plain, more = {"input_length": 700, "hash_ids": [3]}, {"tools": TOOLS, "extra": {"seed": 1}}
        one, two = turns(trace(plain, {**plain, **more}))
        assert (two.tools, two.extra, one.tools, one.extra) == (TOOLS, {"seed": 1}, None, {})
        assert one.text.split(" ")[:512] == two.text.split(" ")[:512]
        assert one.text != two.text

    def test_kinds_may_be_mixed_and_sorted(self, trace) -> None:
        source = trace({"text_input": "last", "timestamp": 9}, {"input_length": 3, "timestamp": 5}, {"messages": MESSAGES, "timestamp": 1})
        first, second, third = turns(source)
        assert (first.messages, second.input_tokens, third.text) == (MESSAGES, 3, "last")
        assert source.says == {"texts", "messages"}

    def test_a_person_is_told_that_they_are_not_salted(self, trace) -> None:
        (note,) = trace({"text_input": "a"}, {"payload": {}}).notes
        assert "given.jsonl: text_input, payload are sent as they stand, so a server's cache" in note
        assert trace({"input_length": 3}).notes == ()

    def test_have_no_token_ids(self, trace) -> None:
        ids = np.arange(512, dtype=np.int32)
        wording = Wording(Bank(COMMON.spelled, ids, ids))
        for field, row in (("text_input", {"text_input": "a"}), ("messages", {"messages": MESSAGES})):
            with pytest.raises(DataError, match=rf"given\.jsonl:2: {field} has no token ids, which endpoint\.prompt=token_ids asks for"):
                trace({"input_length": 3}, row, wording=wording)

    @given(
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)), st.text(" \t")
    )
    def test_any_payload_comes_through_untouched(self, tmp_path_factory, inner: Any, space: str) -> None:
        body = json.dumps({"inner": inner}, separators=(f",{space}", f":{space}")).encode("utf-8")
        path = tmp_path_factory.getbasetemp() / "payload.jsonl"
        path.write_bytes(b'{"payload":' + space.encode() + body + b"}\r\n\n")
        try:
            msgspec.json.decode(body)
        except msgspec.DecodeError:
            with pytest.raises(DataError, match=r"payload\.jsonl:1: is no JSON"):
                MooncakeTrace(path, Dataset(), seed=1, wording=Wording())
        else:
            assert MooncakeTrace(path, Dataset(), seed=1, wording=Wording()).turn(0, warmup=False).payload == body


class TestAskedLengths:
    def test_a_payload_asks_for_none(self, trace) -> None:
        source = trace({"payload": {}, "output_length": 9}, {"payload": {}}, {"text_input": "a"}, output_tokens=5)
        assert [turn.output_tokens for turn in turns(source)] == [None, None, 5]
        assert source.lengths(np.arange(3)).output_tokens.tolist() == [0, 0, 5]
        assert "output_length beside payload is not read (line 1 is the first with it)" in source.notes[0]
        assert source.notes[-1].endswith("dataset.output_tokens.mean is not used for payloads, which are sent untouched")

    def test_exact_cannot_be_kept_by_a_payload(self, trace) -> None:
        with pytest.raises(
            ConfigError, match=r"output_tokens\.exact cannot be kept, since the payload of .*given\.jsonl:3 is sent untouched"
        ):
            trace({"input_length": 3}, "", {"payload": {}}, output_tokens={"mean": 5, "exact": True})


class TestSkipping:
    rows = ({"input_length": 5, "hash_ids": [1]}, {"input_length": -1}, "{", {"input_length": 6, "hash_ids": [2**64]}, {"input_length": 7})

    def test_leaves_out_counts_and_shows_the_first(self, trace) -> None:
        source = trace(*self.rows, on_bad_row="skip")
        assert source.lengths(np.arange(2)).input_tokens.tolist() == [5, 7]
        (note,) = source.notes
        assert note.startswith("3 of 5 rows were left out (dataset.on_bad_row=skip): ")
        assert note.endswith("given.jsonl:2: input_length=-1; expected a whole number of tokens from 1 to 10,000,000")

    def test_what_is_left_says_the_same(self, trace) -> None:
        left = turns(trace(*self.rows, on_bad_row="skip"))
        assert left == turns(trace(self.rows[0], self.rows[4]))

    def test_needs_something_to_be_left(self, trace) -> None:
        with pytest.raises(DataError) as caught:
            trace(*[{"input_length": -1}] * 30, on_bad_row="skip")
        assert len(caught.value.problems) == 10

    def test_goes_on_after_any_number(self, trace) -> None:
        assert len(trace(*["{"] * 30, {"input_length": 5}, on_bad_row="skip")) == 1


class TestWhatStaysInTheFile:
    rows = tuple({"input_length": 1100, "hash_ids": [i, i + 1], "timestamp": 9 - i} for i in range(9))

    def test_hash_ids_stay_there_too(self, trace) -> None:
        source = trace(*self.rows)
        said, there = turns(source), pickle.dumps(source)
        assert turns(pickle.loads(there)) == said  # noqa: S301 - our own bytes
        assert len({turn.text for turn in said}) == 9
        assert len(there) == len(pickle.dumps(trace(*({**row, "hash_ids": [2**60 + i]} for i, row in enumerate(self.rows)))))

    def test_ids_are_checked_when_they_are_counted(self, trace) -> None:
        with pytest.raises(DataError, match=r"given\.jsonl:10: hash_ids holds 18446744073709551616; expected ids below"):
            trace(*self.rows, {**self.rows[0], "hash_ids": [1, 2**64]})

    @pytest.mark.parametrize("change", [lambda path: path.write_text("{}"), lambda path: path.unlink()], ids=["changed", "gone"])
    def test_a_file_that_is_not_what_it_was_is_no_answer(self, trace, tmp_path, change) -> None:
        there = pickle.dumps(trace({"text_input": "hello"}))
        change(Path(tmp_path / "given.jsonl"))
        with pytest.raises(MeasureError, match=r"given\.jsonl: (has changed since its rows were counted|cannot be read any more)"):
            pickle.loads(there).turn(0, warmup=False)  # noqa: S301 - our own bytes

    def test_an_open_file_is_looked_at_too(self, trace, tmp_path) -> None:
        source = trace({"text_input": "hello"})
        assert source.turn(0, warmup=False).text == "hello"
        (tmp_path / "given.jsonl").write_text('{"text_input": "other words"}')
        with pytest.raises(MeasureError, match="has changed"):
            source.turn(0, warmup=False)
