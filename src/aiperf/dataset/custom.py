"""Conversations from a file, by the loader that its format names or that knows its first row, in the order that is asked for."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiperf.config.dataset import Dataset, InputTokens
from aiperf.dataset.bank import Wording
from aiperf.dataset.fields import cut, parsed
from aiperf.dataset.lines import scan
from aiperf.dataset.samplers import OneByOne
from aiperf.errors import ConfigError, DataError
from aiperf.paths import data_file
from aiperf.plugin import plugins
from aiperf.plugin.border import border
from aiperf.plugin.types import PluginEntry
from aiperf.workload import Lengths, Turn

_SEQUENTIAL = "sequential"


class CustomDatasetComposer:
    """A Source of a file's rows, of the first `options.entries` if that is set; without end, as the sampler has it.

    Times belong to rows in the file's order: there are none with another sampling. Raises ConfigError for the file and for
    options that would be ignored, DataError for a row that cannot be used.
    """

    def __init__(self, options: Dataset, *, seed: int, wording: Wording) -> None:
        _check(options)
        path = data_file(options.path or "", "dataset.path")
        form, own = options.format or format_of(path), options.options
        self._loader = plugins.make("custom_dataset_loader", form, path, options, seed=seed, wording=wording, options=own)
        self._count = min(len(self._loader), options.entries or len(self._loader))
        self._sampler = plugins.make("dataset_sampler", options.sampling, self._count, seed=seed, options=own)
        self._one = OneByOne(self.rows)
        self._timed = options.sampling == _SEQUENTIAL
        unused = not self._timed and self._loader.due_ns() is not None
        note = f"{path}: its times are not used, since dataset.sampling={options.sampling} takes rows out of their order"
        self.notes: tuple[str, ...] = (*self._loader.notes, note) if unused else tuple(self._loader.notes)
        self.says = self._loader.says

    def turn(self, conversation: int, *, warmup: bool) -> Turn:
        """The row that this conversation is, rendered now."""
        return self._loader.turn(self._one.at(conversation), warmup=warmup)

    def lengths(self, conversations: NDArray[np.int64]) -> Lengths:
        """What their rows ask for."""
        return self._loader.lengths(self.rows(conversations))

    def rows(self, conversations: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows that they are. Raises DataError where a sampler names one that there is not."""
        rows = self._sampler.rows(conversations)
        if len(rows) and rows.max() >= self._count:
            raise DataError(f"dataset.sampling names row {rows.max():,}, and there are {self._count:,}, from 0 on")
        return rows

    def due_ns(self) -> NDArray[np.int64] | None:
        """The file's times."""
        due_ns = self._loader.due_ns() if self._timed else None
        return None if due_ns is None else due_ns[: self._count]


def _check(options: Dataset) -> None:
    problems = []
    if options.input_tokens != InputTokens():
        problems.append(f"dataset.input_tokens is for synthetic conversations; the rows of {options.path} have lengths of their own")
    if options.batch_size > 1:
        problems.append(f"dataset.batch_size is for synthetic conversations; the rows of {options.path} have texts of their own")
    if problems:
        raise ConfigError(problems)


def format_of(path: Path) -> str:
    """The name of the one loader that claims the file's first row. Raises ConfigError if none does, or several do."""
    row = _first_row(path)
    entries = list(plugins.iter_entries("custom_dataset_loader"))
    claimed = [entry.name for entry in entries if _claims(entry, row)]
    if len(claimed) == 1:
        return claimed[0]
    found = f"could be {' or '.join(claimed)}" if claimed else "is of no format that is known"
    known = "".join(f"\n  {entry.name}: {entry.description}" for entry in entries)
    raise ConfigError(f"{path} {found}; its first row holds {cut(', '.join(row)) or 'nothing'}. Set dataset.format to one of{known}")


def _claims(entry: PluginEntry, row: Mapping[str, Any]) -> bool:
    with border(entry):
        return bool(plugins.get_class(entry.category, entry.class_path).claims(row))


def _first_row(path: Path) -> Mapping[str, Any]:
    with closing(scan(path)) as lines:
        line = next(lines, None)
    if line is None:
        raise DataError(f"{path}: holds no rows; expected a JSON object a line")
    try:
        return parsed(line.text)
    except DataError as exc:
        raise DataError(f"{path}:{line.number}: {exc}") from exc
