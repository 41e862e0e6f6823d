"""What is a number. NaN and the infinities reach JSON as null, poison means, and make no sound; they are stopped here.

numpy's numbers are known by the abstract classes that they are registered with, so that reading this costs no import of it.
"""

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Annotated, Any

from pydantic import AfterValidator


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {value}; leave it out or say null where none is meant")
    return value


FiniteFloat = Annotated[float, AfterValidator(_finite)]
"""A float that rejects NaN and the infinities when it is loaded; `FiniteFloat | None` for "or explicitly missing"."""


def is_finite_value(value: object) -> bool:
    """Whether this is a finite number; false for what is no number at all, bool included. Never raises."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return True  # an int too large for a float is still a number


def scrub_non_finite(value: Any) -> Any:
    """The same with every non-finite number as None, walking dicts, lists and tuples; numpy's values become Python's."""
    if value is None or isinstance(value, (str, bytes, bool)):
        return value
    if isinstance(value, Mapping):
        return {key: scrub_non_finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [scrub_non_finite(item) for item in value]
    if isinstance(value, tuple):
        return tuple(scrub_non_finite(item) for item in value)
    return _scrubbed(value)


def _scrubbed(value: Any) -> Any:
    if isinstance(value, Real):
        if not is_finite_value(value):
            return None
        return value if type(value).__module__ != "numpy" else _python(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        plain = value.tolist()
        return scrub_non_finite(plain) if isinstance(plain, (list, bool)) else plain
    return value


def _python(value: Any) -> int | float:
    plain = value.tolist()
    return plain if type(plain) in (int, float) else float(plain)  # a long double stays numpy's own


def _floats(values: Iterable[float | None]) -> Iterator[float]:
    for value in values:
        if value is not None and is_finite_value(value):
            with contextlib.suppress(OverflowError):  # an int that no float can hold
                yield float(value)


def _kept(values: Iterable[float | None]) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(values, numpy.ndarray) and values.dtype.kind in "fiu":
        floats = values.astype(numpy.float64, copy=False)
        return floats[numpy.isfinite(floats)]
    return list(_floats(values))


def _sum(kept: Any) -> float:
    return math.fsum(kept) if isinstance(kept, list) else float(kept.sum())


def _scale(kept: Any) -> float:
    """A power of two by which the values can be divided without a rounding, so that no sum of squares overflows."""
    largest = max(abs(float(max(kept))), abs(float(min(kept)))) if isinstance(kept, list) else max(abs(kept.max()), abs(kept.min()))
    return math.ldexp(1.0, max(math.frexp(largest)[1] - 1, -1000)) if largest else 1.0


def nan_safe_mean(values: Iterable[float | None]) -> float | None:
    """The mean of the finite values; None if there is none. An array is summed as it lies, pairwise."""
    kept = _kept(values)
    if not len(kept):
        return None
    scale = _scale(kept)
    return _sum([v / scale for v in kept] if isinstance(kept, list) else kept / scale) / len(kept) * scale


def nan_safe_std(values: Iterable[float | None]) -> float | None:
    """The sample standard deviation (n - 1) of the finite values; None if there are fewer than two, or if no float holds it."""
    kept = _kept(values)
    if len(kept) < 2:
        return None
    scale = _scale(kept)
    parts = [v / scale for v in kept] if isinstance(kept, list) else kept / scale
    mean = _sum(parts) / len(kept)
    squares = [(v - mean) ** 2 for v in parts] if isinstance(parts, list) else (parts - mean) ** 2
    found = math.sqrt(_sum(squares) / (len(kept) - 1)) * scale
    return found if math.isfinite(found) else None
