"""What plugins from outside may return: looked at where it crosses the border, so that what is wrong is told as theirs."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import Any

import msgspec

from aiperf.records import CHANNELS, ERRORS, LARGEST_COUNT, PHASES
from aiperf.seams import SAYS, Said
from aiperf.workload import Lengths, Phase, Schedule, Turn


def looked_at(name: str, found: Any, asked: tuple[Any, ...] = ()) -> Any:
    """What a method called so with these arguments, or an attribute, may be used as. Raises whatever is wrong with it."""
    return _LOOKS[name](found, *asked[:1]) if name in _LOOKS else found


def shown(found: Any) -> str:
    """What came in place of what was expected, in a few words."""
    if inspect.iscoroutine(found):
        found.close()  # or Python complains that nobody awaited it
    return f"a {type(found).__name__}: {repr(found)[:80]}"


def _is(kind: type, found: Any) -> Any:
    if not isinstance(found, kind):
        raise TypeError(f"no {kind.__name__} but {shown(found)}")
    return found


def _plain(kind: type, found: Any, **instead: Any) -> Any:
    """An object of ours again, of fields that are what they should be."""
    said = {one.name: getattr(found, one.name) for one in fields(_is(kind, found)) if one.name not in instead}
    return msgspec.convert({**said, **instead}, kind)


def _answer(found: Any, answer: Any) -> Said:
    said: Said = _plain(Said, found, plugin=None)
    said.plugin = found.plugin
    if {len(said.at_end), len(said.channels), len(said.tokens)} != {len(said.reads)}:
        raise ValueError("lists of events that are not of one length")
    "".join(filter(None, (said.reason, said.finish_reason, said.model, said.text))).encode()  # raises for what no file can hold
    if said.error not in (None, *ERRORS):
        raise ValueError(f"an error class that there is not: {said.error!a}")
    _within(said.reads, "read", len(answer.bodies))
    _within(said.channels, "channel", len(CHANNELS))
    _within([*said.tokens, said.input_tokens, said.output_tokens, said.reasoning_tokens, said.choices])
    return said


def _within(values: Sequence[int | None], what: str = "count", end: int = LARGEST_COUNT + 1) -> None:
    if wrong := [value for value in values if value is not None and not 0 <= value < end]:
        raise ValueError(f"a {what} that there cannot be: {wrong[0]}")


def _turn(found: Any, _: object) -> Turn:
    turn: Turn = _plain(Turn, found)
    _within([turn.input_tokens, turn.output_tokens])
    return turn


def _numbers(found: Any, asked: Any = None, *, ascending: bool = False) -> Any:
    dtype = getattr(found, "dtype", None)
    if getattr(dtype, "kind", None) not in ("i", "u") or found.ndim != 1:
        raise TypeError(f"no row of whole numbers but {shown(found)}")
    if (found < 0).any() or (ascending and (found[1:] < found[:-1]).any()):
        raise ValueError(f"numbers that are not {'ascending ' if ascending else ''}from 0 on")
    if asked is not None and len(found) != len(asked):
        raise ValueError(f"{len(found):,} numbers where {len(asked):,} are asked for")
    return found


def _lengths(found: Any, asked: Any) -> Lengths:
    lengths: Lengths = _is(Lengths, found)
    for counts in (lengths.input_tokens, lengths.output_tokens):
        _within([int(end(_numbers(counts, asked))) for end in (min, max) if len(asked)])
    return Lengths(lengths.input_tokens, lengths.output_tokens)


def _schedule(found: Any, _: object) -> Schedule:
    schedule: Schedule = _is(Schedule, found)
    if not schedule.phases or not all(isinstance(phase, Phase) and phase.name in PHASES for phase in schedule.phases):
        raise ValueError(f"a schedule without phases called {' or '.join(PHASES)}")
    for phase in schedule.phases:
        looked_at("due_ns", phase.due_ns)
    return schedule


def _says(found: Any) -> frozenset[str]:
    if unknown := set(found) - set(SAYS):
        raise ValueError(f"{', '.join(map(repr, unknown))}, none of {', '.join(SAYS)}")
    return frozenset(found)


_LOOKS: Mapping[str, Callable[..., Any]] = {
    "body": lambda found, _: _is(bytes, found), "answer": _answer, "token_hint": lambda found: re.compile(_is(bytes, found)).pattern,
    "turn": _turn, "lengths": _lengths, "rows": _numbers, "schedule": _schedule, "says": _says, "reopened": lambda found: _is(int, found),
    "notes": lambda found: tuple(map(str, [found] if isinstance(found, str) else found)),
    "showing": lambda found, _: _is(AbstractContextManager, found), "until": lambda found, _: _numbers(found, ascending=True),
    "offsets": lambda found, count: _numbers(found, range(count), ascending=True),
    "due_ns": lambda found: None if found is None else _numbers(found, ascending=True),
}  # fmt: skip
