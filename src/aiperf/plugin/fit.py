"""Whether a class or function fits its category: has what the protocol has, to be called as the protocol is."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from aiperf.plugin.types import Category

_MAGIC = ("__call__", "__len__")
"""What a protocol may ask for besides public methods."""


def unfit(found: Any, kind: Category) -> str | None:
    """What keeps it from its category, as the end of a sentence that begins with its name; None if nothing does.

    Of several protocols that would do it is held against the one that it is nearest to.
    """
    try:
        if kind.protocol is None:
            return None if callable(found) else "is neither a class nor a function"
        nearest: list[str] = []
        for path in (kind.protocol, *kind.accepts):
            module, _, name = path.partition(":")
            faults = list(_faults(found, getattr(import_module(module), name), path))
            if not faults:
                return None
            nearest = faults if not nearest or len(faults) < len(nearest) else nearest
        return ", ".join(nearest)
    except Exception as exc:  # noqa: BLE001 - a stranger's protocol, or metaclass, may raise anything
        return f"cannot be held against {kind.protocol}: {type(exc).__name__}: {exc}"


def _faults(found: Any, protocol: type, path: str) -> Iterator[str]:
    names = {name for base in protocol.__mro__ for name in vars(base) if not name.startswith("_") or name in _MAGIC}
    methods = sorted(name for name in names if callable(getattr(protocol, name)))
    if methods == ["__call__"]:
        if inspect.isclass(found) or not callable(found):
            yield f"is no function, which {path} asks for"
        elif inspect.iscoroutinefunction(found):
            yield "is async, and nobody awaits it"
        elif not _takes(found, _asked(protocol, "__call__")):
            yield f"does not take {_asked(protocol, '__call__')}, as {path} does"
    elif not inspect.isclass(found):
        yield f"is no class, which {path} asks for"
    else:
        faults = [fault for name in methods if (fault := _fault(found, protocol, name))]
        yield from (f"{fault} of {path}" if fault is faults[-1] else fault for fault in faults)


def _fault(found: type, protocol: type, name: str) -> str | None:
    """What is wrong with one method; one that only the protocol has, or an abstract base, is missing."""
    mine, theirs = inspect.getattr_static(found, name, None), inspect.getattr_static(protocol, name)
    method, asked = getattr(found, name, None), _asked(protocol, name)
    if mine is theirs or not callable(method) or getattr(method, "__isabstractmethod__", False):
        return f"has no {name}{asked}"
    if inspect.iscoroutinefunction(method) and not inspect.iscoroutinefunction(getattr(protocol, name)):
        return f"has an async {name}, which nobody awaits, for {name}{asked}"
    with_self = inspect.isfunction(theirs) and hasattr(mine, "__get__") and not isinstance(mine, (staticmethod, classmethod))
    return None if _takes(method, asked, *([None] if with_self else [])) else f"has a {name} that does not take {name}{asked}"


def _asked(protocol: type, name: str) -> inspect.Signature:
    """What a method is called with, `self` left out."""
    wanted = list(inspect.signature(getattr(protocol, name)).parameters.values())
    if inspect.isfunction(inspect.getattr_static(protocol, name)):
        del wanted[0]
    return inspect.Signature([one.replace(annotation=one.empty) for one in wanted])


def _takes(found: Any, asked: inspect.Signature, *before: None) -> bool:
    """Whether it can be called so; yes where it does not say what it takes."""
    wanted = asked.parameters.values()
    places = [None for one in wanted if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    try:
        inspect.signature(found).bind(*before, *places, **{one.name: None for one in wanted if one.kind is one.KEYWORD_ONLY})
    except TypeError as exc:
        return "not supported by signature" in str(exc)
    except ValueError:
        return True
    return True
