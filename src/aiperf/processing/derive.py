"""What one request's stamps and bytes come to: the values of its record. Pure.

When a token came is exact or an interval; MEASUREMENT's rules, in terms of the marks in the spool: a read's stamp is that
of its last segment, so it holds for the event that ends the read, unless the kernel merged segments (MERGED) or there is
no kernel stamp (USER), and for every event of a read that was one segment (TOGETHER).
"""

from collections.abc import Sequence
from typing import NamedTuple

from aiperf.endpoints.sse import is_stream
from aiperf.records import CHANNELS, LARGEST_COUNT, PHASES, TOKEN_CHANNELS
from aiperf.seams import Said
from aiperf.spool import MERGED, TOGETHER, USER, WHOLE, Exchange

_IS_TOKEN = tuple(channel in TOKEN_CHANNELS for channel in CHANNELS)
_REASONING = CHANNELS.index("reasoning")
_LATE_ENDS = ("truncated", "reset")


class Tokens(NamedTuple):
    """Events with tokens: parallel lists of stamps, channels and counts, and the moments that matter (null: never came)."""

    ns: Sequence[int] = ()
    channels: Sequence[int] = ()
    counts: Sequence[int] = ()
    first_ns: int | None = None
    first_low_ns: int | None = None
    first_output_ns: int | None = None
    last_ns: int | None = None
    coalesced: int = 0


class Row(NamedTuple):
    """A record without its names that are looked up by table: fields are the columns of records.SCHEMA, in order."""

    request: int
    phase: str
    session: int
    turn: int
    generator: int | None
    url: int
    due_ns: int | None
    ready_ns: int | None
    started_ns: int | None
    dns_ns: int | None
    connect_ns: int | None
    tls_ns: int | None
    sent_ns: int | None
    body_sent_ns: int | None
    first_byte_ns: int | None
    first_token_ns: int | None
    first_token_low_ns: int | None
    first_output_token_ns: int | None
    last_token_ns: int | None
    end_ns: int | None
    stamp: str | None
    coalesced: int
    reused: bool
    status: int | None
    error: str | None
    reason: str | None
    finish_reason: str | None
    asked_input_tokens: int | None
    asked_output_tokens: int | None
    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    chunk_ns: Sequence[int]
    chunk_channel: Sequence[int]
    chunk_tokens: Sequence[int]
    plugin: str | None


def row(exchange: Exchange, said: Said, *, due_ns: int | None, generator: int | None, plugin: str | None = None) -> Row:
    """The record of a request; `due_ns` is on the clock of the stamps (None: due when it was ready), `plugin` the column's text."""
    streamed = is_stream(exchange.content_type)
    tokens = _streamed(exchange, said) if streamed else _whole(exchange, said)
    failed = exchange.error is not None and not _said_all(exchange, said)
    return Row(
        request=exchange.request, phase=PHASES[exchange.phase], session=exchange.conversation, turn=0,
        generator=generator, url=exchange.url,
        due_ns=exchange.ready if due_ns is None else due_ns, ready_ns=exchange.ready, started_ns=exchange.started,
        dns_ns=exchange.dns, connect_ns=exchange.connect, tls_ns=exchange.tls,
        sent_ns=exchange.sent, body_sent_ns=exchange.body_sent, first_byte_ns=exchange.first_byte,
        first_token_ns=tokens.first_ns, first_token_low_ns=tokens.first_low_ns, first_output_token_ns=tokens.first_output_ns,
        last_token_ns=tokens.last_ns, end_ns=exchange.end,
        stamp=_stamp(exchange), coalesced=tokens.coalesced, reused=exchange.reused, status=exchange.status,
        error=exchange.error if failed else said.error, reason=exchange.reason if failed else said.reason, finish_reason=said.finish_reason,
        asked_input_tokens=exchange.asked_input or None, asked_output_tokens=_asked_output(exchange, said),
        input_tokens=said.input_tokens, output_tokens=_output_tokens(said, tokens),
        reasoning_tokens=_reasoning_tokens(said, tokens),
        chunk_ns=tokens.ns, chunk_channel=tokens.channels, chunk_tokens=tokens.counts, plugin=plugin,
    )  # fmt: skip


def _said_all(exchange: Exchange, said: Said) -> bool:
    """Whether a stream had ended as its API says it does, before its connection ended as HTTP says it must not."""
    return exchange.error in _LATE_ENDS and said.error is None and is_stream(exchange.content_type)


def _streamed(exchange: Exchange, said: Said) -> Tokens:
    stamps, reads = exchange.stamps, said.reads
    places = [i for i, channel in enumerate(said.channels) if _IS_TOKEN[channel]]
    if not places:
        return Tokens()
    ns = [stamps[reads[i]] for i in places]
    channels = [said.channels[i] for i in places]
    output = next((at for at, channel in zip(ns, channels) if channel != _REASONING), None)
    low = _low(exchange, reads[places[0]], at_end=said.at_end[places[0]])
    coalesced = len(places) - len({reads[i] for i in places})
    return Tokens(ns, channels, _counts(said, places), ns[0], low, output, ns[-1], coalesced)


def _whole(exchange: Exchange, said: Said) -> Tokens:
    """An answer that was not streamed: what it says is there when it has ended, and no token has a time of its own."""
    if not said.reads:
        return Tokens(last_ns=exchange.end if exchange.error is None and said.error is None else None)
    return Tokens(last_ns=exchange.stamps[said.reads[-1]] if exchange.end is None else exchange.end)


def _low(exchange: Exchange, read: int, *, at_end: bool) -> int:
    """The earliest time at which an event of this read may have come; the read's stamp itself where that is exact."""
    stamp, kind, low = exchange.stamps[read], WHOLE, None
    marks = exchange.marks
    for i in range(0, len(marks), 3):
        if marks[i] == read:
            kind, low = marks[i + 1], marks[i + 2]
            break
    if kind == TOGETHER or (at_end and kind not in (MERGED, USER)):
        return stamp
    known = [at for at in (low, exchange.sent) if at is not None]
    return min(stamp, max(known, default=stamp))


def _counts(said: Said, places: Sequence[int]) -> list[int]:
    """Tokens an event with tokens, 0 where the server did not say.

    What it counted for an event without text (a character not complete yet, the end of the answer) goes to the next
    event with text, or to the last one, so that the sum stays the server's.
    """
    counts = [said.tokens[i] for i in places]
    if not any(counts):
        return counts
    wanted, carried, place = set(places), 0, 0
    for i, tokens in enumerate(said.tokens):
        if i in wanted:
            counts[place] += carried
            carried, place = 0, place + 1
        else:
            carried += tokens
    counts[-1] += carried
    return counts


def _asked_output(exchange: Exchange, said: Said) -> int | None:
    """What was asked for in all: each answer to a batch is to be as long."""
    return min(exchange.asked_output * said.choices, LARGEST_COUNT) or None


def _output_tokens(said: Said, tokens: Tokens) -> int | None:
    return said.output_tokens if said.output_tokens is not None else len(tokens.ns) or None


def _reasoning_tokens(said: Said, tokens: Tokens) -> int | None:
    """As the server counted them; by events where it counted nothing, and null where their share of its count is to be found."""
    if said.reasoning_tokens is not None:
        return said.reasoning_tokens
    counts = [count for count, channel in zip(tokens.counts, tokens.channels) if channel == _REASONING]
    if counts and all(counts):
        return sum(counts)
    return len(counts) or None if said.output_tokens is None else None


def _stamp(exchange: Exchange) -> str | None:
    if not exchange.stamps:
        return None
    return "user" if USER in exchange.marks[1::3] else "kernel"
