"""Every composer and loader of ours keeps its contract. A new one gets a case here: its options, or its rows."""

import json

import numpy as np
import pytest
from builtin import names

from aiperf.plugin import plugins
from aiperf.testing import ComposerContract, LoaderContract

MANY = range(40)
TRACE = [
    {"timestamp": 40 * i, "input_length": 513 + 100 * i, "output_length": 10 + i, "hash_ids": [0, i + 1, i + 101][: 2 + (i > 5)]}
    for i in MANY
]
TEXTS = [{"text": f"{i} bottles of beer on the wall", "delay": 40, "output_length": 10 + i} for i in MANY]


class TestSynthetic(ComposerContract):
    name = "synthetic"
    dataset = {"input_tokens": {"mean": 60, "stddev": 15}, "output_tokens": {"mean": 20, "stddev": 5}}  # noqa: RUF012 - read only


class TestCustom(ComposerContract):
    name = "custom"

    def source(self, entry, folder, *, salt="salt"):
        path = folder / "trace.jsonl"
        if not path.exists():  # a file that is played stays as it is
            path.write_text("".join(json.dumps(row) + "\n" for row in TRACE))
        self.dataset = {"path": str(path), "format": "mooncake_trace"}
        return super().source(entry, folder, salt=salt)


class TestMooncakeTrace(LoaderContract):
    name = "mooncake_trace"
    rows = TRACE


class TestSingleTurn(LoaderContract):
    name = "single_turn"
    rows = TEXTS


CASES = [TestSynthetic, TestCustom, TestMooncakeTrace, TestSingleTurn]


@pytest.mark.parametrize("kind", [ComposerContract, LoaderContract])
def test_every_source_has_a_case(kind):
    assert sorted(case.name for case in CASES if case.category == kind.category) == names(kind.category)


@pytest.mark.parametrize("case", [TestSynthetic, TestCustom, TestMooncakeTrace], ids=lambda case: case.name)
class TestEveryDrawnText:
    """Those whose texts are drawn to a length; the others have texts of their own."""

    @pytest.fixture
    def drawn(self, case, tmp_path):
        return lambda salt="salt": case().source(plugins.get_entry(case.category, case.name), tmp_path, salt=salt)

    @pytest.mark.parametrize("warmup", [False, True])
    def test_it_has_as_many_words_as_tokens(self, drawn, warmup):
        source = drawn()
        for turn in (source.turn(i, warmup=warmup) for i in MANY):
            assert len(turn.text.split(" ")) == turn.input_tokens
            assert turn.text.isascii()

    def test_a_warmup_has_others(self, drawn):
        source = drawn()
        assert all(source.turn(i, warmup=False).text[:50] != source.turn(i, warmup=True).text[:50] for i in MANY)

    def test_a_salt_changes_texts_and_not_lengths(self, drawn):
        one, two = drawn("monday"), drawn("tuesday")
        assert one.lengths(np.array(MANY)).input_tokens.tolist() == two.lengths(np.array(MANY)).input_tokens.tolist()
        assert all(one.turn(i, warmup=w).text[:50] != two.turn(i, warmup=w).text[:50] for i in MANY for w in (False, True))
