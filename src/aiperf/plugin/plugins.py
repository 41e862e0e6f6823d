"""The registry's functions. Reading what is declared imports nothing; a class is imported at first use.

`get_class`, `iter_all` and `make` are typed by category in `typed.pyi`.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiperf.plugin import lookup, registry
from aiperf.plugin.lookup import find_registered_name, get_entry, iter_entries, register, reset_registry
from aiperf.plugin.types import Category, PackageInfo, PluginEntry, PluginError, folded

if TYPE_CHECKING:
    from aiperf.plugin.schema import schemas
    from aiperf.plugin.typed import get_class, iter_all, make
else:
    from aiperf.plugin.lookup import get_class, iter_all, make

__all__ = [
    "categories", "create_enum", "find_registered_name", "folded", "get_class", "get_endpoint_metadata", "get_entry",
    "get_gpu_telemetry_collector_metadata", "get_metadata", "get_package_metadata", "get_plot_metadata", "get_service_metadata",
    "get_transport_metadata", "iter_all", "iter_entries", "list_categories", "list_packages", "make", "notes", "problems", "register",
    "reset_registry", "shadowed", "validate_all",
]  # fmt: skip


def categories() -> Mapping[str, Category]:
    """Every kind of plugin by name."""
    return registry.current().categories


def list_categories() -> list[str]:
    """The names of all kinds."""
    return list(categories())


def shadowed(category: str, name: str) -> tuple[PluginEntry, ...]:
    """Those of this name that lost to the one that is used, the best first; they are reached by their class paths."""
    return registry.current().ranked(lookup.find(category).name, name)[1:]


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


def get_metadata(category: str, name: str) -> Mapping[str, Any]:
    """What a plugin declares about itself besides class, description and priority."""
    return dict(get_entry(category, name).metadata)


def _metadata_of(category: str) -> Callable[[str], Any]:
    def checked(name: str) -> Any:
        """What a plugin of this category declares about itself, checked. Raises PluginError."""
        entry = get_entry(category, name)
        module, _, model = (categories()[category].metadata_class or "").partition(":")
        try:
            return getattr(import_module(module), model).model_validate(entry.metadata)
        except ValueError as exc:
            raise PluginError(f"{entry.label}: its metadata are no {model}: {exc}") from exc

    return checked


get_endpoint_metadata: Callable[[str], "schemas.EndpointMetadata"] = _metadata_of("endpoint")
get_transport_metadata: Callable[[str], "schemas.TransportMetadata"] = _metadata_of("transport")
get_plot_metadata: Callable[[str], "schemas.PlotMetadata"] = _metadata_of("plot")
get_service_metadata: Callable[[str], "schemas.ServiceMetadata"] = _metadata_of("service")
get_gpu_telemetry_collector_metadata: Callable[[str], "schemas.GPUTelemetryCollectorMetadata"] = _metadata_of("gpu_telemetry_collector")


def validate_all(check_class: bool = False) -> dict[str, list[tuple[str, str]]]:
    """What is wrong with any plugin, by category; without `check_class` nothing is imported, with it the class must fit its protocol."""
    from aiperf.plugin.validation import absent  # noqa: PLC0415 - not on the way to a load

    found: dict[str, list[tuple[str, str]]] = {}
    for entry in registry.current().every():
        if (why := lookup.misfit(entry) if check_class else absent(entry.class_path)) is not None:
            found.setdefault(entry.category, []).append((entry.name, why))
    return found


def create_enum(category: str, name: str, *, module: str) -> type[Enum]:
    """A string enum of the names of a category, those from outside included, that `module` can be pickled from."""
    from aiperf.plugin import enums  # noqa: PLC0415 - enums ask the registry

    return enums.create_enum(category, name, module)
