"""The events of answers, flat: what chunk_ns, chunk_channel and chunk_tokens say about tokens, without a loop over rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.records import TOKEN_CHANNELS


@dataclass(frozen=True, slots=True, eq=False)
class TokenEvents:
    """The events that carry tokens of the `rows` answers of a batch, in order: for each its row, stamp, tokens and whether it is reasoning.

    `tokens` is what the server counted for the event; where it did not count an answer's tokens by event, 1 for each of its events.
    """

    rows: int
    row: NDArray[np.int64]
    stamp_ns: NDArray[np.int64]
    tokens: NDArray[np.float64]
    reasoning: NDArray[np.bool_]

    def sums(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """These weights, one an event, added up by row."""
        return np.bincount(self.row, weights=weights, minlength=self.rows).astype(np.float64, copy=False)

    def counts(self) -> NDArray[np.int64]:
        """Events a row."""
        return np.bincount(self.row, minlength=self.rows)


def token_events(batch: pa.RecordBatch) -> TokenEvents:
    """The events with tokens of these records."""
    channels = batch["chunk_channel"]
    lengths = pc.fill_null(pc.list_value_length(channels), 0).to_numpy(zero_copy_only=False)
    flat = channels.flatten()
    chosen = _among(flat, TOKEN_CHANNELS)
    row = np.repeat(np.arange(len(batch), dtype=np.int64), lengths)[chosen]
    counted = _numbers(batch["chunk_tokens"])[chosen].astype(np.float64)
    by_event = np.bincount(row, weights=counted, minlength=len(batch)) > 0
    return TokenEvents(
        len(batch), row, _numbers(batch["chunk_ns"])[chosen], np.where(by_event[row], counted, 1.0), _among(flat, ("reasoning",))[chosen]
    )


def server_counts(batch: pa.RecordBatch) -> NDArray[np.float64]:
    """Tokens that the server counted event by event, a row's sum; NaN where it left out an event that carries tokens."""
    lengths = pc.fill_null(pc.list_value_length(batch["chunk_tokens"]), 0).to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(batch), dtype=np.int64), lengths)
    counted = _numbers(batch["chunk_tokens"]).astype(np.float64)
    left_out = _among(batch["chunk_channel"].flatten(), TOKEN_CHANNELS) & (counted == 0)
    holes = np.bincount(row, weights=left_out, minlength=len(batch))
    sums = np.bincount(row, weights=counted, minlength=len(batch))
    return np.where((holes == 0) & (sums > 0), sums, np.nan)


def _numbers(column: pa.ListArray) -> NDArray[np.int64]:
    flat: NDArray[np.int64] = pc.fill_null(column.flatten(), 0).to_numpy(zero_copy_only=False)
    return flat


def _among(flat: pa.Array, names: tuple[str, ...]) -> NDArray[np.bool_]:
    if pa.types.is_dictionary(flat.type):
        known = np.array([name in names for name in flat.dictionary.to_pylist()], dtype=np.bool_)
        codes = flat.indices.to_numpy(zero_copy_only=False)
        return known[codes] if len(known) else np.zeros(len(codes), dtype=np.bool_)
    found: NDArray[np.bool_] = pc.is_in(flat, value_set=pa.array(names)).to_numpy(zero_copy_only=False)
    return found
