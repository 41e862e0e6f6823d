"""Whether what a manifest names is there: by its source, without importing anything, or by importing it."""

import ast
import re
import sys
import warnings
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec

from aiperf.errors import AiperfError
from aiperf.plugin import lookup
from aiperf.plugin.border import border
from aiperf.plugin.fit import unfit
from aiperf.plugin.types import PluginEntry

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_OWN_SCOPE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_UNSEEN = {"*", "__getattr__"}
"""With one of these a module may hold names that its source does not show."""


def invalid(entry: PluginEntry, *, check_class: bool) -> str | None:
    """What is wrong with a plugin, in one line; with `check_class` it is imported and must fit its protocol."""
    if not check_class:
        return _absent(entry.class_path)
    try:
        with border(entry):
            why = unfit(lookup.load(entry), lookup.find(entry.category))
    except AiperfError as exc:
        return " ".join(str(exc).removeprefix(f"{entry.label}: ").split())
    return why and f"{entry.class_path} {why}"


def _absent(path: str) -> str | None:
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
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
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
    """Names that are bound at the top level of a module, branches included."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        todo: list[ast.AST] = [ast.parse(source, file)]
    found: set[str] = set()
    while todo:
        match node := todo.pop():
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Import() | ast.ImportFrom():
                found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
        if not isinstance(node, _OWN_SCOPE) and not (isinstance(node, ast.AnnAssign) and node.value is None):
            todo += ast.iter_child_nodes(node)
    return found
