"""What plugins from outside may return: looked at where it crosses the border, so that what is wrong is told as theirs."""

import inspect
import re
from collections.abc import Callable, Mapping
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
    for name, values, end in (("read", said.reads, len(answer.bodies)), ("channel", said.channels, len(CHANNELS))):
        if wrong := [value for value in values if not 0 <= value < end]:
            raise ValueError(f"a {name} that there cannot be: {wrong[0]}")
    _counts(*said.tokens, said.input_tokens, said.output_tokens, said.reasoning_tokens, said.choices)
    return said


def _counts(*counts: int | None) -> None:
    if wrong := [count for count in counts if count is not None and not 0 <= count <= LARGEST_COUNT]:
        raise ValueError(f"a count that there cannot be: {wrong[0]}")


def _turn(found: Any, _: object) -> Turn:
    turn: Turn = _plain(Turn, found)
    _counts(turn.input_tokens, turn.output_tokens)
    return turn


def _array(found: Any, *, ascending: bool = False) -> Any:
    dtype = getattr(found, "dtype", None)
    if getattr(dtype, "kind", None) not in ("i", "u") or found.ndim != 1:
        raise TypeError(f"no row of whole numbers but {shown(found)}")
    if (found < 0).any() or (ascending and (found[1:] < found[:-1]).any()):
        raise ValueError(f"numbers that are not {'ascending ' if ascending else ''}from 0 on")
    return found


def _counted(found: Any, asked: Any, *, ascending: bool = False) -> Any:
    if len(_array(found, ascending=ascending)) != len(asked):
        raise ValueError(f"{len(found):,} numbers where {len(asked):,} are asked for")
    return found


def _lengths(found: Any, asked: Any) -> Lengths:
    lengths: Lengths = _is(Lengths, found)
    for counts in (lengths.input_tokens, lengths.output_tokens):
        _counts(*(int(end(_counted(counts, asked))) for end in (min, max) if len(asked)))
    return Lengths(lengths.input_tokens, lengths.output_tokens)


def _schedule(found: Any, _: object) -> Schedule:
    schedule: Schedule = _is(Schedule, found)
    if not schedule.phases or not all(isinstance(phase, Phase) and phase.name in PHASES for phase in schedule.phases):
        raise ValueError(f"a schedule without phases called {' or '.join(PHASES)}")
    for phase in schedule.phases:
        _due(phase.due_ns)
    return schedule


def _due(found: Any) -> Any:
    return None if found is None else _array(found, ascending=True)


def _says(found: Any) -> frozenset[str]:
    if unknown := set(found) - set(SAYS):
        raise ValueError(f"{', '.join(map(repr, unknown))}, none of {', '.join(SAYS)}")
    return frozenset(found)


_LOOKS: Mapping[str, Callable[..., Any]] = {
    "body": lambda found, _: _is(bytes, found), "answer": _answer, "token_hint": lambda found: re.compile(_is(bytes, found)).pattern,
    "turn": _turn, "lengths": _lengths, "due_ns": _due, "rows": _counted,
    "says": _says, "notes": lambda found: tuple(map(str, [found] if isinstance(found, str) else found)),
    "showing": lambda found, _: _is(AbstractContextManager, found), "reopened": lambda found: _is(int, found), "schedule": _schedule,
    "offsets": lambda found, count: _counted(found, range(count), ascending=True),
    "until": lambda found, _: _array(found, ascending=True),
}  # fmt: skip
