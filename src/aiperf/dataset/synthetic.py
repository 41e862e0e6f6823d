"""Conversations of one turn that nobody had: exact to the word, told apart by their number alone."""

import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.config.dataset import Dataset
from aiperf.dataset import bank
from aiperf.dataset.sizes import Sizes
from aiperf.workload import Lengths, Turn


class SyntheticDatasetComposer:
    """A Source of drawn texts. Lengths hang on the seed alone, texts on seed and `salt`; a warm-up's texts are others."""

    def __init__(self, options: Dataset, *, seed: int, salt: str) -> None:
        output = options.output_tokens
        self._entries = options.entries
        self._input = Sizes(options.input_tokens.mean, options.input_tokens.stddev, chance.child_seed(seed, "input_tokens"))
        self._output = output.mean and Sizes(output.mean, output.stddev, chance.child_seed(seed, "output_tokens"))
        self._run = chance.child_seed(seed, f"text:{salt}")
        self._warmup = chance.child_seed(seed, f"warmup:{salt}")

    def turn(self, conversation: int, *, warmup: bool) -> Turn:
        """The text of a conversation, rendered now."""
        if self._entries:
            conversation %= self._entries
        size = self._input.at(conversation)
        key = chance.child_seed(self._warmup if warmup else self._run, str(conversation))
        return Turn(bank.text(key, size), size, self._output.at(conversation) if self._output else None)

    def lengths(self, conversations: NDArray[np.int64]) -> Lengths:
        """What `turn` would ask for."""
        if self._entries:
            conversations = conversations % self._entries
        outputs = self._output.of(conversations) if self._output else np.zeros(len(conversations), dtype=np.int32)
        return Lengths(self._input.of(conversations), outputs)

    def due_ns(self) -> None:
        """Nothing was recorded."""
        return
