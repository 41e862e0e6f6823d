"""The registry's functions, typed by category in `typed.pyi`. Reading what is declared imports nothing; a class is imported at its use."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from importlib import import_module
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from aiperf import clock
from aiperf.errors import AiperfError
from aiperf.plugin import registry, types
from aiperf.plugin.border import Guarded, border, told
from aiperf.plugin.types import Category, PackageInfo, PluginEntry, PluginError, TypeNotFoundError, folded

if TYPE_CHECKING:
    from aiperf.plugin.schema import schemas
    from aiperf.plugin.typed import *  # noqa: F403 - it has no other names

_classes: dict[tuple[str, str], Any] = {}
_loaded: dict[str, Any] = {}
watchers: list[Callable[[], None]] = []
"""Called when other names are there than before."""


def categories() -> Mapping[str, Category]:
    """Every kind of plugin by name."""
    return registry.current().categories


def find(category: str) -> Category:
    """A category by its name. Raises TypeNotFoundError with the nearest and all that there are."""
    known = categories()
    if (name := folded(category)) not in known:
        text = f"there is no category {category!r} of plugins. {_hint(name, dict(zip(known, known)))}"
        raise TypeNotFoundError("category", category, sorted(known), text)
    return known[name]


def iter_entries(category: str | None = None) -> Iterator[PluginEntry]:
    """What is declared in a category (None: in all), in the order of its files. Raises TypeNotFoundError for one that is not there."""
    for name in list(categories()) if category is None else [find(category).name]:
        yield from registry.current().entries(name)


def get_entry(category: str, name: str) -> PluginEntry:
    """The declaration of a plugin, by its name or its class path. Raises TypeNotFoundError with the nearest name and all that are known."""
    current, kind = registry.current(), find(category)
    if found := current.of_path(kind.name, name) if ":" in name else next(iter(current.ranked(kind.name, name)), None):
        return found
    known = {folded(entry.name): entry.name for entry in current.entries(kind.name)}
    hint = f"No installed package declares this class for {kind.name}." if ":" in name else _hint(folded(name), known)
    refused = "".join(f" {package} is not used: {why}." for package, why in current.refused.items())
    raise TypeNotFoundError(kind.name, name, sorted(known.values()), f"\n{hint} Packages: {', '.join(current.packages)}.{refused}")


def _hint(name: str, known: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    meant = f"Did you mean {known[near[0]]!r}? " if near else ""
    return f"{meant}Known: {', '.join(sorted(known.values())) or 'none yet'}."


def shadowed(category: str, name: str) -> tuple[PluginEntry, ...]:
    """Those of this name that lost to the one that is used, the best first; they are reached by their class paths."""
    return registry.current().ranked(find(category).name, name)[1:]


def problems() -> tuple[str, ...]:
    """Packages whose plugins are not used, with the place in their manifest and the reason."""
    return tuple(f"the plugins of {package} are not used: {why}" for package, why in registry.current().refused.items())


def notes() -> tuple[str, ...]:
    """What else a person should know: names that two packages claim, imports that take long."""
    return tuple(registry.current().notes)


def list_packages() -> list[str]:
    """The packages whose plugins are used, ours first."""
    return list(registry.current().packages)


def get_package_metadata(name: str) -> PackageInfo:
    """What a package says of itself. Raises PluginError for one whose plugins are not used."""
    from importlib import metadata  # noqa: PLC0415 - a tenth of a launch

    if name not in registry.current().packages:
        raise PluginError(f"no plugins of a package {name!r} are used; packages: {', '.join(list_packages())}")
    try:
        said: Any = metadata.metadata(name)
    except Exception:  # noqa: BLE001 - gone, registered by a program, or no metadata that can be read
        return PackageInfo(name)
    urls = dict(url.split(", ", 1) for url in said.get_all("Project-URL") or () if ", " in url)
    author = said.get("Author") or said.get("Author-email")
    homepage = said.get("Home-page") or next(iter(urls.values()), None)
    licence = said.get("License-Expression") or said.get("License")
    return PackageInfo(name, *(text or "unknown" for text in (said.get("Version"), said.get("Summary"), author, licence, homepage)))


of_requests = partial(iter_entries, "record_processor")
"""Metrics with a value, or a list of values, a request: each is a column of the records."""
of_runs = partial(iter_entries, "results_processor")
"""Metrics with one value a run."""


def metric(name: str) -> PluginEntry:
    """A metric of either kind. Raises TypeNotFoundError."""
    try:
        return get_entry("record_processor", name)
    except TypeNotFoundError:
        return get_entry("results_processor", name)


def get_metadata(category: str, name: str) -> Mapping[str, Any]:
    """What a plugin declares about itself besides class, description and priority."""
    return dict(get_entry(category, name).metadata)


def declared(category: str, name: Any) -> Mapping[str, Any]:
    """The same, for experiments that hang on it; empty for a name that nobody has, which is said elsewhere."""
    try:
        return get_metadata(category, name) if isinstance(name, str) else {}
    except PluginError:
        return {}


def _about(category: str, name: str) -> Any:
    """What a plugin of a category declares about itself, checked. Raises PluginError."""
    entry, model = get_entry(category, name), resolve_name(categories()[category].metadata_class or "")
    try:
        return model.model_validate(entry.metadata)
    except ValueError as exc:
        raise PluginError(f"{entry.label}: its metadata are no {model.__name__}: {exc}") from exc


get_endpoint_metadata: Callable[[str], "schemas.EndpointMetadata"] = partial(_about, "endpoint")
get_transport_metadata: Callable[[str], "schemas.TransportMetadata"] = partial(_about, "transport")
get_plot_metadata: Callable[[str], "schemas.PlotMetadata"] = partial(_about, "plot")
get_service_metadata: Callable[[str], "schemas.ServiceMetadata"] = partial(_about, "service")
get_gpu_telemetry_collector_metadata: Callable[[str], "schemas.GPUTelemetryCollectorMetadata"] = partial(_about, "gpu_telemetry_collector")


def get_class(category: str, name: str) -> Any:  # type: ignore[no-redef]  # its overloads are in typed.pyi
    """The class or function of a plugin, imported now and kept; `name` may be `module.path:Class`. Raises PluginError if that fails."""
    if (found := _classes.get((category, name))) is None:
        kind, (module, _, attribute) = find(category).name, name.partition(":")
        is_stray = attribute and registry.current().of_path(kind, name) is None  # only who calls from Python can name such a one
        entry = PluginEntry(kind, attribute, module, name) if is_stray else get_entry(kind, name)
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
        raise types.PluginImportError(f"Failed to import module for {name}\n{str(exc).removeprefix(f'{name} ')}") from exc
    took = clock.monotonic_ns() - began
    if not hasattr(home, attribute):
        raise types.PluginAttributeError(f"Class {attribute!r} not found\nin {module}, where {entry.label} should be")
    found = getattr(home, attribute)
    if not entry.is_builtin:
        from aiperf.plugin.validation import unfit  # noqa: PLC0415 - a launch without plugins from outside needs no inspection

        if (why := unfit(found, find(entry.category))) is not None:
            raise PluginError(f"{entry.label}: {path} {why}")
        if took > clock.SECOND and key not in _loaded:
            registry.current().note(f"{entry.label}: {module} took {took / clock.SECOND:.1f} s to import, in every process that uses it")
    return _loaded.setdefault(key, found)


def iter_all(category: str) -> Iterator[tuple[PluginEntry, Any]]:  # type: ignore[no-redef]  # as above
    """Every plugin of a category with its class; imports them one after the other."""
    for entry in iter_entries(category):
        yield entry, load(entry)


def find_registered_name(category: str, cls: Any) -> str | None:
    """The name under which a class is declared, imported or not; None if it is not."""
    for entry in iter_entries(category):
        is_alike = entry.class_path.endswith(f":{cls.__name__}") or f"{entry.category} {entry.class_path}" in _loaded
        if entry.class_path == f"{cls.__module__}:{cls.__name__}" or (is_alike and load(entry) is cls):
            return entry.name
    return None


def make(  # type: ignore[no-redef]  # as above
    category: str, name: str, *args: Any, options: Mapping[str, Any] | None = None, **kwargs: Any
) -> Any:
    """The plugin, called with those of `options` that its class's `Options` knows; one from outside raises nothing but AiperfErrors."""
    entry = get_entry(category, name)
    cls = load(entry)
    kwargs |= given(entry, cls, options or {})
    if entry.is_builtin:
        return cls(*args, **kwargs)
    with border(entry):
        return Guarded(entry, cls(*args, **kwargs))


