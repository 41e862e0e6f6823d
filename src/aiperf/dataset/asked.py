"""What is asked of rows: how long answers are to be, a row's own `output_length` first; and what a person is told about given words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.config.dataset import Dataset
from aiperf.dataset.reading import Index
from aiperf.dataset.sizes import Sizes
from aiperf.errors import ConfigError


def output_tokens(index: Index, options: Dataset, seed: int) -> NDArray[np.int32]:
    """What each row asks for; 0 asks for nothing. Raises ConfigError where `exact` has no length to hold to."""
    asked = options.output_tokens
    if asked.mean is None and asked.exact and index.unasked is not None:
        where = f"{index.lines.path}:{index.unasked}"
        raise ConfigError(f"dataset.output_tokens.exact needs dataset.output_tokens.mean, since {where} has no output_length")
    if asked.mean is None:
        return index.output_tokens
    sizes = Sizes(asked.mean, asked.stddev, chance.child_seed(seed, "output_tokens"))
    return np.where(index.output_tokens > 0, index.output_tokens, sizes.of(np.arange(len(index.output_tokens))))


def notes(index: Index, options: Dataset) -> tuple[str, ...]:
    """A word on a length that no row needs."""
    if options.output_tokens.mean is None or index.unasked is not None:
        return ()
    return (f"{index.lines.path}: dataset.output_tokens.mean is not used, since every row has its output_length",)


def as_they_stand(path: Path, names: Sequence[str]) -> str:
    """What a person should know of words that are not drawn."""
    return f"{path}: {', '.join(names)} are sent as they stand, so a server's cache of a warm-up or of an earlier run may answer"


def without_ids(path: Path, line: int, name: str) -> str:
    """What is wrong with words of the file where ids are asked for."""
    return f"{path}:{line}: {name} has no token ids, which endpoint.prompt=token_ids asks for; expected input_length, whose text is drawn"
