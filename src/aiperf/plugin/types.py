"""What the registry hands out, and how it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiperf.errors import ConfigError


class PluginError(ConfigError):
    """Something in the registry, or reached through it, cannot be used."""


class TypeNotFoundError(PluginError):
    """No plugin of this name in this category."""


class PluginImportError(PluginError, ImportError):
    """The module of a plugin cannot be imported."""


class PluginAttributeError(PluginError, AttributeError):
    """The module of a plugin does not hold what was declared."""


@dataclass(frozen=True, slots=True)
class PluginEntry:
    """A plugin as it is declared: nothing of it is imported."""

    category: str
    name: str
    class_path: str
    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of plugin."""

    name: str
    protocol: str
    description: str
