"""What requests' stamps and bytes come to: the values of their records, and tables of them. Pure.

When a token came is exact or an interval; MEASUREMENT's rules, in terms of the marks in the spool: a read's stamp is that
of its last segment, so it holds for the event that ends the read, unless the kernel merged segments (MERGED) or there is
no kernel stamp (USER), and for every event of a read that was one segment (TOGETHER).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from aiperf.endpoints.sse import is_stream
from aiperf.records import CHANNELS, LARGEST_COUNT, PHASES, SCHEMA, TOKEN_CHANNELS
from aiperf.seams import Said
from aiperf.spool import MERGED, TOGETHER, USER, VIRTUAL, WHOLE, Exchange

_IS_TOKEN = tuple(channel in TOKEN_CHANNELS for channel in CHANNELS)
_TOKEN_CODES = tuple(map(CHANNELS.index, TOKEN_CHANNELS))
_REASONING = CHANNELS.index("reasoning")
_CHANNEL_NAMES = pa.array(CHANNELS)
_LATE_ENDS = ("truncated", "reset")


class Tokens(NamedTuple):
    """Columns of events with tokens: parallel lists of stamps, channels and counts, and the moments that matter (null: never came)."""

    chunk_ns: Sequence[int] = ()
    chunk_channel: Sequence[int] = ()
    chunk_tokens: Sequence[int] = ()
    first_token_ns: int | None = None
    first_token_low_ns: int | None = None
    first_output_token_ns: int | None = None
    last_token_ns: int | None = None
    coalesced: int = 0


Row = dict[str, Any]
"""A record: a value for each column of records.SCHEMA, but for `model` and with the server's index as `url`."""


def row(exchange: Exchange, said: Said, *, due_ns: int | None, generator: int | None, plugin: str | None = None) -> Row:
    """The record of a request; `due_ns` is on the clock of the stamps (None: due when it was ready), `plugin` the column's text."""
    streamed = is_stream(exchange.content_type)
    tokens = _streamed(exchange, said) if streamed else _whole(exchange, said)
    blamed = exchange if exchange.error is not None and not _said_all(exchange, said) else said
    return {
        "request": exchange.request, "phase": PHASES[exchange.phase], "session": exchange.conversation, "turn": 0,
        "generator": generator, "url": exchange.url,
        "due_ns": exchange.ready if due_ns is None else due_ns, "ready_ns": exchange.ready, "started_ns": exchange.started,
        "dns_ns": exchange.dns, "connect_ns": exchange.connect, "tls_ns": exchange.tls,
        "sent_ns": exchange.sent, "body_sent_ns": exchange.body_sent, "first_byte_ns": exchange.first_byte, "end_ns": exchange.end,
        "stamp": _stamp(exchange), "reused": exchange.reused, "status": exchange.status,
        "error": blamed.error, "reason": blamed.reason, "finish_reason": said.finish_reason,
        "asked_input_tokens": exchange.asked_input or None,
        # what was asked for in all: each answer to a batch is to be as long
        "asked_output_tokens": min(exchange.asked_output * said.choices, LARGEST_COUNT) or None,
        "input_tokens": said.input_tokens,
        "output_tokens": len(tokens.chunk_ns) or None if said.output_tokens is None else said.output_tokens,
        "reasoning_tokens": _reasoning_tokens(said, tokens), "plugin": plugin, **tokens._asdict(),
    }  # fmt: skip


def _said_all(exchange: Exchange, said: Said) -> bool:
    """Whether a stream had ended as its API says it does, before its connection ended as HTTP says it must not."""
    return exchange.error in _LATE_ENDS and said.error is None and is_stream(exchange.content_type)


def _streamed(exchange: Exchange, said: Said) -> Tokens:
    places = _places(said.channels)
    if not places:
        return Tokens()
    reads, channels = _picked(said.reads, places), _picked(said.channels, places)
    ns = list(map(exchange.stamps.__getitem__, reads))
    output = next((at for at, channel in zip(ns, channels) if channel != _REASONING), None)
    low = _low(exchange, reads[0], at_end=said.at_end[places[0]])
    return Tokens(ns, channels, _counts(said, places), ns[0], low, output, ns[-1], len(reads) - len(set(reads)))


def _picked(values: Sequence[int], places: Sequence[int]) -> Sequence[int]:
    """The values at these places; the loops are C's, since this is done for every stream."""
    return values[places.start : places.stop] if isinstance(places, range) else list(map(values.__getitem__, places))