def options_of(cls: Any) -> Any:
    """The `Options` of a class, a pydantic model or a dataclass; None if it has none."""
    found = getattr(cls, "Options", None)
    return found if isinstance(found, type) and (hasattr(found, "model_fields") or is_dataclass(found)) else None


def option_names(options: Any) -> tuple[str, ...]:
    """The keys of a model of options."""
    return tuple(options.model_fields) if hasattr(options, "model_fields") else tuple(field.name for field in fields(options))


def given(entry: PluginEntry, cls: Any, said: Mapping[str, Any], where: str = "options") -> dict[str, Any]:
    """What the class is to be called with for its own knobs: nothing if it has none. Raises PluginError with every mistake."""
    found, wrong = checked(cls, said)
    if wrong:
        raise PluginError([f"{entry.label}: {where}.{'.'.join(path)}: {what}" for path, what in wrong])
    return {} if found is None else {"options": found}


def checked(cls: Any, said: Mapping[str, Any]) -> tuple[Any, tuple[tuple[tuple[str, ...], str], ...]]:
    """Those of the values that are the class's own, as its `Options` (None if it has none), and what is wrong, by key."""
    options = options_of(cls)
    if options is None:
        return None, ()
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - only for plugins that have options

    try:
        return TypeAdapter(options).validate_python({key: said[key] for key in option_names(options) if key in said}), ()
    except ValidationError as exc:
        return None, tuple((tuple(str(part) for part in error["loc"]), error["msg"]) for error in exc.errors())
    except Exception as exc:  # noqa: BLE001 - a stranger's validator, or default
        return None, (((), f"its Options raise {type(exc).__name__}: {told(exc)}"),)


