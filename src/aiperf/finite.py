"""What is a number. NaN and the infinities reach JSON as null, poison means, and make no sound; they are stopped here.

numpy's numbers are known by the abstract classes that they are registered with, so that reading this costs no import of it.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from typing import Annotated, Any

from pydantic import AfterValidator


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {value}; leave it out or say null where none is meant")
    return value


_PART, _SMALL = 1 << 20, 1e-100

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
    if _is_numpys(value) and hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: scrub_non_finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [scrub_non_finite(item) for item in value]
    if isinstance(value, tuple):
        return tuple(scrub_non_finite(item) for item in value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    plain = float(value) if _is_numpys(value) else value  # a long double stays numpy's own
    return plain if is_finite_value(value) else None


def _is_numpys(value: object) -> bool:
    return type(value).__module__ == "numpy"


def _floats(values: Iterable[float | None]) -> Iterator[float]:
    for value in values:
        if value is not None and is_finite_value(value):
            with contextlib.suppress(OverflowError):  # an int that no float can hold
                yield float(value)


def _kept(values: Iterable[float | None]) -> Any:
    """The finite values, as an array."""
    import numpy as np  # noqa: PLC0415 - a tenth of a second that only who computes pays

    array = values if isinstance(values, np.ndarray) and values.dtype.kind in "fiu" else np.array(list(_floats(values)))
    floats = array.astype(np.float64, copy=False)
    known = np.isfinite(floats)
    return floats if known.all() else floats[known]


def scale_of(kept: Any) -> float:
    """A power of two by which the values can be divided without a rounding, so that no sum of squares overflows; mostly 1."""
    largest = max(abs(kept.max()), abs(kept.min()))
    return 1.0 if not largest or _SMALL < largest < 1 / _SMALL else math.ldexp(1.0, max(math.frexp(largest)[1] - 1, -1000))


def nan_safe_mean(values: Iterable[float | None]) -> float | None:
    """The mean of the finite values, summed pairwise; None if there is none."""
    kept = _kept(values)
    if not len(kept):
        return None
    scale = scale_of(kept)
    return float((kept if scale == 1 else kept / scale).sum()) / len(kept) * scale


def nan_safe_std(values: Iterable[float | None]) -> float | None:
    """The sample standard deviation (n - 1) of the finite values; None if there are fewer than two, or if no float holds it."""
    kept = _kept(values)
    if len(kept) < 2:
        return None
    scale = scale_of(kept)
    found = math.sqrt(sum_of_squares(kept if scale == 1 else kept / scale) / (len(kept) - 1)) * scale
    return found if math.isfinite(found) else None


def sum_of_squares(values: Any) -> float:
    """The squared distances of an array's values from their mean, added up part by part, since there may be more than fit in twice."""
    mean = float(values.mean())
    return math.fsum(float(((values[at : at + _PART] - mean) ** 2).sum()) for at in range(0, len(values), _PART))
