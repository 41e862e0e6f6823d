import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiperf.config.dataset import Dataset
from aiperf.dataset import mooncake_rows
from aiperf.dataset.custom import CustomDatasetComposer
from aiperf.dataset.mooncake import MooncakeTrace
from aiperf.errors import ConfigError, DataError
from aiperf.paths import data_file

PACKAGED = "pkg://samples/mooncake_200.jsonl"
GOOD = {"timestamp": 27, "input_length": 600, "output_length": 52, "hash_ids": [4, 5]}


@pytest.fixture
def written(tmp_path):
    def write(*rows: Any) -> Path:
        path = tmp_path / "trace.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def trace(written):
    def loaded(*rows: Any, options: dict[str, Any] | None = None, salt: str = "s") -> MooncakeTrace:
        return MooncakeTrace(written(*rows), Dataset.model_validate(options or {}), seed=1, salt=salt)

    return loaded


def blocks(source: MooncakeTrace, row: int, *, warmup: bool = False) -> list[str]:
    words = source.turn(row, warmup=warmup).text.split(" ")
    return [" ".join(words[i : i + 512]) for i in range(0, len(words), 512)]


class TestThePackagedRows:
    options = Dataset(type="custom", format="mooncake_trace", path=PACKAGED)
    raw = tuple(json.loads(line) for line in data_file(PACKAGED, "x").read_text().splitlines())

    def test_are_played_as_they_are(self) -> None:
        source = CustomDatasetComposer(self.options, seed=1, salt="s")
        assert source.notes == ()
        assert source.due_ns().tolist() == [row["timestamp"] * 1_000_000 for row in self.raw]
        for i, row in enumerate(self.raw):
            turn = source.turn(i, warmup=False)
            assert (turn.input_tokens, turn.output_tokens) == (row["input_length"], row["output_length"])
            assert len(turn.text.split(" ")) == row["input_length"]

    def test_equal_ids_are_equal_text_and_others_are_not(self) -> None:
        source = MooncakeTrace(data_file(PACKAGED, "x"), self.options, seed=1, salt="s")
        texts = defaultdict(set)
        for i, row in enumerate(self.raw):
            for hash_id, block in zip(row["hash_ids"], blocks(source, i), strict=True):
                texts[hash_id].add(block)
        assert all(max(found, key=len).startswith(part) for found in texts.values() for part in found)
        begins = {min(found, key=len)[:39] for found in texts.values()}
        assert len(begins) == len(texts) > 1000

    def test_a_salt_and_a_warmup_are_other_text_throughout(self) -> None:
        one, two = (MooncakeTrace(data_file(PACKAGED, "x"), self.options, seed=1, salt=salt) for salt in ("a", "b"))
        for i in range(20):
            told = [blocks(one, i), blocks(two, i), blocks(one, i, warmup=True), blocks(two, i, warmup=True)]
            assert all(len(set(same)) == 4 for same in zip(*told, strict=True))


class TestTexts:
    def test_a_partial_block_is_the_beginning_of_the_whole(self, trace) -> None:
        source = trace({**GOOD, "input_length": 1024}, {**GOOD, "input_length": 600}, {**GOOD, "input_length": 513})
        assert blocks(source, 0)[1].startswith(blocks(source, 1)[1] + " ")
        assert blocks(source, 1)[0] == blocks(source, 2)[0]
        assert len(blocks(source, 2)[1]) == 4

    def test_what_no_id_covers_is_the_rows_own(self, trace) -> None:
        source = trace({**GOOD, "input_length": 2000}, {**GOOD, "input_length": 2000}, {"timestamp": 30, "input_length": 30})
        first, second = blocks(source, 0), blocks(source, 1)
        assert first[:2] == second[:2]
        assert first[2] != second[2]
        assert first[2] not in first[:2]
        assert source.turn(2, warmup=False).input_tokens == len(source.turn(2, warmup=False).text.split(" ")) == 30

    def test_ids_of_64_bits_are_told_apart(self, trace) -> None:
        ids = [0, 2**31, 2**32, 2**63, 2**64 - 1]
        source = trace(*({"input_length": 512, "hash_ids": [hash_id]} for hash_id in ids))
        assert len({source.turn(i, warmup=False).text for i in range(len(ids))}) == len(ids)

    def test_after_the_last_row_comes_the_first(self, trace) -> None:
        rows = [{**GOOD, "input_length": 513 + i, "timestamp": i} for i in range(4)]
        assert trace(*rows).lengths(np.arange(6)).input_tokens.tolist() == [513, 514, 515, 516, 513, 514]
        assert trace(*rows, options={"entries": 3}).lengths(np.arange(6)).input_tokens.tolist() == [513, 514, 515, 513, 514, 515]


