"""Quantities with a unit: `250ms`, `2s`, `64MB`; a bare number is in the unit of its field."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from aiperf.finite import FiniteFloat

TIMES = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-zA-Zµ]+)\s*")


def seconds(text: str) -> float | None:
    """`250ms` as 0.25; None if it is no number with a unit of time."""
    match = _QUANTITY.fullmatch(text)
    scale = TIMES.get(match[2]) if match else None
    return float(match[1]) * scale if match and scale else None


def in_unit(value: Any, unit: str) -> Any:
    """A quantity of time in `unit`; numbers pass, and so does what is no quantity, for pydantic to refuse."""
    found = seconds(value) if isinstance(value, str) and unit in TIMES else None
    return value if found is None else round(found / TIMES[unit], 9)


Seconds = Annotated[FiniteFloat, BeforeValidator(lambda v: in_unit(v, "s")), Field(json_schema_extra={"unit": "s"})]
Milliseconds = Annotated[FiniteFloat, BeforeValidator(lambda v: in_unit(v, "ms")), Field(json_schema_extra={"unit": "ms"})]
Microseconds = Annotated[FiniteFloat, BeforeValidator(lambda v: in_unit(v, "us")), Field(json_schema_extra={"unit": "us"})]
