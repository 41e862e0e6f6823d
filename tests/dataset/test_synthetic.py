import numpy as np

from aiperf.config.dataset import Dataset
from aiperf.dataset.synthetic import SyntheticDatasetComposer


def composed(**options) -> SyntheticDatasetComposer:
    return SyntheticDatasetComposer(Dataset.model_validate(options), seed=3, salt="s")


def test_nothing_is_asked_of_the_answer_unless_it_is() -> None:
    source = composed(input_tokens=20)
    assert source.turn(0, warmup=False).output_tokens is None
    assert source.lengths(np.arange(3)).output_tokens.tolist() == [0, 0, 0]
    assert composed(output_tokens=7).turn(0, warmup=False).output_tokens == 7


def test_entries_come_round() -> None:
    source = composed(entries=3, input_tokens={"mean": 30, "stddev": 9})
    turns = [source.turn(i, warmup=False) for i in range(7)]
    assert turns[:3] == turns[3:6]
    assert turns[6] == turns[0]
    assert len({turn.text for turn in turns}) == 3
    assert source.lengths(np.arange(7)).input_tokens.tolist() == [turn.input_tokens for turn in turns]


def test_no_two_are_alike_without_entries() -> None:
    source = composed(input_tokens=40)
    begins = {source.turn(i, warmup=w).text[:44] for i in range(5000) for w in (False, True)}
    assert len(begins) == 10_000


def test_the_first_words_spread_over_the_bank() -> None:
    source = composed(input_tokens=1)
    assert len({source.turn(i, warmup=False).text for i in range(5000)}) == 512


def test_input_and_output_lengths_are_drawn_apart() -> None:
    lengths = composed(input_tokens={"mean": 500, "stddev": 50}, output_tokens={"mean": 500, "stddev": 50}).lengths(np.arange(5000))
    assert abs(np.corrcoef(lengths.input_tokens, lengths.output_tokens)[0, 1]) < 0.05


def test_the_seed_changes_lengths_and_texts() -> None:
    options = Dataset.model_validate({"input_tokens": {"mean": 500, "stddev": 50}})
    one, two = (SyntheticDatasetComposer(options, seed=seed, salt="s") for seed in (1, 2))
    assert one.lengths(np.arange(9)).input_tokens.tolist() != two.lengths(np.arange(9)).input_tokens.tolist()
    assert one.turn(0, warmup=False).text[:40] != two.turn(0, warmup=False).text[:40]
