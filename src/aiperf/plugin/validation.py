"""Whether what a manifest names is there, by its source, and whether it fits its category: has what the protocol has, to be called so."""

import dis
import inspect
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

from aiperf.plugin.types import Category

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_UNSEEN = {"*", "__getattr__"}
"""With one of these a module may hold names that its source does not show."""


def absent(path: str) -> str | None:
    """What keeps a class path from naming something, by the sources: nothing is imported; None if nothing does."""
    module, _, name = path.partition(":")
    if name.partition(".")[0] in getattr(sys.modules.get(module), "__dict__", {}):
        return None  # code that runs has it already
    if not _PATH.fullmatch(path):
        return f"class {path!r} is not of the form module.path:Name"
    spec = _located(module)
    if isinstance(spec, str):
        return f"{path}: {spec}"
    try:
        source = getattr(spec.loader, "get_source", lambda _: "")(spec.name)
        known = _UNSEEN if source is None else _names(source, spec.origin or module)
    except (SyntaxError, ValueError, RecursionError, MemoryError, ImportError, OSError) as exc:
        return f"{path}: its module cannot be read: {exc}"
    return None if name in known or known & _UNSEEN else f"{path}: no {name} is defined at the top of {spec.origin or module}"


def _located(module: str) -> ModuleSpec | str:
    """Where a module lies, found from its top-level package down without importing any of them, or why it is nowhere."""
    top, *below = module.split(".")
    spec = None
    with suppress(ImportError, ValueError):
        spec = find_spec(top)
    if spec is None:
        return f"there is no package {top}; is it installed?"
    for depth, name in enumerate(below, 1):
        found = PathFinder.find_spec(name, list(spec.submodule_search_locations or ()))
        if found is None:
            return f"there is no module {'.'.join((top, *below[:depth]))}"
        spec = found
    return spec


@lru_cache(maxsize=64)
def _names(source: str, file: str) -> set[str]:
    """Names that are bound at the top level of a module, branches included, as its code says that is not run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compile(source, file, "exec", dont_inherit=True)
    found = {step.argval for step in dis.get_instructions(code) if step.opname in ("STORE_NAME", "STORE_GLOBAL")}
    return found | {"*"} if ("*",) in code.co_consts else found


def unfit(found: Any, kind: Category) -> str | None:
    """What keeps it from its category, by its nearest protocol, as the end of a sentence after its name; None if nothing does."""
    try:
        if kind.protocol is None:
            return None if callable(found) else "is neither a class nor a function"
        faults = [list(_faults(found, resolve_name(path), path)) for path in (kind.protocol, *kind.accepts)]
        nearest: list[str] = min(faults, key=len)
        return ", ".join(nearest) or None
    except Exception as exc:  # noqa: BLE001 - a stranger's protocol, or metaclass, may raise anything
        return f"cannot be held against {kind.protocol}: {type(exc).__name__}: {exc}"


def _faults(found: Any, protocol: type, path: str) -> Iterator[str]:
    names = {name for base in protocol.__mro__ for name in vars(base) if not name.startswith("_") or name in ("__call__", "__len__")}
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
        with suppress(ValueError):
            inspect.signature(found).bind(*before, *places, **{one.name: None for one in wanted if one.kind is one.KEYWORD_ONLY})
    except TypeError as exc:
        return "not supported by signature" in str(exc)
    return True
