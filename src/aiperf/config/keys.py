"""Every key of a model: its path, type, bounds, unit, default and sentence; what checks, help and documentation share."""

import ast
import inspect
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from aiperf.config.base import Model

Path = tuple[str, ...]
"""A key's path, a part an element."""


class Key(NamedTuple):
    """One field of a model at its path; `nested` is the model below it, if there is one."""

    path: Path
    field: FieldInfo
    owner: type[Model]
    nested: type[Model] | None

    @property
    def dotted(self) -> str:
        """The path as it is typed."""
        return ".".join(self.path)

    @property
    def types(self) -> tuple[Any, ...]:
        """The types that a value may have, None left out; a Literal as it is."""
        return tuple(kind for kind, _ in _alternatives(self.field.annotation) if kind is not type(None))

    @property
    def is_text(self) -> bool:
        """Whether a word of the command line is taken as it was typed."""
        return all(kind is str or get_origin(kind) is Literal for kind in self.types)

    @property
    def is_open(self) -> bool:
        """Whether keys below it are the user's own."""
        return any(get_origin(kind) is dict for kind in self.types)

    @property
    def open_text(self) -> bool:
        """Whether the values below it are text."""
        return any(get_origin(kind) is dict and get_args(kind)[1] is str for kind in self.types)

    @property
    def is_secret(self) -> bool:
        """Whether its value, or a value below it, must not be written."""
        return bool(_extra(self.field).get("secret"))

    @property
    def unit(self) -> str | None:
        """The unit of a bare number."""
        fields = (self.field, *(said for said in self._metadata() if isinstance(said, FieldInfo)))
        return next((_extra(field)["unit"] for field in fields if "unit" in _extra(field)), None)

    @property
    def default(self) -> Any:
        """What holds where nothing is said; None where nothing can."""
        return None if self.field.is_required() else self.field.get_default(call_default_factory=True, validated_data={})

    def bound(self, name: str) -> Any:
        """A bound by pydantic's name for it (`ge gt le lt pattern`), None if there is none."""
        return next((getattr(m, name) for m in self._metadata() if getattr(m, name, None) is not None), None)

    def _metadata(self) -> Iterator[Any]:
        yield from self.field.metadata
        for _, metadata in _alternatives(self.field.annotation):
            yield from metadata


def is_text_list(kind: Any) -> bool:
    """Whether a type is a list of text."""
    return get_origin(kind) in (tuple, list) and get_args(kind)[0] is str


def _extra(field: FieldInfo) -> Mapping[str, Any]:
    extra = field.json_schema_extra
    return extra if isinstance(extra, dict) else {}


def _alternatives(annotation: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The members of a union with their metadata; a plain type is a union of one."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _alternatives(member)
    elif origin is Annotated:
        inner, *metadata = get_args(annotation)
        for kind, more in _alternatives(inner):
            yield kind, (*metadata, *more)
    else:
        yield annotation, ()


def _nested(field: FieldInfo) -> type[Model] | None:
    return next((kind for kind, _ in _alternatives(field.annotation) if isinstance(kind, type) and issubclass(kind, Model)), None)


@cache
def fields(model: type[Model]) -> Mapping[str, Key]:
    """The keys directly in a model, by name."""
    return {name: Key((name,), field, model, _nested(field)) for name, field in model.model_fields.items()}


def walk(model: type[Model], above: Path = ()) -> Iterator[Key]:
    """Every key of a model and of the models in it, a group before its keys."""
    for name, key in fields(model).items():
        path = (*above, name)
        yield key._replace(path=path)
        if key.nested is not None:
            yield from walk(key.nested, path)


def lookup(model: type[Model], path: Path) -> Key | None:
    """The key at a path, or the open key (`headers`, `slos`) that it lies below; None if there is no such key."""
    for depth, name in enumerate(path, 1):
        key = fields(model).get(name)
        if key is None or (depth < len(path) and key.nested is None and not key.is_open):
            return None
        if key.nested is None or depth == len(path):
            return key._replace(path=path[:depth])
        model = key.nested
    return None


@cache
def sentences(model: type[Model]) -> Mapping[str, str]:
    """The docstring of each field, read from the model's source."""
    body = ast.parse(inspect.getsource(model)).body[0]
    found = {}
    for before, after in zip(body.body, body.body[1:]) if isinstance(body, ast.ClassDef) else ():
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(after, ast.Expr):
            said = ast.literal_eval(after.value)
            found[before.target.id] = inspect.cleandoc(said)
    return found
