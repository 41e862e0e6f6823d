import numpy as np
import pytest

from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import COMMON, Bank, Wording
from aiperf.dataset.synthetic import SyntheticDatasetComposer
from aiperf.errors import ConfigError

PLACES = np.arange(512, dtype=np.int32)
WITH_IDS = Bank(COMMON.spelled, PLACES + 1000, PLACES)


def composed(*, bank: Bank = COMMON, template_tokens: int = 0, **options) -> SyntheticDatasetComposer:
    return SyntheticDatasetComposer(Dataset.model_validate(options), seed=3, wording=Wording(bank, "s", template_tokens))


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


@pytest.mark.parametrize("sampling", ["random", "shuffle"])
def test_entries_are_sampled_as_asked(sampling) -> None:
    options = {"entries": 50, "input_tokens": {"mean": 30, "stddev": 9}}
    source, known = composed(sampling=sampling, **options), [turn.text for turn in turns_of(composed(**options), 50)]
    turns = turns_of(source, 3000)
    order = [known.index(turn.text) for turn in turns]
    assert set(order) == set(range(50))
    assert order[:50] != order[50:100]
    assert (sorted(order[:50]) == list(range(50))) == (sampling == "shuffle")
    assert source.lengths(np.arange(3000)).input_tokens.tolist() == [turn.input_tokens for turn in turns]


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
    one, two = (SyntheticDatasetComposer(options, seed=seed, wording=Wording()) for seed in (1, 2))
    assert one.lengths(np.arange(9)).input_tokens.tolist() != two.lengths(np.arange(9)).input_tokens.tolist()
    assert one.turn(0, warmup=False).text[:40] != two.turn(0, warmup=False).text[:40]


def test_each_text_of_a_batch_is_its_own_and_as_long_as_was_drawn() -> None:
    source, single = (composed(batch_size=size, input_tokens={"mean": 30, "stddev": 9}) for size in (7, 1))
    turns = turns_of(source, 300)
    for turn, alone in zip(turns, turns_of(single, 300)):
        assert [len(text.split(" ")) for text in turn.texts] == [alone.input_tokens] * 7
        assert turn.input_tokens == 7 * alone.input_tokens
    assert len({text for turn in turns for text in turn.texts}) == 2100
    assert source.lengths(np.arange(300)).input_tokens.tolist() == [turn.input_tokens for turn in turns]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_ids_are_those_of_the_texts(batch_size) -> None:
    options = {"batch_size": batch_size, "input_tokens": {"mean": 30, "stddev": 9}}
    texts, ids = (turns_of(composed(bank=bank, **options), 40) for bank in (COMMON, WITH_IDS))
    words = [word.decode()[1:] for word in COMMON.spelled.tolist()]
    for spelled, encoded in zip(texts, ids):
        assert [" ".join(words[token % 1000] for token in text) for text in encoded.token_ids] == list(spelled.texts)
        assert [[token >= 1000 for token in text].index(False) for text in encoded.token_ids] == [1] * batch_size
        assert (encoded.texts, encoded.input_tokens) == ((), spelled.input_tokens)


def test_it_says_what_its_turns_hold() -> None:
    assert composed().says == {"texts"}
    assert composed(batch_size=2).says == {"texts", "batches"}
    assert composed(bank=WITH_IDS).says == {"token_ids"}
    assert composed(bank=WITH_IDS, batch_size=2).says == {"token_ids", "batches"}


def test_the_text_is_shorter_by_what_the_template_brings() -> None:
    plain, templated = (composed(input_tokens={"mean": 30, "stddev": 12}, template_tokens=tokens) for tokens in (0, 11))
    for one, other in zip(turns_of(plain, 200), turns_of(templated, 200)):
        assert one.input_tokens == other.input_tokens
        assert len(other.text.split(" ")) == max(1, one.input_tokens - 11)


def test_a_batch_that_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.batch_size=4096 of texts of 1,000,000 tokens"):
        composed(batch_size=4096, input_tokens=1_000_000)


def turns_of(source: SyntheticDatasetComposer, count: int) -> list:
    return [source.turn(i, warmup=False) for i in range(count)]