class TestTimes:
    def test_milliseconds_from_the_files_own_zero(self, trace) -> None:
        assert trace({**GOOD, "timestamp": 5}, {**GOOD, "timestamp": 7.25}).due_ns().tolist() == [5_000_000, 7_250_000]

    def test_none_where_there_are_none(self, trace) -> None:
        assert trace({"input_length": 5}, {"input_length": 6, "timestamp": None}).due_ns() is None

    def test_some_is_an_error(self, trace) -> None:
        with pytest.raises(DataError, match=r"1 of 2 rows have no timestamp; expected one in each row, or in none"):
            trace(GOOD, {"input_length": 5})

    def test_rows_out_of_order_are_sorted_and_that_is_said(self, trace) -> None:
        rows = [{"timestamp": t, "input_length": n, "hash_ids": [n]} for t, n in ((9, 1), (2, 2), (2, 3), (0, 4))]
        source, plain = trace(*rows), trace(*({**row, "timestamp": 0} for row in rows))
        assert source.due_ns().tolist() == [0, 2_000_000, 2_000_000, 9_000_000]
        assert source.lengths(np.arange(4)).input_tokens.tolist() == [4, 2, 3, 1]
        assert [source.turn(i, warmup=False) for i in range(4)] == [plain.turn(i, warmup=False) for i in (3, 1, 2, 0)]
        assert ["sorted" in note for note in source.notes] == [True]


class TestOutputLengths:
    def test_a_rows_own_goes_first(self, trace) -> None:
        source = trace(GOOD, {**GOOD, "output_length": None}, options={"output_tokens": 9})
        assert source.lengths(np.arange(2)).output_tokens.tolist() == [52, 9]
        assert source.notes == ()

    def test_one_that_nobody_needs_is_said(self, trace) -> None:
        assert "output_tokens.mean is not used" in trace(GOOD, options={"output_tokens": 9}).notes[0]

    def test_exact_needs_a_length(self, trace) -> None:
        assert trace(GOOD, options={"output_tokens": {"exact": True, "mean": 3}}).turn(0, warmup=False).output_tokens == 52
        exact = {"type": "custom", "format": "mooncake_trace", "path": "x", "output_tokens": {"exact": True}}
        with pytest.raises(ConfigError, match="exact needs"):
            trace(GOOD, {"input_length": 5, "timestamp": 30}, options=exact)

    def test_input_lengths_of_the_options_would_be_ignored(self, trace) -> None:
        with pytest.raises(ConfigError, match=r"dataset\.input_tokens is for synthetic"):
            trace(GOOD, options={"input_tokens": 9})


