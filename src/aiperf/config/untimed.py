"""Data that may have times, and nobody who chose a timing: then the data's own times are played, if they have any."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from aiperf.config.arguments import Argument
from aiperf.config.declared import declared
from aiperf.config.files import Reading
from aiperf.config.mistakes import at

INSTEAD: Mapping[str, str] = MappingProxyType({"timing": "fixed_schedule"})
"""What is the default then."""

_DECIDES = ("type", "concurrency", "rate", "arrival")
_OF_TIMES = ("speedup", "start_s", "end_s", "offset")


def is_open(composed: Mapping[str, Any], current: Reading, settings: Sequence[Argument]) -> bool:
    """Whether the data come from a file and neither a choice nor a key says when they are played."""
    if not declared("dataset_composer", at(composed, ("dataset", "type"))).get("needs_file") or "timing" in current.taken:
        return False
    files = [layer.values for layer in current.layers if not layer.at]
    chosen = any("timing" in layer.values for layer in current.chosen) or any(_overrides(values) for values in current.contents.values())
    said = [at(values, ("timing", key)) for values in files for key in _DECIDES]
    typed = [argument.path for argument in settings if argument.path[:1] == ("timing",)]
    return not chosen and all(value is None for value in said) and not any(path[1:2] in [(key,) for key in _DECIDES] for path in typed)


def names_times(composed: Mapping[str, Any]) -> bool:
    """Whether a key is set that only recorded times have."""
    return any(at(composed, ("timing", key)) is not None for key in _OF_TIMES)


def _overrides(content: Mapping[str, Any]) -> bool:
    """Whether a file chooses a timing by Hydra's own list."""
    entries = content.get("defaults") or []
    return any(isinstance(entry, dict) and any(str(key).endswith("override /timing") for key in entry) for entry in entries)
