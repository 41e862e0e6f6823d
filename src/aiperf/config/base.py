"""What all configuration models have in common."""

import os

from pydantic import BaseModel, ConfigDict

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # tracers of other models: looking for them takes a tenth of a start


class Model(BaseModel):
    """Frozen and strict: an unknown key is an error. A field's docstring is its sentence in docs/configuration.md.

    The docstrings are read from the source where they are shown (`config.keys.sentences`): reading them at import would
    make every start a fifth slower. Validators are built with the outermost model, once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, validate_default=False, str_strip_whitespace=True)
