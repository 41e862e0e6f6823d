"""What a key takes, in words that a person uses."""

import json
from typing import Any, Literal, get_args, get_origin

from aiperf.config.base import Model
from aiperf.config.keys import Key, fields, is_text_list, walk

_UNITS = {"s": "30, 500ms or 2m", "ms": "250, 250ms or 2s", "us": "200, 200us or 1ms"}


def expected(key: Key) -> str:
    """What a key takes: `a number above 0`, `one of pooled, new`."""
    if key.nested is not None:
        return f"keys ({', '.join(fields(key.nested))})"
    return " or ".join(dict.fromkeys(_type(kind, key) for kind in key.types))


def _type(kind: Any, key: Key) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(str(choice) for choice in get_args(kind))}"
    if is_text_list(kind):
        return "text, or a list of text"
    if get_origin(kind) is dict:
        return "keys of your own with their values"
    if kind in (int, float):
        noun = "a whole number" if kind is int else "a number"
        return f"{noun}{_bounds(key)}" + (f" in {key.unit}, as in {_UNITS[key.unit]}" if key.unit else "")
    return "true or false" if kind is bool else f"text{_shape(key)}"


def _bounds(key: Key) -> str:
    ge, gt, le = key.bound("ge"), key.bound("gt"), key.bound("le")
    if ge is not None and le is not None:
        return f" from {ge} to {le}"
    low = f" of at least {ge}" if ge is not None else f" above {gt}" if gt is not None else ""
    return low + (f" and at most {le}" if le is not None else "")


def _shape(key: Key) -> str:
    if key.bound("pattern"):
        return " of letters, digits, '.', '_' and '-', beginning with a letter or a digit"
    return " that is not empty" if key.bound("min_length") else ""


def example(key: Key) -> str:
    """A value that could be given: for messages about a missing one."""
    last = key.path[-1]
    words = {"url": "http://127.0.0.1:8000", "path": "FILE", "format": "mooncake_trace"}
    if (last in words and key.is_text) or last == "url":
        return words[last]
    kind = key.types[0]
    if get_origin(kind) is Literal:
        return str(get_args(kind)[0])
    return {int: "10", float: "10", bool: "true"}.get(kind, last.upper())


def typed(value: Any) -> str:
    """A value as it would be typed; long ones cut."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def all_paths(model: type[Model]) -> list[str]:
    """Every key's path, for finding the nearest."""
    return [key.dotted for key in walk(model)]
