"""Conversations from a file, by the loader that its format names."""

import numpy as np
from numpy.typing import NDArray

from aiperf.config.dataset import Dataset
from aiperf.errors import ConfigError
from aiperf.paths import data_file
from aiperf.plugin import plugins
from aiperf.seams import Source
from aiperf.workload import Lengths, Turn


class CustomDatasetComposer:
    """A Source that hands on what its loader reads; raises ConfigError for the file, DataError for a row of it."""

    def __init__(self, options: Dataset, *, seed: int, salt: str) -> None:
        if not (options.path and options.format):
            raise ConfigError("dataset.type=custom needs dataset.path and dataset.format")
        loader = plugins.get_class("custom_dataset_loader", options.format)
        self._rows: Source = loader(data_file(options.path, "dataset.path"), options, seed=seed, salt=salt)
        self.notes: tuple[str, ...] = tuple(getattr(self._rows, "notes", ()))
        """What a person should know about the file, a sentence each."""

    def turn(self, conversation: int, *, warmup: bool) -> Turn:
        """The conversation of a row."""
        return self._rows.turn(conversation, warmup=warmup)

    def lengths(self, conversations: NDArray[np.int64]) -> Lengths:
        """What the rows ask for."""
        return self._rows.lengths(conversations)

    def due_ns(self) -> NDArray[np.int64] | None:
        """The file's times."""
        return self._rows.due_ns()
