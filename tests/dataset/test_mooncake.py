import json
import re
from collections import defaultdict
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import COMMON, Bank, Wording
from aiperf.dataset.custom import CustomDatasetComposer, MooncakeTrace
from aiperf.dataset.rows import KINDS, Rows
from aiperf.errors import ConfigError, DataError
from aiperf.paths import data_file

PACKAGED = "pkg://samples/mooncake_200.jsonl"
GOOD = {"timestamp": 27, "input_length": 600, "output_length": 52, "hash_ids": [4, 5]}
WORDING = Wording(salt="s")


@pytest.fixture
def written(tmp_path):
    def write(*rows: Any) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))  # one that is played stays as it is
        folder.mkdir()
        path = folder / "trace.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def trace(written):
    def loaded(*rows: Any, options: dict[str, Any] | None = None, wording: Wording = WORDING) -> MooncakeTrace:
        return MooncakeTrace(written(*rows), Dataset.model_validate(options or {}), seed=1, wording=wording)

    return loaded


def blocks(source: MooncakeTrace, row: int, *, warmup: bool = False) -> list[str]:
    words = source.turn(row, warmup=warmup).text.split(" ")
    return [" ".join(words[i : i + 512]) for i in range(0, len(words), 512)]


class TestThePackagedRows:
    options = Dataset(type="custom", format="mooncake_trace", path=PACKAGED)
    raw = tuple(json.loads(line) for line in data_file(PACKAGED, "x").read_text().splitlines())

    def test_are_played_as_they_are(self) -> None:
        source = CustomDatasetComposer(self.options, seed=1, wording=WORDING)
        assert source.notes == ()
        assert source.due_ns().tolist() == [row["timestamp"] * 1_000_000 for row in self.raw]
        for i, row in enumerate(self.raw):
            turn = source.turn(i, warmup=False)
            assert (turn.input_tokens, turn.output_tokens) == (row["input_length"], row["output_length"])
            assert len(turn.text.split(" ")) == row["input_length"]

    def test_equal_ids_are_equal_text_and_others_are_not(self) -> None:
        source = MooncakeTrace(data_file(PACKAGED, "x"), self.options, seed=1, wording=WORDING)
        texts = defaultdict(set)
        for i, row in enumerate(self.raw):
            for hash_id, block in zip(row["hash_ids"], blocks(source, i), strict=True):
                texts[hash_id].add(block)
        assert all(max(found, key=len).startswith(part) for found in texts.values() for part in found)
        begins = {min(found, key=len)[:39] for found in texts.values()}
        assert len(begins) == len(texts) > 1000

    def test_the_same_seed_says_the_same_everywhere(self) -> None:
        source = CustomDatasetComposer(self.options, seed=42, wording=Wording())
        said = sha256()
        for i, warmup in product(range(len(self.raw)), (False, True)):
            turn = source.turn(i, warmup=warmup)
            said.update(f"{turn.input_tokens} {turn.output_tokens} {turn.text}\n".encode())
        assert said.hexdigest() == "ecff12ad27765d1ddd5a195febfa558933fac32990bbffb5476fa24adba1c03e"

    def test_a_salt_and_a_warmup_are_other_text_throughout(self) -> None:
        one, two = (MooncakeTrace(data_file(PACKAGED, "x"), self.options, seed=1, wording=Wording(salt=salt)) for salt in ("a", "b"))
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

    def test_a_template_takes_its_tokens_from_the_end(self, trace) -> None:
        rows = [{"input_length": size, "hash_ids": [4, 5]} for size in (1024, 2000, 600)] + [{"input_length": 3}]
        plain, cut = trace(*rows), trace(*rows, wording=Wording(salt="s", template_tokens=10))
        for i, words in enumerate((1014, 1990, 590, 1)):
            turn = cut.turn(i, warmup=False)
            assert (turn.input_tokens, len(turn.text.split(" "))) == (rows[i]["input_length"], words)
            assert plain.turn(i, warmup=False).text.startswith(turn.text)

    def test_a_bank_with_ids_says_ids(self, trace) -> None:
        firsts, others = np.arange(1000, 1512, dtype=np.int32), np.arange(512, dtype=np.int32)
        source, plain = (trace(GOOD, wording=Wording(bank, "s")) for bank in (Bank(COMMON.spelled, firsts, others), COMMON))
        turn = source.turn(0, warmup=False)
        assert (turn.texts, turn.input_tokens, source.says) == ((), 600, {"token_ids"})
        first, *rest = turn.token_ids[0]
        spelled = [word.decode() for word in COMMON.spelled[[first - 1000, *rest]].tolist()]
        assert "".join(spelled)[1:] == plain.turn(0, warmup=False).text


