"""From a name to a declaration, from a declaration to a class, from a class to an object."""

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from aiperf import clock
from aiperf.plugin import options as own
from aiperf.plugin import registry
from aiperf.plugin.border import border, guarded
from aiperf.plugin.registry import Registry
from aiperf.plugin.types import (
    Category,
    PluginAttributeError,
    PluginEntry,
    PluginError,
    PluginImportError,
    TypeNotFoundError,
    folded,
)

_SLOW_NS = clock.SECOND
"""An import that takes longer than this is told of."""
_ODD = str.maketrans(".-", "__")
"""What a name may hold that no identifier does."""
_classes: dict[tuple[str, str], Any] = {}
_loaded: dict[str, Any] = {}


def iter_entries(category: str | None = None) -> Iterator[PluginEntry]:
    """What is declared in a category (None: in all), in the order of its files. Raises TypeNotFoundError for one that is not there."""
    current = registry.current()
    for name in [find(category).name] if category is not None else list(current.categories):
        yield from current.entries(name)


def find(category: str) -> Category:
    """A category by its name. Raises TypeNotFoundError with the nearest and all that there are."""
    known = registry.current().categories
    name = folded(category)
    if name not in known:
        text = f"there is no category {category!r} of plugins.{_hint(name, {one: one for one in known}).replace(chr(10), ' ')}"
        raise TypeNotFoundError("category", category, sorted(known), text)
    return known[name]


def get_entry(category: str, name: str) -> PluginEntry:
    """The declaration of a plugin, by its name or its class path. Raises TypeNotFoundError with the nearest name and all that are known."""
    current, kind = registry.current(), find(category)
    if ":" in name:
        found = current.of_path(kind.name, name)
        if found is None:
            raise TypeNotFoundError(kind.name, name, (), f"\nNo installed package declares this class for {kind.name}.{_packages(current)}")
        return found
    if ranked := current.ranked(kind.name, name):
        return ranked[0]
    known = {folded(entry.name): entry.name for entry in current.entries(kind.name)}
    raise TypeNotFoundError(kind.name, name, sorted(known.values()), f"{_hint(folded(name), known)}{_packages(current)}")


def _hint(name: str, known: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    meant = f"Did you mean {known[near[0]]!r}? " if near else ""
    return f"\n{meant}Known: {', '.join(sorted(known.values())) or 'none yet'}."


def _packages(current: Registry) -> str:
    refused = "".join(f" {name} is not used: {why}." for name, why in current.refused.items())
    return f" Packages: {', '.join(current.packages)}.{refused}"


def get_class(category: str, name: str) -> Any:
    """The class or function of a plugin, imported now and kept; `name` may be `module.path:Class`. Raises PluginError if that fails."""
    try:
        return _classes[category, name]
    except KeyError:
        found = load(_entry_or_path(category, name))
        _classes[category, name] = found
        return found


def _entry_or_path(category: str, name: str) -> PluginEntry:
    """A declared plugin, or a class that nobody declares: only who calls from Python can name one, and it must fit."""
    if ":" not in name or registry.current().of_path(find(category).name, name) is not None:
        return get_entry(category, name)
    module, _, attribute = name.partition(":")
    return PluginEntry(find(category).name, attribute, module, name)


def load(entry: PluginEntry) -> Any:
    """What an entry declares. Raises PluginError where it cannot be imported or does not fit its category."""
    path = entry.class_path
    if (found := _loaded.get(key := f"{entry.category} {path}")) is not None:
        return found
    module, _, attribute = path.partition(":")
    began = clock.monotonic_ns()
    home = _imported(entry, module)
    took = clock.monotonic_ns() - began
    if not hasattr(home, attribute):
        raise PluginAttributeError(f"Class {attribute!r} not found\nin {module}, where {entry.label} should be")
    found = getattr(home, attribute)
    if not entry.is_builtin:
        from aiperf.plugin.fit import unfit  # noqa: PLC0415 - a launch without plugins from outside needs no inspection

        if (why := unfit(found, find(entry.category))) is not None:
            raise PluginError(f"{entry.label}: {path} {why}")
        if took > _SLOW_NS and key not in _loaded:
            registry.current().note(f"{entry.label}: {module} took {took / clock.SECOND:.1f} s to import, in every process that uses it")
    return _loaded.setdefault(key, found)


def _imported(entry: PluginEntry, module: str) -> Any:
    if entry.is_builtin:
        return import_module(module)
    try:
        with border(entry):
            return import_module(module)
    except PluginError as exc:
        name = f"{entry.category}:{entry.name}"
        raise PluginImportError(f"Failed to import module for {name}\n{str(exc).removeprefix(f'{name} ')}") from exc


def iter_all(category: str) -> Iterator[tuple[PluginEntry, Any]]:
    """Every plugin of a category with its class; imports them one after the other."""
    for entry in iter_entries(category):
        yield entry, load(entry)


def make(category: str, name: str, *args: Any, options: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
    """The plugin called into being; one from outside raises nothing but AiperfErrors from then on.

    Of `options` it gets those that its class's `Options` knows, checked, as `options=`. Raises PluginError.
    """
    entry = get_entry(category, name)
    cls = load(entry)
    kwargs |= own.given(entry, cls, options or {})
    if entry.is_builtin:
        return cls(*args, **kwargs)
    with border(entry):
        return guarded(entry, cls(*args, **kwargs))


def register(category: str, name: str, cls: Any, *, priority: int = 0, metadata: Mapping[str, Any] | None = None) -> None:
    """Add a class to the registry of this process, under the rules for conflicts. Raises PluginError for a category that is not open."""
    kind, current = find(category), registry.current()
    if not (isinstance(cls, type) or callable(cls)) or not hasattr(cls, "__qualname__") or not name.translate(_ODD).isidentifier():
        raise PluginError(
            f"{kind.name}:{name} cannot be registered: expected a class or function, and a name of letters, digits, . - and _"
        )
    current.check_open(kind.name, name)
    description = " ".join((cls.__doc__ or "").partition("\n\n")[0].split())
    package, path = cls.__module__.partition(".")[0], f"{cls.__module__}:{cls.__qualname__}"
    entry = PluginEntry(kind.name, name, package, path, priority, description, dict(metadata or {}))
    _loaded[f"{entry.category} {entry.class_path}"] = cls
    current.put(entry)
    _classes.clear()


def reset_registry() -> None:
    """Forget what was registered and loaded; the installed packages are looked at again when somebody asks."""
    registry.forget()
    _classes.clear()
    _loaded.clear()


def find_registered_name(category: str, cls: Any) -> str | None:
    """The name under which a class is declared, imported or not; None if it is not."""
    for entry in iter_entries(category):
        module, _, attribute = entry.class_path.partition(":")
        if attribute == cls.__name__ and (module == cls.__module__ or load(entry) is cls):
            return entry.name
    return None
