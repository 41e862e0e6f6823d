"""Writes what editors and type checkers read of the registry: `python tests/plugin/generate.py`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

import aiperf.plugin
from aiperf import seams
from aiperf.plugin.enums import identifier
from aiperf.plugin.registry import BUILTIN_MANIFESTS, Registry
from aiperf.plugin.schema import schemas
from aiperf.plugin.types import Category

_ENUMS = '''# Written by `python tests/plugin/generate.py`: the names that are built in.
# ruff: noqa: S105 - a token is no password here
# fmt: off
import enum

class NamedEnum(enum.StrEnum):  # type: ignore[misc]  # members come with those below
    """Members are the names as text, found without regard to case and to - or _; what is registered later becomes one too."""

def create_enum(category: str | None, name: str, module: str) -> type[NamedEnum]: ...
def refresh() -> None: ...
def identifier(name: str, taken: object = ()) -> str: ...
'''
_TYPED = """# Written by `python tests/plugin/generate.py`: what the registry hands out, by category.
# ruff: noqa: E501 - a line a category
# fmt: off
from collections.abc import Iterator, Mapping
from typing import Any, Literal, overload

from aiperf import seams
from aiperf.plugin import enums
from aiperf.plugin.types import PluginEntry
"""
_OVERLOADS = {
    "get_class": "(category: {category}, name: {name}) -> {found}",
    "iter_all": "(category: {category}) -> Iterator[tuple[PluginEntry, {found}]]",
    "make": "(category: {category}, name: {name}, *args: Any, options: Mapping[str, Any] | None = ..., **kwargs: Any) -> {made}",
}
_ANY = {"category": "str", "name": "str", "found": "Any", "made": "Any"}


class CategoriesManifest(BaseModel):
    """The kinds of plugin that there are."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[schemas.CategoryName, schemas.CategorySpec]

    schema_version: str = Field(schemas.VERSION, description="The version of this form.")


def generated() -> dict[Path, str]:
    """Every file that follows from what is built in, and what it must hold."""
    registry, here = Registry(BUILTIN_MANIFESTS, ()), Path(aiperf.plugin.__file__).parent
    return {
        here / "enums.pyi": _ENUMS + "".join(_enums(registry)),
        here / "typed.pyi": _TYPED + "".join(_overloads(registry)),
        here / "schema" / "plugins.schema.json": _json(_schema(registry)),
        here / "schema" / "categories.schema.json": _json(CategoriesManifest.model_json_schema()),
    }


def _enums(registry: Registry) -> Iterator[str]:
    kinds = registry.categories.values()
    members = {kind.enum: (kind.description, [entry.name for entry in registry.entries(kind.name)]) for kind in kinds}
    for name, (description, names) in {"PluginType": ("What kinds of plugin there are.", list(registry.categories)), **members}.items():
        empty = "" if names else "  # type: ignore[misc]  # none yet"
        yield f'\nclass {name}(NamedEnum):{empty}\n    """{description}"""\n'
        yield "\n" * bool(names) + "".join(f'    {identifier(one)} = "{one}"\n' for one in names)


def _overloads(registry: Registry) -> Iterator[str]:
    kinds = [_words(kind) for kind in registry.categories.values() if not kind.internal]
    for function, form in _OVERLOADS.items():
        for words in [*(one for one in kinds if function != "make" or one["made"] != "Any"), _ANY]:
            yield f"\n@overload\ndef {function}{form.format_map(words)}: ..."
        yield "\n"


def _words(kind: Category) -> dict[str, str]:
    """What an overload says of a category. Where the protocol is that of a call, plugins are functions."""
    name = kind.protocol.partition(":")[2] if kind.protocol else ""
    protocol = f"seams.{name}" if name else "Any"
    function = "__call__" in vars(getattr(seams, name, object)) and name != ""
    return {
        "category": f'Literal["{kind.name}", enums.PluginType.{identifier(kind.name)}]',
        "name": f"enums.{kind.enum} | str",
        "found": protocol if function else f"type[{protocol}]",
        "made": "Any" if function else protocol,
    }


def _schema(registry: Registry) -> dict[str, Any]:
    """Of a package's manifest: that of the model, with what each category knows besides."""
    whole = schemas.PluginsManifest.model_json_schema()
    form = {**whole["additionalProperties"], "additionalProperties": False}
    [pattern] = form["patternProperties"]
    for kind in registry.categories.values():
        plugin: dict[str, Any] = {"$ref": "#/$defs/PluginSpec"}
        if model := (kind.metadata_class or "").partition(":")[2]:
            whole["$defs"][model] = metadata = getattr(schemas, model).model_json_schema()
            needed = {"required": ["metadata"]} if metadata.get("required") else {}
            plugin = {"allOf": [plugin, {"properties": {"metadata": {"$ref": f"#/$defs/{model}"}}, **needed}]}
        section = {**form, "patternProperties": {pattern: plugin}}
        whole["properties"][kind.name] = {"description": kind.description, **({"not": {}} if kind.internal else section)}
    whole["additionalProperties"] = form
    return whole


def _json(form: Any) -> str:
    """As text, without a default that some versions of pydantic spell out."""
    bare = json.loads(json.dumps(form), object_hook=lambda one: {k: v for k, v in one.items() if (k, v) != ("additionalProperties", True)})
    return json.dumps(bare, indent=1) + "\n"


if __name__ == "__main__":
    for file, content in generated().items():
        file.write_text(content, encoding="utf-8")
