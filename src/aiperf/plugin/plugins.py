"""Looks plugins up by category and name. Reading what is declared imports nothing; a class is imported at first use."""

import difflib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

import yaml

from aiperf.plugin.types import Category, PluginAttributeError, PluginEntry, PluginImportError, TypeNotFoundError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _read(name: str) -> dict[str, Any]:
    text = files("aiperf.plugin").joinpath(name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, in C where there is one
    return loaded


def folded(name: str) -> str:
    """Names are matched without regard to case and to - or _."""
    return name.strip().lower().replace("-", "_")


@cache
def categories() -> Mapping[str, Category]:
    """Every kind of plugin by name."""
    return {name: Category(name, entry["protocol"], entry["description"]) for name, entry in _read("categories.yaml").items()}


@cache
def _entries() -> Mapping[str, Mapping[str, PluginEntry]]:
    declared = {**_read("plugins.yaml"), "metric": _read("metrics.yaml")}
    return {category: {folded(name): _entry(category, name, said) for name, said in names.items()} for category, names in declared.items()}


def _entry(category: str, name: str, said: Mapping[str, Any]) -> PluginEntry:
    metadata = {key: value for key, value in said.items() if key not in ("class", "description")}
    return PluginEntry(category, name, said["class"], said["description"], metadata)


def iter_entries(category: str) -> Iterator[PluginEntry]:
    """What is declared in a category, in the order of its file. Raises TypeNotFoundError for a category that is not there."""
    if category not in categories():
        raise TypeNotFoundError(f"unknown category {category!r}; known: {', '.join(sorted(categories()))}")
    yield from _entries().get(category, {}).values()


def get_entry(category: str, name: str) -> PluginEntry:
    """The declaration of one plugin. Raises TypeNotFoundError with the nearest name and all that are known."""
    known = {folded(entry.name): entry for entry in iter_entries(category)}
    if (entry := known.get(folded(name))) is not None:
        return entry
    near = difflib.get_close_matches(folded(name), known, 1)
    hint = f" Did you mean {known[near[0]].name!r}?" if near else ""
    names = ", ".join(sorted(entry.name for entry in known.values())) or "none yet"
    raise TypeNotFoundError(f"Type {name!r} not found for category {category!r}.{hint} Known: {names}")


def get_metadata(category: str, name: str) -> Mapping[str, Any]:
    """What a plugin declares about itself besides class and description."""
    return get_entry(category, name).metadata


@cache
def get_class(category: str, name: str) -> Any:
    """The class or function of a plugin, imported now and kept. Raises PluginError if that fails."""
    return load(get_entry(category, name))


def load(entry: PluginEntry) -> Any:
    """What an entry declares. Raises PluginImportError or PluginAttributeError, which name the plugin as it was asked for."""
    module, _, attribute = entry.class_path.partition(":")
    try:
        home = import_module(module)
    except ImportError as exc:
        raise PluginImportError(f"Failed to import module for {entry.category}:{entry.name} ({module}: {exc})") from exc
    if not hasattr(home, attribute):
        raise PluginAttributeError(f"Class {attribute!r} not found in {module} for {entry.category}:{entry.name}")
    return getattr(home, attribute)
