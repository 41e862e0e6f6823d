"""Plays a Mooncake trace: recorded times and lengths, and blocks of text that are equal where their hash ids are.

Format: the traces published with Qin et al., "Mooncake: A KVCache-centric Disaggregated Architecture for LLM Serving" (2024).
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.config.dataset import Dataset, InputTokens
from aiperf.dataset import bank
from aiperf.dataset.mooncake_rows import BLOCK, Rows, read
from aiperf.dataset.sizes import Sizes
from aiperf.errors import ConfigError
from aiperf.workload import Lengths, Turn


class MooncakeTrace:
    """A Source of a trace's rows; after the last comes the first again.

    Tokens that no hash id covers are the row's own. Rows without `output_length` ask for `options.output_tokens`.
    `notes` says what a person should know of the file. Raises DataError for rows that cannot be used, ConfigError for
    options that would be ignored.
    """

    def __init__(self, path: Path, options: Dataset, *, seed: int, salt: str) -> None:
        rows = read(path)
        _check(path, rows, options)
        self._rows = rows
        self._count = min(len(rows.input_tokens), options.entries or len(rows.input_tokens))
        self._outputs = _outputs(rows, options, seed)
        self._run = chance.child_seed(seed, f"text:{salt}")
        self._warmup = chance.child_seed(seed, f"warmup:{salt}")
        self.notes: tuple[str, ...] = (*rows.notes, *_notes(path, rows, options))

    def turn(self, conversation: int, *, warmup: bool) -> Turn:
        """The text of a row, rendered now."""
        row = conversation % self._count
        size, asked = int(self._rows.input_tokens[row]), int(self._outputs[row])
        return Turn(self._text(row, size, self._warmup if warmup else self._run), size, asked or None)

    def lengths(self, conversations: NDArray[np.int64]) -> Lengths:
        """What the rows ask for."""
        rows = conversations % self._count
        return Lengths(self._rows.input_tokens[rows], self._outputs[rows])

    def due_ns(self) -> NDArray[np.int64] | None:
        """The rows' times from the file's own zero, ascending; None if they have none."""
        return self._rows.due_ns

    def _text(self, row: int, size: int, root: int) -> str:
        first, blocks = int(self._rows.first[row]), int(self._rows.blocks[row])
        ids = self._rows.hash_ids[first : first + blocks]
        shared = bank.blocks(chance.draws_at(chance.child_seed(root, "block"), ids), BLOCK)[: size * bank.WIDTH]
        rest = size - min(size, blocks * BLOCK)
        return bank.joined(shared + bank.words(chance.child_seed(root, f"row:{row}"), rest))


def _check(path: Path, rows: Rows, options: Dataset) -> None:
    if options.input_tokens != InputTokens():
        raise ConfigError(f"dataset.input_tokens is for synthetic conversations; the rows of {path} have their own input_length")
    if options.output_tokens.exact and options.output_tokens.mean is None and not rows.output_tokens.all():
        row = int(np.argmin(rows.output_tokens))
        raise ConfigError(f"dataset.output_tokens.exact needs dataset.output_tokens.mean, since row {row} of {path} has no output_length")


def _outputs(rows: Rows, options: Dataset, seed: int) -> NDArray[np.int32]:
    asked = options.output_tokens
    if asked.mean is None:
        return rows.output_tokens
    sizes = Sizes(asked.mean, asked.stddev, chance.child_seed(seed, "output_tokens"))
    return np.where(rows.output_tokens > 0, rows.output_tokens, sizes.of(np.arange(len(rows.output_tokens))))


def _notes(path: Path, rows: Rows, options: Dataset) -> list[str]:
    if options.output_tokens.mean is not None and rows.output_tokens.all():
        return [f"{path}: dataset.output_tokens.mean is not used, since every row has its output_length"]
    return []
