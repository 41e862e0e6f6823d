"""Conversations of one turn that nobody had: exact to the token, told apart by their number alone."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import Wording
from aiperf.dataset.samplers import OneByOne, Sizes
from aiperf.errors import ConfigError
from aiperf.plugin import plugins
from aiperf.workload import Lengths, Turn

_DEVIATIONS = 10  # a normal draw of 53 bits is not further out than 8.6
_MOST_TOKENS = np.iinfo(np.int32).max
_NEIGHBOURS, _SHORT = 8, 512  # texts of at most so many tokens are drawn so many at once, in the time that two would take


class SyntheticDatasetComposer:
    """A Source of drawn texts, or of their ids where the bank has them. Lengths hang on the seed alone, texts on seed and salt.

    A warm-up's texts are others. Each text of a batch is drawn for itself, all of a turn to the same length; the asked length
    is their sum. Raises ConfigError for a batch that cannot be counted.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, options: Dataset, *, seed: int, wording: Wording) -> None:
        prompts, answers, batch = options.input_tokens, options.output_tokens, options.batch_size
        if (longest := prompts.mean + _DEVIATIONS * prompts.stddev) * batch > _MOST_TOKENS:
            most = f"{_MOST_TOKENS:,} tokens a request"
            raise ConfigError(f"dataset.batch_size={batch} of texts of {longest:,.0f} tokens is more than {most}")
        self._wording, self._batch = wording, batch
        self._rows: Callable[[NDArray[np.int64]], NDArray[np.int64]] = np.asarray  # without entries each is one of its own
        if options.entries is not None:
            self._rows = plugins.make("dataset_sampler", options.sampling, options.entries, seed=seed, options=options.options).rows
        self._row = OneByOne(self._rows)
        self._input = Sizes(prompts.mean, prompts.stddev, chance.child_seed(seed, "input_tokens"))
        self._output = answers.mean and Sizes(answers.mean, answers.stddev, chance.child_seed(seed, "output_tokens"))
        self._keys = [chance.child_seed(seed, f"{part}:{wording.salt}") for part in ("text", "warmup")]
        self._with_ids = wording.bank.ids is not None
        self._texts: list[OneByOne] | None = None
        if batch == 1 and not self._with_ids and longest <= _SHORT:
            self._texts = [OneByOne(partial(self._drawn, key), _NEIGHBOURS) for key in self._keys]
        self.says = frozenset({"token_ids" if self._with_ids else "texts"} | ({"batches"} if batch > 1 else set()))

    def turn(self, conversation: int, *, warmup: bool) -> Turn:
        """The texts of a conversation, rendered now."""
        row, bank = self._row.at(conversation), self._wording.bank
        size, asked = self._input.at(row), self._output.at(row) if self._output else None
        words, batch = self._wording.size(size), self._batch
        if self._texts is not None:
            return Turn((self._texts[warmup].at(conversation)[: words * bank.spelled.itemsize - 1],), size, asked)
        key = chance.child_seed(self._keys[warmup], str(row))
        picks = [bank.words(key, words)] if batch == 1 else bank.blocks(chance.draws(key, batch), words)
        if self._with_ids:
            return Turn(token_ids=tuple(map(bank.encoded, picks)), input_tokens=size * batch, output_tokens=asked)
        return Turn(tuple(map(bank.text, picks)), size * batch, asked)

    def lengths(self, conversations: NDArray[np.int64]) -> Lengths:
        """What `turn` would ask for."""
        rows = self._rows(conversations)
        outputs = self._output.of(rows) if self._output else np.zeros(len(rows), dtype=np.int32)
        return Lengths(self._input.of(rows) * np.int32(self._batch), outputs)

    def due_ns(self) -> None:
        """Nothing was recorded."""

    def _drawn(self, key: int, conversations: NDArray[np.int64]) -> NDArray[np.object_]:
        """Their texts, each at least as long as it has to be: a shorter one is how a longer one begins."""
        rows, bank = [self._row.at(conversation) for conversation in conversations.tolist()], self._wording.bank
        words = max(self._wording.size(self._input.at(row)) for row in rows)
        keys = np.array([chance.child_seed(key, str(row)) for row in rows], dtype=np.uint64)
        text, each = bank.text(bank.blocks(keys, words).ravel()), words * bank.spelled.itemsize
        return np.array([text[at : at + each - 1] for at in range(0, len(text), each)], dtype=object)
