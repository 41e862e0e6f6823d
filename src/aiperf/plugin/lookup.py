"""From a name to a declaration, from a declaration to a class, from a class to an object."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from aiperf import clock
from aiperf.errors import AiperfError
from aiperf.plugin import options as own
from aiperf.plugin import registry
from aiperf.plugin.border import Guarded, border
from aiperf.plugin.registry import Registry
from aiperf.plugin.types import Category, PluginAttributeError, PluginEntry, PluginError, PluginImportError, TypeNotFoundError, folded

_classes: dict[tuple[str, str], Any] = {}
_loaded: dict[str, Any] = {}
watchers: list[Callable[[], None]] = []
"""Called when other names are there than before."""


def iter_entries(category: str | None = None) -> Iterator[PluginEntry]:
    """What is declared in a category (None: in all), in the order of its files. Raises TypeNotFoundError for one that is not there."""
    current = registry.current()
    for name in [find(category).name] if category is not None else list(current.categories):
        yield from current.entries(name)


def find(category: str) -> Category:
    """A category by its name. Raises TypeNotFoundError with the nearest and all that there are."""
    known = registry.current().categories
    if (name := folded(category)) not in known:
        text = f"there is no category {category!r} of plugins. {_hint(name, dict(zip(known, known)))}"
        raise TypeNotFoundError("category", category, sorted(known), text)
    return known[name]


def get_entry(category: str, name: str) -> PluginEntry:
    """The declaration of a plugin, by its name or its class path. Raises TypeNotFoundError with the nearest name and all that are known."""
    current, kind = registry.current(), find(category)
    if found := current.of_path(kind.name, name) or next(iter(current.ranked(kind.name, name)), None):
        return found
    if ":" in name:
        raise TypeNotFoundError(kind.name, name, (), f"\nNo installed package declares this class for {kind.name}.{_packages(current)}")
    known = {folded(entry.name): entry.name for entry in current.entries(kind.name)}
    raise TypeNotFoundError(kind.name, name, sorted(known.values()), f"\n{_hint(folded(name), known)}{_packages(current)}")


def _hint(name: str, known: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    meant = f"Did you mean {known[near[0]]!r}? " if near else ""
    return f"{meant}Known: {', '.join(sorted(known.values())) or 'none yet'}."


def _packages(current: Registry) -> str:
    refused = "".join(f" {name} is not used: {why}." for name, why in current.refused.items())
    return f" Packages: {', '.join(current.packages)}.{refused}"


def get_class(category: str, name: str) -> Any:
    """The class or function of a plugin, imported now and kept; `name` may be `module.path:Class`. Raises PluginError if that fails."""
    if (found := _classes.get((category, name))) is None:
        kind, (module, _, attribute) = find(category).name, name.partition(":")
        if attribute and registry.current().of_path(kind, name) is None:  # only who calls from Python can name such a one
            entry = PluginEntry(kind, attribute, module, name)
        else:
            entry = get_entry(kind, name)
        found = _classes[category, name] = load(entry)
    return found


def load(entry: PluginEntry) -> Any:
    """What an entry declares. Raises PluginError where it cannot be imported or does not fit its category."""
    path = entry.class_path
    if (found := _loaded.get(key := f"{entry.category} {path}")) is not None:
        return found
    module, _, attribute = path.partition(":")
    began = clock.monotonic_ns()
    try:
        with nullcontext() if entry.is_builtin else border(entry):
            home = import_module(module)
    except PluginError as exc:
        name = f"{entry.category}:{entry.name}"
        raise PluginImportError(f"Failed to import module for {name}\n{str(exc).removeprefix(f'{name} ')}") from exc
    took = clock.monotonic_ns() - began
    if not hasattr(home, attribute):
        raise PluginAttributeError(f"Class {attribute!r} not found\nin {module}, where {entry.label} should be")
    found = getattr(home, attribute)
    if not entry.is_builtin:
        from aiperf.plugin.validation import unfit  # noqa: PLC0415 - a launch without plugins from outside needs no inspection

        if (why := unfit(found, find(entry.category))) is not None:
            raise PluginError(f"{entry.label}: {path} {why}")
        if took > clock.SECOND and key not in _loaded:
            registry.current().note(f"{entry.label}: {module} took {took / clock.SECOND:.1f} s to import, in every process that uses it")
    return _loaded.setdefault(key, found)


def misfit(entry: PluginEntry) -> str | None:
    """What is wrong with a plugin once it is imported, in one line; None if nothing is."""
    from aiperf.plugin.validation import unfit  # noqa: PLC0415 - not on the way to a load

    try:
        with border(entry):
            why = unfit(load(entry), find(entry.category))
    except AiperfError as exc:
        return " ".join(str(exc).removeprefix(f"{entry.label}: ").split())
    return why and f"{entry.class_path} {why}"


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
        return Guarded(entry, cls(*args, **kwargs))


def register(category: str, name: str, cls: Any, *, priority: int = 0, metadata: Mapping[str, Any] | None = None) -> None:
    """Add a class to the registry of this process, under the rules for conflicts. Raises PluginError for a category that is not open."""
    kind, current = find(category), registry.current()
    why = current.closed(kind, name)
    if not (callable(cls) and hasattr(cls, "__qualname__") and name.replace(".", "_").replace("-", "_").isidentifier()):
        why = f"{kind.name}:{name} cannot be registered: expected a class or function, and a name of letters, digits, . - and _"
    if why is not None:
        raise PluginError(why)
    description = " ".join((cls.__doc__ or "").partition("\n\n")[0].split())
    package, path = cls.__module__.partition(".")[0], f"{cls.__module__}:{cls.__qualname__}"
    entry = PluginEntry(kind.name, name, package, path, priority, description, dict(metadata or {}))
    _loaded[f"{entry.category} {entry.class_path}"] = cls
    current.put(entry)
    _changed()


def reset_registry() -> None:
    """Forget what was registered and loaded; the installed packages are looked at again when somebody asks."""
    registry.forget()
    _loaded.clear()
    _changed()


def _changed() -> None:
    _classes.clear()
    for tell in watchers:
        tell()


def find_registered_name(category: str, cls: Any) -> str | None:
    """The name under which a class is declared, imported or not; None if it is not."""
    for entry in iter_entries(category):
        module, _, attribute = entry.class_path.partition(":")
        if attribute == cls.__name__ and (module == cls.__module__ or load(entry) is cls):
            return entry.name
    return None
