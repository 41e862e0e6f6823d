"""Conversations of one turn that nobody had: exact to the token, told apart by their number alone."""

import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import Picks, Wording
from aiperf.dataset.samplers import OneByOne
from aiperf.dataset.sizes import Sizes
from aiperf.errors import ConfigError
from aiperf.plugin import plugins
from aiperf.seams import Sampler
from aiperf.workload import Lengths, Turn

_LANES = 4
_DEVIATIONS = 10  # a normal draw of 53 bits is not further out than 8.6
_MOST_TOKENS = np.iinfo(np.int32).max


class SyntheticDatasetComposer:
    """A Source of drawn texts, or of their ids where the bank has them. Lengths hang on the seed alone, texts on seed and salt.

    A warm-up's texts are others. Each text of a batch is drawn for itself, all of a turn to the same length; the asked length
    is their sum. Raises ConfigError for a batch that cannot be counted.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, options: Dataset, *, seed: int, wording: Wording) -> None:
        output = options.output_tokens
        _check(options)
        self._wording, self._batch = wording, options.batch_size
        self._rows = _rows(options, seed)
        self._one = None if self._rows is None else OneByOne(self._rows)
        self._input = Sizes(options.input_tokens.mean, options.input_tokens.stddev, chance.child_seed(seed, "input_tokens"))
        self._output = output.mean and Sizes(output.mean, output.stddev, chance.child_seed(seed, "output_tokens"))
        self._run = chance.child_seed(seed, f"text:{wording.salt}")
        self._warmup = chance.child_seed(seed, f"warmup:{wording.salt}")
        self._with_ids = wording.bank.ids is not None
        self.says = frozenset({"token_ids" if self._with_ids else "texts"} | ({"batches"} if self._batch > 1 else set()))

    def turn(self, conversation: int, *, warmup: bool) -> Turn:
        """The texts of a conversation, rendered now."""
        row = conversation if self._one is None else self._one.row(conversation)
        size = self._input.at(row)
        key = chance.child_seed(self._warmup if warmup else self._run, str(row))
        picks = self._picks(key, self._wording.size(size))
        bank = self._wording.bank
        asked = self._output.at(row) if self._output else None
        if self._with_ids:
            return Turn(token_ids=tuple(map(bank.encoded, picks)), input_tokens=size * self._batch, output_tokens=asked)
        return Turn(tuple(map(bank.text, picks)), size * self._batch, asked)

    def lengths(self, conversations: NDArray[np.int64]) -> Lengths:
        """What `turn` would ask for."""
        rows = conversations if self._rows is None else self._rows.rows(conversations)
        outputs = self._output.of(rows) if self._output else np.zeros(len(rows), dtype=np.int32)
        return Lengths(self._input.of(rows) * np.int32(self._batch), outputs)

    def due_ns(self) -> None:
        """Nothing was recorded."""
        return

    def _picks(self, key: int, size: int) -> list[Picks]:
        """A row of words for each text of a batch."""
        bank = self._wording.bank
        if self._batch == 1:
            return [bank.words(key, size)]
        whole = -(-size // _LANES) * _LANES
        rows = bank.blocks(chance.draws(key, self._batch), whole).reshape(self._batch, whole)
        return list(rows[:, :size])


def _check(options: Dataset) -> None:
    longest = options.input_tokens.mean + _DEVIATIONS * options.input_tokens.stddev
    if longest * options.batch_size > _MOST_TOKENS:
        raise ConfigError(
            f"dataset.batch_size={options.batch_size} of texts of {longest:,.0f} tokens is more than {_MOST_TOKENS:,} tokens a request"
        )


def _rows(options: Dataset, seed: int) -> Sampler | None:
    """Which of the entries a conversation is; None where each is one of its own."""
    if options.entries is None:
        return None
    return plugins.make("dataset_sampler", options.sampling, options.entries, seed=seed, options=options.options)
