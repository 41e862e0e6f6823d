"""The nearest known name to one that is not known."""

import difflib
from collections.abc import Iterable

_ENOUGH = 0.6


def _closeness(typed: str, known: str) -> float:
    """How alike two dotted paths are: as a whole, or by their last parts, so that `rate` finds `timing.rate`."""
    typed, known = (name.lower().replace("-", "_") for name in (typed, known))
    last = difflib.SequenceMatcher(None, typed.rpartition(".")[2], known.rpartition(".")[2]).ratio()
    whole = difflib.SequenceMatcher(None, typed, known).ratio()
    return max(whole, 0.7 * last + 0.3 * whole)


def hint(typed: str, known: Iterable[str]) -> str:
    """`, did you mean …?` with the known name that was probably meant, or nothing if none is near."""
    best = max(((_closeness(typed, name), name) for name in known), default=(0.0, ""))
    return f", did you mean {best[1]}?" if best[0] >= _ENOUGH else ""


def unknown(what: str, typed: str, known: Iterable[str]) -> str:
    """`there is no endpoint 'vlm', did you mean vllm? Known: openai, simulator, vllm`."""
    names = list(known)
    return f"there is no {what} {typed!r}{hint(typed, names) or '.'} Known: {', '.join(names) or 'none'}"