def misfit(entry: PluginEntry) -> str | None:
    """What is wrong with a plugin once it is imported, in one line; None if nothing is."""
    from aiperf.plugin.validation import unfit  # noqa: PLC0415 - not on the way to a load

    try:
        with border(entry):
            why = unfit(load(entry), find(entry.category))
    except AiperfError as exc:
        return " ".join(str(exc).removeprefix(f"{entry.label}: ").split())
    return why and f"{entry.class_path} {why}"


def validate_all(check_class: bool = False) -> dict[str, list[tuple[str, str]]]:
    """What is wrong with any plugin, by category; without `check_class` nothing is imported, with it the class must fit its protocol."""
    from aiperf.plugin.validation import absent  # noqa: PLC0415 - not on the way to a load

    found: dict[str, list[tuple[str, str]]] = {}
    for entry in registry.current().every():
        if (why := misfit(entry) if check_class else absent(entry.class_path)) is not None:
            found.setdefault(entry.category, []).append((entry.name, why))
    return found


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


def create_enum(category: str, name: str, *, module: str) -> type[Enum]:
    """A string enum of the names of a category, those from outside included, that `module` can be pickled from."""
    from aiperf.plugin import enums  # noqa: PLC0415 - enums ask the registry

    return enums.create_enum(category, name, module)
