"""Short texts are drawn several at once: each is what it would be alone."""

import pytest

from aiperf import chance
from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import COMMON, Wording
from aiperf.dataset.synthetic import SyntheticDatasetComposer


@pytest.mark.parametrize("stddev", [0, 9])
@pytest.mark.parametrize("warmup", [False, True])
def test_a_text_among_neighbours_is_the_text_alone(stddev: int, warmup: bool) -> None:
    options = Dataset.model_validate({"input_tokens": {"mean": 40, "stddev": stddev}})
    source = SyntheticDatasetComposer(options, seed=5, wording=Wording(salt="s", template_tokens=3))
    key = chance.child_seed(5, f"{'warmup' if warmup else 'text'}:s")
    for conversation in (*range(20), 1000, 3, 2_000_001):
        turn = source.turn(conversation, warmup=warmup)
        alone = COMMON.words(chance.child_seed(key, str(conversation)), max(1, turn.input_tokens - 3))
        assert turn.text == COMMON.text(alone)
