"""Every key of a model: its path, what it takes, its default and its sentence; what checks, help and documentation share."""

import ast
import inspect
import json
import types
from collections import ChainMap
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from aiperf.config.base import Model

Path = tuple[str, ...]
"""A key's path, a part an element."""

_UNITS = {"s": "30, 500ms or 2m", "ms": "250, 250ms or 2s", "us": "200, 200us or 1ms"}
_EXAMPLES = {"url": "http://127.0.0.1:8000", "path": "FILE", "format": "mooncake_trace", int: "10", float: "10", bool: "true"}


class Key(NamedTuple):
    """One field of a model at its path."""

    path: Path
    field: FieldInfo
    owner: type[Model]
    types: tuple[Any, ...]  # that a value may have, None left out and a Literal as it is
    said: tuple[Any, ...]  # what is annotated
    nested: type[Model] | None  # the model below it
    below: Any  # the type of values below it, where keys are the user's own
    unit: str  # of a bare number; empty if it has none
    is_secret: bool  # its value, or a value below it, must not be written

    @property
    def dotted(self) -> str:
        """The path as it is typed."""
        return ".".join(self.path)

    @property
    def default(self) -> Any:
        """What holds where nothing is said; None where nothing can."""
        return None if self.field.is_required() else self.field.get_default(call_default_factory=True, validated_data={})

    @property
    def default_text(self) -> str:
        """The default as it is shown."""
        return "required" if self.field.is_required() else "unset" if self.default is None else typed(self.default).strip("'")

    @property
    def sentence(self) -> str:
        """What its docstring says."""
        return sentences(self.owner)[self.path[-1]]

    @property
    def takes(self) -> str:
        """What it takes, in words that a person uses: `a number above 0`, `one of pooled, new`."""
        if self.nested is not None:
            return f"keys ({', '.join(fields(self.nested))})"
        return " or ".join(dict.fromkeys(map(self._takes, self.types)))

    @property
    def example(self) -> str:
        """A value that could be given: for messages about a missing one."""
        last, kind = self.path[-1], self.types[0]
        if get_origin(kind) is Literal:
            return str(get_args(kind)[0])
        return _EXAMPLES.get(last) or _EXAMPLES.get(kind, last.upper())

    def _takes(self, kind: Any) -> str:
        if get_origin(kind) is Literal:
            return f"one of {', '.join(map(str, get_args(kind)))}"
        if is_text_list(kind):
            return "text, or a list of text"
        if get_origin(kind) is dict:
            return "keys of your own with their values"
        if kind in (int, float):
            noun = "a whole number" if kind is int else "a number"
            return f"{noun}{self._bounds()}" + (f" in {self.unit}, as in {_UNITS[self.unit]}" if self.unit else "")
        if self._bound("pattern"):
            return "text of letters, digits, '.', '_' and '-', beginning with a letter or a digit"
        return "true or false" if kind is bool else "text that is not empty" if self._bound("min_length") else "text"

    def _bounds(self) -> str:
        ge, gt, le = map(self._bound, ("ge", "gt", "le"))
        if ge is not None and le is not None:
            return f" from {ge} to {le}"
        low = f" of at least {ge}" if ge is not None else f" above {gt}" if gt is not None else ""
        return low + (f" and at most {le}" if le is not None else "")

    def _bound(self, name: str) -> Any:
        return next((value for one in self.said if (value := getattr(one, name, None)) is not None), None)


def is_text_list(kind: Any) -> bool:
    """Whether a type is a list of text."""
    return get_origin(kind) in (tuple, list) and get_args(kind)[0] is str


def typed(value: Any) -> str:
    """A value as it would be typed; long ones cut."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _alternatives(annotation: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The members of a union with their metadata; a plain type is a union of one."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _alternatives(member)
    elif origin is Annotated:
        inner, *metadata = get_args(annotation)
        yield from ((kind, (*metadata, *more)) for kind, more in _alternatives(inner))
    elif annotation is not types.NoneType:
        yield annotation, ()


@cache
def fields(model: type[Model]) -> Mapping[str, Key]:
    """The keys directly in a model, by name."""
    found = {}
    for name, field in model.model_fields.items():
        kinds = list(_alternatives(field.annotation))
        nested = next((kind for kind, _ in kinds if isinstance(kind, type) and issubclass(kind, Model)), None)
        below = next((get_args(kind)[1] for kind, _ in kinds if get_origin(kind) is dict), None)
        said = (field, *field.metadata, *(one for _, metadata in kinds for one in metadata))
        extra = ChainMap(*(one.json_schema_extra for one in said if isinstance(one, FieldInfo) and isinstance(one.json_schema_extra, dict)))
        types = tuple(kind for kind, _ in kinds)
        found[name] = Key((name,), field, model, types, said, nested, below, str(extra.get("unit", "")), "secret" in extra)
    return found


def walk(model: type[Model], above: Path = ()) -> Iterator[Key]:
    """Every key of a model and of the models in it, a group before its keys."""
    for name, key in fields(model).items():
        path = (*above, name)
        yield key._replace(path=path)
        if key.nested is not None:
            yield from walk(key.nested, path)


def rows(model: type[Model], above: Path = ()) -> list[Key]:
    """Every key below a model that takes a value, in the order of the model."""
    return [key for key in walk(model, above) if key.nested is None or not (key.field.is_required() or key.field.default_factory)]


def lookup(model: type[Model], path: Path) -> Key | None:
    """The key at a path, or the open key (`headers`, `slos`) that it lies below; None if there is no such key."""
    for depth, name in enumerate(path, 1):
        key = fields(model).get(name)
        if key is None or key.nested is None or depth == len(path):
            return key._replace(path=path[:depth]) if key and (depth == len(path) or key.below) else None
        model = key.nested
    return None


@cache
def sentences(model: type[Model]) -> Mapping[str, str]:
    """The docstring of each field, read from the model's source."""
    source: Any = ast.parse(inspect.getsource(model)).body[0]
    pairs: Any = [two for two in pairwise(source.body) if isinstance(two[0], ast.AnnAssign) and isinstance(two[1], ast.Expr)]
    return {field.target.id: inspect.cleandoc(text.value.value) for field, text in pairs}


def leaves(values: Any, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that holds no further keys, with its path; an empty group is one."""
    if above and not (isinstance(values, Mapping) and values):
        yield above, values
        return
    for name, value in values.items():
        yield from leaves(value, (*above, name))


def at(values: Any, path: Path) -> Any:
    """The value at a path, None where there is none."""
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values
