"""A plugin's own knobs: the class's `Options` model, and what a user said, checked against it."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from aiperf.plugin.border import told
from aiperf.plugin.types import PluginEntry, PluginError

Problem = tuple[tuple[str, ...], str]
"""A key below `options`, and what is wrong with it."""


def model(cls: Any) -> Any:
    """The `Options` of a class, a pydantic model or a dataclass; None if it has none."""
    found = getattr(cls, "Options", None)
    return found if isinstance(found, type) and (hasattr(found, "model_fields") or is_dataclass(found)) else None


def names(options: Any) -> tuple[str, ...]:
    """The keys of a model of options."""
    return tuple(options.model_fields) if hasattr(options, "model_fields") else tuple(field.name for field in fields(options))


def given(entry: PluginEntry, cls: Any, said: Mapping[str, Any], where: str = "options") -> dict[str, Any]:
    """What the class is to be called with for its own knobs: nothing if it has none. Raises PluginError with every mistake."""
    found, problems = checked(cls, said)
    if problems:
        raise PluginError([f"{entry.label}: {where}.{'.'.join(path)}: {what}" for path, what in problems])
    return {} if found is None else {"options": found}


def checked(cls: Any, said: Mapping[str, Any]) -> tuple[Any, tuple[Problem, ...]]:
    """Those of the values that are the class's own, as its `Options` (None if it has none), and what is wrong with them."""
    options = model(cls)
    if options is None:
        return None, ()
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - only for plugins that have options

    try:
        return TypeAdapter(options).validate_python({key: said[key] for key in names(options) if key in said}), ()
    except ValidationError as exc:
        return None, tuple((tuple(str(part) for part in error["loc"]), error["msg"]) for error in exc.errors())
    except Exception as exc:  # noqa: BLE001 - a stranger's validator, or default
        return None, (((), f"its Options raise {type(exc).__name__}: {told(exc)}"),)
