"""What all configuration models have in common."""

import os
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # tracers of other models: looking for them takes a tenth of a start


class Model(BaseModel):
    """Frozen and strict: an unknown key is an error. A field's docstring is its sentence in docs/configuration.md.

    The docstrings are read from the source where they are shown (`config.keys.sentences`): reading them at import would
    make every start a fifth slower. Validators are built with the outermost model, once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, validate_default=False, str_strip_whitespace=True)


HIDDEN = "***"
"""What stands in place of a secret wherever one would be written."""

Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
"""Several texts; one may stand by itself."""


def short_for(key: str) -> BeforeValidator:
    """One value in place of a group: it is then this key of it."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, (int, float, str)) and not isinstance(value, bool) else value)