class TestTimes:
    def test_milliseconds_from_the_files_own_zero(self, trace) -> None:
        assert trace({**GOOD, "timestamp": 5}, {**GOOD, "timestamp": 7.25}).due_ns().tolist() == [5_000_000, 7_250_000]

    def test_none_where_there_are_none(self, trace) -> None:
        assert trace({"input_length": 5}, {"input_length": 6, "timestamp": None}).due_ns() is None

    def test_some_is_an_error(self, trace) -> None:
        with pytest.raises(DataError, match=r"1 of 2 rows have no timestamp and no delay; expected one of them in each row, or in none"):
            trace(GOOD, {"input_length": 5})

    def test_a_delay_counts_from_the_row_before(self, trace) -> None:
        delays = [{"input_length": 5, "delay": delay} for delay in (2, 0.5, 0, 7)]
        assert trace(*delays).due_ns().tolist() == [2_000_000, 2_500_000, 2_500_000, 9_500_000]
        mixed = [{"input_length": 5, **time} for time in ({"delay": 1}, {"timestamp": 100}, {"delay": 5}, {"delay": 5}, {"timestamp": 103})]
        assert trace(*mixed).due_ns().tolist() == [1_000_000, 100_000_000, 103_000_000, 105_000_000, 110_000_000]

    def test_delays_beyond_what_a_clock_counts_are_refused(self, trace) -> None:
        with pytest.raises(DataError, match=r"trace.jsonl: timestamp and delay add up to 1\.8e\+10 s; expected at most"):
            trace({"input_length": 5, "timestamp": 9e12}, {"input_length": 5, "delay": 9e12})

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


BAD = [
    ({"timestamp": 1}, "has none of input_length, text_input, messages, payload; expected one of them"),
    ({**GOOD, "input_length": -5}, "input_length=-5; expected a whole number"),
    ({**GOOD, "input_length": 0, "hash_ids": []}, "input_length=0; expected"),
    ({**GOOD, "input_length": "12"}, 'input_length="12"; expected'),
    ({**GOOD, "input_length": None}, "has none of input_length"),
    ({**GOOD, "text_input": "hello"}, "has input_length and text_input; expected one of them"),
    ({"messages": [{}], "payload": {}}, "has messages and payload; expected one of them"),
    ({"text_input": "hello", "hash_ids": [1]}, r"hash_ids=\[1\] beside text_input; expected input_length with it"),
    ({"text_input": ""}, 'text_input=""; expected a text that is not empty'),
    ({"text_input": 3}, "text_input=3; expected a text"),
    ({"messages": []}, r"messages=\[\]; expected a list of objects, one at least"),
    ({"messages": ["hello"]}, r'messages=\["hello"\]; expected a list of objects'),
    ({"messages": "hello"}, 'messages="hello"; expected a list of objects'),
    ({"payload": "{}"}, 'payload="{}"; expected an object, which is the body to send'),
    ({"payload": {}, "extra": {"n": 2}}, r'extra={"n":2} beside payload, which is sent untouched; expected it within the payload'),
    ({"payload": {}, "tools": [{}]}, r"tools=\[{}\] beside payload"),
    ({**GOOD, "tools": {}}, "tools={}; expected a list of objects"),
    ({**GOOD, "extra": [1]}, r"extra=\[1\]; expected an object, which is merged into the body"),
    ({**GOOD, "delay": 5}, "has timestamp=27 and delay=5; expected one of them"),
    ({"input_length": 9, "delay": -5}, "delay=-5; expected milliseconds since the row before, 0 or more"),
    ({**GOOD, "images": ["a.png"]}, r'images=\["a.png"\] is not played yet'),
    ({**GOOD, "texts": ["a"]}, r'texts=\["a"\] is of another format'),
    ({**GOOD, "turns": []}, r"turns=\[\] is of a conversation of several turns, which is not played yet"),
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
        {**GOOD, "session_id": "a"},
        'session_id="a" is of a conversation of several turns, which is not played yet; expected no more than input_length, hash_ids',
    ),
    ("[1, 2]", r"\[1,2\] is no row; expected an object"),
    ('{"timestamp": 1,', r"is no JSON \(.*\): \{.timestamp.: 1,"),
    ("[" * 5000, "is no JSON"),
    ({**GOOD, "extra": {"stream": True}}, "extra holds stream=true; expected it as endpoint.streaming, for all rows"),
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

    def test_are_found_behind_unknown_fields_too(self, trace) -> None:
        odd = {"a-b": 1, "user": {"id": [1]}, "session_id": None}
        assert len(trace(*[{**GOOD, **odd}] * 3)) == 3
        with pytest.raises(DataError) as caught:
            trace(
                {**GOOD, **odd},
                {**GOOD, **odd, "session_id": "s"},
                {**GOOD, **odd, "input_length": 0},
                {**GOOD, **odd, "hash_ids": [1, 2, 3]},
            )
        assert [problem.split(":")[1] for problem in caught.value.problems] == ["2", "3", "4"]

    def test_any_number_of_unknown_fields_pass(self, trace) -> None:
        source = trace(*({**GOOD, f"field {i}": i} for i in range(100)))
        assert (len(source), len(source.notes)) == (100, 11)
        assert source.notes[-1].endswith("trace.jsonl: 90 other fields are not read")

    def test_any_name_of_an_unknown_field_passes(self, trace) -> None:
        names = ['a"b', "a\\b", "\x1b[31m", "é", "unread_0"]
        source = trace(*[{**GOOD, **dict.fromkeys(names, 1)}] * 3)
        assert (len(source), len(source.notes)) == (3, len(names))
        assert "\x1b" not in "".join(source.notes)

    def test_a_line_of_another_encoding(self, tmp_path) -> None:
        path = tmp_path / "trace.jsonl"
        path.write_bytes(b'{"text_input": "hi"}\n{"text_input": "caf\xe9"}\n\x1b[2J\n')
        with pytest.raises(DataError) as caught:
            MooncakeTrace(path, Dataset(), seed=1, wording=WORDING)
        second, third = caught.value.problems
        assert re.search(r"trace\.jsonl:2: is no JSON \('utf-8' codec .*\): .*caf\ufffd.*; expected a JSON object a line", second)
        assert third.endswith(": \ufffd[2J; expected a JSON object a line")
        source = MooncakeTrace(path, Dataset(on_bad_row="skip", type="custom", path="p"), seed=1, wording=WORDING)
        assert source.notes[0].startswith("2 of 3 rows were left out")

    def test_a_byte_order_mark_is_no_part_of_the_first_row(self, tmp_path) -> None:
        path = tmp_path / "trace.jsonl"
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"text_input": "hi"}).encode() + b"\n")
        source = MooncakeTrace(path, Dataset(), seed=1, wording=WORDING)
        assert (len(source), source.turn(0, warmup=False).text) == (1, "hi")

    def test_a_file_without_rows(self, trace) -> None:
        with pytest.raises(DataError, match="holds no rows"):
            trace("", "  ")

    def test_a_file_that_is_not_there(self) -> None:
        options = Dataset(type="custom", format="mooncake_trace", path="nowhere.jsonl")
        with pytest.raises(ConfigError, match=r"dataset.path: nowhere.jsonl does not exist"):
            CustomDatasetComposer(options, seed=1, wording=WORDING)

    def test_unknown_fields_pass_and_are_said_once(self, trace) -> None:
        source = trace(GOOD, {**GOOD, "user": 1, "priority": 2}, {**GOOD, "user": 3, "session_id": None})
        assert source.turn(2, warmup=False).output_tokens == 52
        assert [note.split(": ")[1] for note in source.notes] == [
            "priority is not read (line 2 is the first with it)",
            "session_id is not read (line 3 is the first with it)",
            "user is not read (line 2 is the first with it)",
        ]