def _places(channels: Sequence[int]) -> Sequence[int]:
    """Where the events with tokens are; mostly they are of one channel, and one behind the other."""
    kinds = [channel for channel in _TOKEN_CODES if channel in channels]
    if len(kinds) == 1:
        first, count = channels.index(kinds[0]), channels.count(kinds[0])
        if channels[first : first + count].count(kinds[0]) == count:
            return range(first, first + count)
    return [i for i, channel in enumerate(channels) if _IS_TOKEN[channel]]


def _whole(exchange: Exchange, said: Said) -> Tokens:
    """An answer that was not streamed: what it says is there when it has ended, and no token has a time of its own."""
    if not said.reads:
        return Tokens(last_token_ns=exchange.end if exchange.error is None and said.error is None else None)
    return Tokens(last_token_ns=exchange.stamps[said.reads[-1]] if exchange.end is None else exchange.end)


def _low(exchange: Exchange, read: int, *, at_end: bool) -> int:
    """The earliest time at which an event of this read may have come; the read's stamp itself where that is exact."""
    stamp, marks = exchange.stamps[read], exchange.marks
    kind, low = next(((marks[i + 1], marks[i + 2]) for i in range(0, len(marks), 3) if marks[i] == read), (WHOLE, None))
    if kind in (TOGETHER, VIRTUAL) or (at_end and kind not in (MERGED, USER)):
        return stamp
    known = [at for at in (low, exchange.sent) if at is not None]
    return min(stamp, max(known, default=stamp))


def _counts(said: Said, places: Sequence[int]) -> Sequence[int]:
    """Tokens an event with tokens, 0 where the server did not say.

    What it counted for an event without text (a character not complete yet, the end of the answer) goes to the next
    event with text, or to the last one, so that the sum stays the server's.
    """
    counts = _picked(said.tokens, places)
    if not any(counts) or sum(counts) == sum(said.tokens):
        return counts
    counts, wanted, carried, place = list(counts), set(places), 0, 0
    for i, tokens in enumerate(said.tokens):
        if i in wanted:
            counts[place] += carried
            carried, place = 0, place + 1
        else:
            carried += tokens
    counts[-1] += carried
    return counts


def _reasoning_tokens(said: Said, tokens: Tokens) -> int | None:
    """As the server counted them; by events where it counted nothing, and null where their share of its count is to be found."""
    if said.reasoning_tokens is not None:
        return said.reasoning_tokens
    if _REASONING not in tokens.chunk_channel:
        return None
    counts = [count for count, channel in zip(tokens.chunk_tokens, tokens.chunk_channel) if channel == _REASONING]
    if counts and all(counts):
        return sum(counts)
    return len(counts) or None if said.output_tokens is None else None


def _stamp(exchange: Exchange) -> str | None:
    if not exchange.stamps:
        return None
    kinds = exchange.marks[1::3]
    return "user" if USER in kinds else "virtual" if VIRTUAL in kinds else "kernel"


def table(rows: Sequence[Row], *, urls: Sequence[str], model: str) -> pa.Table:
    """The rows as a table of records.SCHEMA; `urls` are the servers by index."""
    columns: dict[str, Any] = dict(zip(rows[0], zip(*map(dict.values, rows)))) if rows else dict.fromkeys(SCHEMA.names, ())
    counts = [len(items) for items in columns["chunk_ns"]]
    offsets = pa.array(np.concatenate(([0], np.cumsum(counts, dtype=np.int64))), pa.int32())
    columns |= {"url": [urls[i] for i in columns["url"]], "model": [model] * len(rows)}
    return pa.table([_column(field, columns[field.name], offsets) for field in SCHEMA], schema=SCHEMA)


def _column(field: pa.Field, values: Sequence[Any], offsets: pa.Array) -> pa.Array:
    if pa.types.is_list(field.type):
        return _lists(field.type.value_type, values, offsets)
    if pa.types.is_dictionary(field.type):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, field.type)


def _lists(item: pa.DataType, values: Sequence[Sequence[int]], offsets: pa.Array) -> pa.ListArray:
    flat = np.fromiter(chain.from_iterable(values), np.int64, count=offsets[-1].as_py())
    if pa.types.is_dictionary(item):
        return pa.ListArray.from_arrays(offsets, pa.DictionaryArray.from_arrays(pa.array(flat.astype(np.int8)), _CHANNEL_NAMES))
    return pa.ListArray.from_arrays(offsets, pa.array(flat.astype(item.to_pandas_dtype(), copy=False)))
