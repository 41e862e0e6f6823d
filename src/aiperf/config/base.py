"""What all configuration models have in common, and quantities with a unit: `250ms`, `2s`; a bare number is in the unit of its field."""

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from aiperf.finite import FiniteFloat

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # tracers of other models: looking for them takes a tenth of a start


class Model(BaseModel):
    """Frozen and strict: an unknown key is an error. A field's docstring is its sentence in docs/configuration.md."""

    # Validators are built with the outermost model, once. Docstrings are read where they are shown (`config.keys.sentences`):
    # reading them at import would make every start a fifth slower.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, validate_default=False, str_strip_whitespace=True)

    def _broken(self) -> Iterator[str]:
        """The rules between keys that are broken, a line each."""
        yield from ()

    @model_validator(mode="after")
    def _unbroken(self) -> Self:
        if lines := "\n".join(self._broken()):
            raise ValueError(lines)
        return self


HIDDEN = "***"
"""What stands in place of a secret wherever one would be written."""

Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
"""Several texts; one may stand by itself."""


def short_for(key: str) -> BeforeValidator:
    """One value in place of a group: it is then this key of it."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, (int, float, str)) and not isinstance(value, bool) else value)


TIMES = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-zA-Zµ]+)\s*")


def seconds(text: str) -> float | None:
    """`250ms` as 0.25; None if it is no number with a unit of time."""
    match = _QUANTITY.fullmatch(text)
    return float(match[1]) * TIMES[match[2]] if match and match[2] in TIMES else None


def in_unit(value: Any, unit: str) -> Any:
    """A quantity of time in `unit`; numbers pass, and so does what is no quantity, for pydantic to refuse."""
    found = seconds(value) if isinstance(value, str) and unit in TIMES else None
    return value if found is None else round(found / TIMES[unit], 9)


Seconds = Annotated[FiniteFloat, BeforeValidator(lambda v: in_unit(v, "s")), Field(json_schema_extra={"unit": "s"})]
Milliseconds = Annotated[FiniteFloat, BeforeValidator(lambda v: in_unit(v, "ms")), Field(json_schema_extra={"unit": "ms"})]
Microseconds = Annotated[FiniteFloat, BeforeValidator(lambda v: in_unit(v, "us")), Field(json_schema_extra={"unit": "us"})]
