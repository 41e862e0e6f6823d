"""What the registry hands out, and how it refuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiperf.errors import ConfigError

BUILTIN = "aiperf"
"""The package that comes with the registry."""


def folded(name: str) -> str:
    """Names are matched without regard to case and to - or _."""
    return name.strip().lower().replace("-", "_")


class PluginError(ConfigError):
    """Something in the registry, or reached through it, cannot be used."""


class TypeNotFoundError(PluginError):
    """No plugin of this name in this category; `available` are the names that there are."""

    def __init__(self, category: str, name: str, available: Sequence[str], hint: str = "") -> None:
        self.category, self.name, self.available = category, name, list(available)
        super().__init__(hint if category == "category" else f"Type {name!r} not found for category {category!r}.{hint}")


class PluginImportError(PluginError, ImportError):
    """The module of a plugin cannot be imported."""


class PluginAttributeError(PluginError, AttributeError):
    """The module of a plugin does not hold what was declared."""


@dataclass(frozen=True, slots=True)
class PackageInfo:
    """A package that brings plugins, as its own distribution describes it."""

    name: str
    version: str = "unknown"
    description: str = "unknown"
    author: str = "unknown"
    license: str = "unknown"
    homepage: str = "unknown"

    @property
    def is_builtin(self) -> bool:
        """Whether it is this project itself."""
        return self.name == BUILTIN


@dataclass(frozen=True, slots=True)
class PluginEntry:
    """A plugin as it is declared: nothing of it is imported. Of several of one name the one with the higher `priority` wins."""

    category: str
    name: str
    package: str
    class_path: str
    priority: int = 0
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_builtin(self) -> bool:
        """Whether it comes with the project itself."""
        return self.package == BUILTIN

    @property
    def label(self) -> str:
        """What it is called in a message: `endpoint:echo of my-plugins`."""
        return f"{self.category}:{self.name}" + ("" if self.is_builtin else f" of {self.package}")


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of plugin, as `schemas.CategorySpec` describes it."""

    name: str
    enum: str
    description: str
    protocol: str | None = None
    accepts: Sequence[str] = ()
    metadata_class: str | None = None
    internal: bool = False
    replaced_by: str | None = None
    shares: str | None = None
    reserved: Sequence[str] = ()
