"""The names of plugins as string enums, made when somebody asks for any. `enums.pyi` lists those that are built in."""

import enum
import re
import threading
from typing import Any, cast

from aiperf.plugin import plugins, registry
from aiperf.plugin.types import folded

_made: list[tuple[type["NamedEnum"], str | None]] = []
"""Every enum with its category; None: that of the categories."""
_lock = threading.RLock()
__all__ = list[str]()


class _Live(enum.EnumType):
    def __contains__(cls, value: object) -> bool:
        return value in cls._value2member_map_


class NamedEnum(enum.StrEnum, metaclass=_Live):
    """Members are the names as text, found without regard to case and to - or _; what is registered later becomes one too."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return next((member for member in cls if folded(member) == folded(str(value))), None)


def create_enum(category: str | None, name: str, module: str) -> type[NamedEnum]:
    """An enum of the names of a category (None: of the categories), in the registry's order, that can be pickled as `name` of `module`."""
    kind = category and plugins.find(category).name
    made: type[NamedEnum] = cast("Any", NamedEnum)(name, (), module=module)
    with _lock:
        _renew(made, _names(kind))
        _made.append((made, kind))
    return made


def refresh() -> None:
    """Give every enum the names that the registry has now, and every category its enum."""
    known: dict[str, str | None] = {"PluginType": None, **{kind.enum: kind.name for kind in plugins.categories().values()}}
    with _lock:
        for made, category in _made:
            _renew(made, _names(category))
        globals().update({name: create_enum(known[name], name, __name__) for name in known.keys() - globals().keys()})
        __all__[:] = sorted(known)


def _names(category: str | None) -> list[str]:
    return list(plugins.categories()) if category is None else [entry.name for entry in registry.current().entries(category)]


def _renew(made: Any, names: list[str]) -> None:
    """An enum is what these three tables and its attributes say; a member that stays is the same object."""
    wanted: dict[str, str] = {}
    for name in names:
        wanted[identifier(name, wanted)] = name
    for key, member in list(made._member_map_.items()):
        if wanted.get(key) != member:
            type.__delattr__(made, key)
            del made._member_map_[key], made._value2member_map_[member]
    for key, name in wanted.items():
        if key not in made._member_map_:
            member = str.__new__(made, name)
            member._name_, member._value_, member.__objclass__ = key, name, made
            type.__setattr__(made, key, member)
            made._member_map_[key] = made._value2member_map_[name] = member
    made._member_names_[:] = wanted


def identifier(name: str, taken: Any = ()) -> str:
    """What the member of a name is called: upper case, _ for what no identifier holds."""
    found = re.sub(r"^(?=\d)|\W", "_", name.upper())
    return identifier(f"{name}_", taken) if found in taken else found


plugins.watchers.append(refresh)
refresh()