BAD = [
    ({"timestamp": 1}, "input_length is missing; expected a whole number of tokens from 1 to 10,000,000"),
    ({**GOOD, "input_length": -5}, "input_length=-5; expected a whole number"),
    ({**GOOD, "input_length": 0, "hash_ids": []}, "input_length=0; expected"),
    ({**GOOD, "input_length": "12"}, 'input_length="12"; expected'),
    ({**GOOD, "input_length": None}, "input_length=null; expected"),
    ({**GOOD, "output_length": 0}, "output_length=0; expected"),
    ({**GOOD, "output_length": 1.5}, "output_length=1.5; expected"),
    ({**GOOD, "timestamp": -1}, "timestamp=-1; expected milliseconds from the start, 0 or more"),
    ({**GOOD, "timestamp": 10**18}, "timestamp=1000000000000000000; expected"),
    ({**GOOD, "timestamp": True}, "timestamp=true; expected"),
    ({**GOOD, "hash_ids": 3}, "hash_ids=3; expected a list of whole numbers from 0"),
    ({**GOOD, "hash_ids": [4, -1]}, r"hash_ids=\[4,-1\]; expected"),
    ({**GOOD, "hash_ids": [4, 2**64]}, r"hash_ids.*18446744073709551616.*expected"),
    ({**GOOD, "hash_ids": [1, 2, 3]}, "hash_ids has 3 ids; expected at most 2, since input_length=600 fills no more blocks of 512 tokens"),
    (
        {**GOOD, "text_input": "hello"},
        'text_input="hello" cannot be played; expected no more than timestamp, input_length, output_length, hash_ids',
    ),
    ({**GOOD, "session_id": "a"}, 'session_id="a" cannot be played'),
    ({**GOOD, "delay": 5}, "delay=5 cannot be played"),
    ("[1, 2]", r"\[1,2\] is no row; expected an object"),
    ('{"timestamp": 1,', r"is no JSON \(.*\): \{.timestamp.: 1,"),
    ("[" * 5000, "is no JSON"),
]


class TestBadRows:
    @pytest.mark.parametrize(("row", "message"), BAD, ids=[f"{i}" for i in range(len(BAD))])
    def test_say_file_line_field_value_and_what_was_expected(self, trace, row, message) -> None:
        with pytest.raises(DataError, match=r"trace\.jsonl:3: " + message):
            trace(GOOD, "", row, GOOD)

    def test_are_told_together(self, trace) -> None:
        with pytest.raises(DataError) as caught:
            trace({"input_length": 0, "output_length": 0}, GOOD, *[{"input_length": -1}] * 30)
        assert len(caught.value.problems) == 10
        assert [problem.split(":")[1] for problem in caught.value.problems[:3]] == ["1", "1", "3"]

    def test_a_quoted_number_keeps_its_quotes(self, trace) -> None:
        with pytest.raises(DataError, match='input_length="600"; expected a whole number'):
            trace({"input_length": "600"})

    def test_a_byte_order_mark_is_no_part_of_the_first_row(self, tmp_path) -> None:
        path = tmp_path / "trace.jsonl"
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\n")
        assert len(mooncake_rows.read(path).input_tokens) == 1

    def test_a_file_without_rows(self, trace) -> None:
        with pytest.raises(DataError, match="holds no rows"):
            trace("", "  ")

    def test_a_file_that_is_not_there(self) -> None:
        options = Dataset(type="custom", format="mooncake_trace", path="nowhere.jsonl")
        with pytest.raises(ConfigError, match=r"dataset.path: nowhere.jsonl does not exist"):
            CustomDatasetComposer(options, seed=1, salt="s")

    def test_unknown_fields_pass_and_are_said_once(self, trace) -> None:
        source = trace(GOOD, {**GOOD, "user": 1, "priority": 2}, {**GOOD, "user": 3, "messages": None})
        assert source.turn(2, warmup=False).output_tokens == 52
        assert [note.split(": ")[1] for note in source.notes] == [
            "messages is not read (line 3 is the first with it)",
            "priority is not read (line 2 is the first with it)",
            "user is not read (line 2 is the first with it)",
        ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)
ROWS = st.dictionaries(st.sampled_from(["timestamp", "input_length", "output_length", "hash_ids", "delay", "x"]), JSON | st.integers(0, 99))


@settings(max_examples=300)
@given(st.lists(ROWS.map(lambda row: json.dumps(row).encode()) | st.binary(max_size=30), min_size=1, max_size=4))
def test_any_line_is_read_or_refused(tmp_path_factory, lines: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(b"\n".join(lines))
    try:
        rows = mooncake_rows.read(path)
    except DataError as exc:
        refused = exc.problems
    else:
        refused = ()
        assert_whole(rows)
    assert all(problem.startswith(str(path)) for problem in refused)


def assert_whole(rows: mooncake_rows.Rows) -> None:
    assert len(rows.input_tokens) == len(rows.first) == len(rows.blocks) > 0
    assert (rows.input_tokens > 0).all()
    assert rows.blocks.sum() == len(rows.hash_ids)
