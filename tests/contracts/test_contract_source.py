"""What every Source must keep. A new one is declared in plugins.yaml and gets a case here: how it is made."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import Wording
from aiperf.plugin import plugins
from aiperf.seams import SAYS, Loader, Source

ROWS = [
    {"timestamp": 40 * i, "input_length": 513 + 100 * i, "output_length": 10 + i, "hash_ids": [0, i + 1, i + 101][: 2 + (i > 5)]}
    for i in range(40)
]
MANY = np.arange(40)


def trace(folder: Path) -> Path:
    path = folder / "trace.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def synthetic(folder: Path) -> Dataset:
    return Dataset.model_validate({"input_tokens": {"mean": 60, "stddev": 15}, "output_tokens": {"mean": 20, "stddev": 5}})


def custom(folder: Path) -> Dataset:
    return Dataset(type="custom", format="mooncake_trace", path=str(trace(folder)))


def single_turn(folder: Path) -> Dataset:
    rows = [{"text": f"{i} bottles of beer on the wall", "delay": 40, "output_length": 10 + i} for i in range(40)]
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Dataset(type="custom", format="single_turn", path=str(path))


COMPOSERS = {"synthetic": synthetic, "custom": custom}
LOADERS = {"mooncake_trace": custom, "single_turn": single_turn}
DRAWN = {"synthetic", "custom", "mooncake_trace"}
"""Those whose texts are drawn to a length; the others have texts of their own."""
CASES = [("dataset_composer", name) for name in COMPOSERS] + [("custom_dataset_loader", name) for name in LOADERS]


def test_every_source_of_the_registry_has_a_case() -> None:
    declared = [(kind, e.name) for kind in ("dataset_composer", "custom_dataset_loader") for e in plugins.iter_entries(kind)]
    assert sorted(declared) == sorted(CASES)


def maker(kind: str, name: str, folder: Path) -> Callable[..., Source | Loader]:
    cls, options = plugins.get_class(kind, name), (COMPOSERS if kind == "dataset_composer" else LOADERS)[name](folder)

    def made(seed: int = 7, salt: str = "salt") -> Source | Loader:
        if kind == "dataset_composer":
            return cls(options, seed=seed, wording=Wording(salt=salt))
        return cls(Path(options.path), options, seed=seed, wording=Wording(salt=salt))

    return made


@pytest.fixture(params=CASES, ids=lambda case: case[1])
def make(request, tmp_path):
    return maker(*request.param, tmp_path)


@pytest.fixture(params=[case for case in CASES if case[1] in DRAWN], ids=lambda case: case[1])
def drawn(request, tmp_path):
    return maker(*request.param, tmp_path)


class TestEverySource:
    def test_says_what_its_turns_hold(self, make) -> None:
        source = make()
        assert set(source.says) <= set(SAYS)
        assert all(isinstance(note, str) for note in source.notes)

    def test_lengths_are_those_of_the_turns(self, make) -> None:
        source = make()
        turns = [source.turn(int(i), warmup=False) for i in MANY]
        lengths = source.lengths(MANY)
        assert (lengths.input_tokens.dtype, lengths.output_tokens.dtype) == (np.int32, np.int32)
        assert [t.input_tokens for t in turns] == lengths.input_tokens.tolist()
        assert [t.output_tokens or 0 for t in turns] == lengths.output_tokens.tolist()

    def test_lengths_come_in_the_order_asked_for(self, make) -> None:
        source, picked = make(), np.array([9, 3, 3, 31])
        assert source.lengths(picked).input_tokens.tolist() == source.lengths(MANY).input_tokens[picked].tolist()

    def test_a_text_has_as_many_words_as_tokens(self, drawn) -> None:
        source = drawn()
        for i in MANY:
            for warmup in (False, True):
                turn = source.turn(int(i), warmup=warmup)
                assert len(turn.text.split(" ")) == turn.input_tokens
                assert turn.text.isascii()

    def test_a_warmup_has_the_lengths_and_not_the_texts(self, drawn) -> None:
        source = drawn()
        for i in MANY:
            run, warmup = source.turn(int(i), warmup=False), source.turn(int(i), warmup=True)
            assert (run.input_tokens, run.output_tokens) == (warmup.input_tokens, warmup.output_tokens)
            assert run.text[:50] != warmup.text[:50]

    def test_a_salt_changes_texts_and_not_lengths(self, drawn) -> None:
        one, two = drawn(salt="monday"), drawn(salt="tuesday")
        assert one.lengths(MANY).input_tokens.tolist() == two.lengths(MANY).input_tokens.tolist()
        assert all(one.turn(int(i), warmup=w).text[:50] != two.turn(int(i), warmup=w).text[:50] for i in MANY for w in (False, True))

    def test_the_same_seed_and_salt_say_the_same_in_any_order_and_process(self, make) -> None:
        one, two = make(), pickle.loads(pickle.dumps(make()))  # noqa: S301 - our own bytes
        there = [one.turn(int(i), warmup=False) for i in MANY]
        back = [two.turn(int(i), warmup=False) for i in MANY[::-1]]
        assert there == back[::-1]

    def test_recorded_times_ascend_if_there_are_any(self, make) -> None:
        due_ns = make().due_ns()
        if due_ns is not None:
            assert due_ns.dtype == np.int64
            assert (np.diff(due_ns) >= 0).all()
            assert due_ns[0] >= 0
