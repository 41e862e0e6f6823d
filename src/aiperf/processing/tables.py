"""Rows of records to Arrow tables, column by column."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from aiperf.processing.derive import Row
from aiperf.records import CHANNELS, SCHEMA

_LISTS = ("chunk_ns", "chunk_channel", "chunk_tokens")
_CHANNEL_NAMES = pa.array(CHANNELS)


def table(rows: Sequence[Row], *, urls: Sequence[str], model: str) -> pa.Table:
    """The rows as a table of records.SCHEMA; `urls` are the servers by index."""
    columns: dict[str, Any] = dict(zip(Row._fields, zip(*rows))) if rows else dict.fromkeys(Row._fields, ())
    offsets = _offsets(columns["chunk_ns"])
    columns["url"] = [urls[i] for i in columns["url"]]
    columns["model"] = [model] * len(rows)
    return pa.table([_column(field, columns[field.name], offsets) for field in SCHEMA], schema=SCHEMA)


def _offsets(lists: Sequence[Sequence[int]]) -> pa.Array:
    return pa.array(np.concatenate(([0], np.cumsum([len(items) for items in lists], dtype=np.int64))), pa.int32())


def _column(field: pa.Field, values: Sequence[Any], offsets: pa.Array) -> pa.Array:
    if field.name in _LISTS:
        return _lists(field.type.value_type, values, offsets)
    if pa.types.is_dictionary(field.type):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, field.type)


def _lists(item: pa.DataType, values: Sequence[Sequence[int]], offsets: pa.Array) -> pa.ListArray:
    flat = np.fromiter(chain.from_iterable(values), np.int64, count=offsets[-1].as_py())
    if pa.types.is_dictionary(item):
        return pa.ListArray.from_arrays(offsets, pa.DictionaryArray.from_arrays(pa.array(flat.astype(np.int8)), _CHANNEL_NAMES))
    return pa.ListArray.from_arrays(offsets, pa.array(flat.astype(item.to_pandas_dtype(), copy=False)))