@st.composite
def traces(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows whose ids come from a small pool, so that many are shared; some ids cover less than their row."""
    sizes = draw(st.lists(st.integers(1, 3000), min_size=1, max_size=6))
    few = st.integers(0, 7) | st.sampled_from([2**32, 2**64 - 1])
    counts = [draw(st.integers(0, -(-size // 512))) for size in sizes]
    return [{"input_length": size, "hash_ids": draw(st.lists(few, min_size=n, max_size=n))} for size, n in zip(sizes, counts, strict=True)]


@given(traces(), st.integers(0, 600), st.integers(0, 2**32))
def test_texts_are_equal_where_ids_are_and_lengths_are_exact(
    tmp_path_factory, rows: list[dict[str, Any]], template: int, seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "shared.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = MooncakeTrace(path, Dataset(), seed=seed, wording=Wording(salt="s", template_tokens=template))
    texts, own = defaultdict(set), []
    for i, row in enumerate(rows):
        words = source.turn(i, warmup=False).text.split(" ")
        assert len(words) == max(1, row["input_length"] - template)
        covered = 512 * len(row["hash_ids"])
        for at, hash_id in enumerate(row["hash_ids"]):
            texts[hash_id].add(" ".join(words[512 * at : 512 * at + 512]))
        own.append(" ".join(words[covered : covered + 512]))
    longest = {hash_id: max(found, key=len) for hash_id, found in texts.items()}
    assert all(longest[hash_id].startswith(part) for hash_id, found in texts.items() for part in found)
    told = [text[:79] for text in (*longest.values(), *own) if len(text) >= 79]  # sixteen words tell any two apart
    assert len(set(told)) == len(told)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)
ROWS = st.dictionaries(
    st.sampled_from(["timestamp", "input_length", "output_length", "hash_ids", "delay", "extra", "payload", "x"]), JSON | st.integers(0, 99)
)


@settings(max_examples=300)
@given(st.lists(ROWS.map(lambda row: json.dumps(row).encode()) | st.binary(max_size=30), min_size=1, max_size=4))
def test_any_line_is_read_or_refused(tmp_path_factory, lines: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(b"\n".join(lines))
    try:
        rows = Rows(path, MooncakeTrace.form)
    except DataError as exc:
        refused = exc.problems
    else:
        refused = ()
        assert_whole(rows)
    assert all(problem.startswith(str(path)) for problem in refused)


def assert_whole(rows: Rows) -> None:
    drawn = rows.kind == KINDS.index("input_length")
    assert len(rows.input) == len(rows.more) == len(rows.output) == len(rows.lines.starts) > 0
    assert (rows.input[drawn] > 0).all()
    assert (rows.input[~drawn] == 0).all()
