"""The YAML of experiments and groups: what was read, what was dropped, and where each key stands."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from aiperf.config import roots
from aiperf.config.mistakes import at

STOP_RULES = (("timing", "stop"), ("timing", "warmup"))
"""Where two rules stand of which a layer's replaces the other of the layers below."""
RULES = ("requests", "duration_s")

STANDS_FOR = {("dataset", "input_tokens"): "mean", ("dataset", "output_tokens"): "mean", ("endpoint", "timeout_s"): "total"}
"""Groups in whose place one value may stand, and the key that it is then."""


class Layer(NamedTuple):
    """One file's values, unresolved, at their place in an experiment; `at` is the group whose file it is, empty for an experiment."""

    file: Path
    at: str
    values: Mapping[str, Any]


class Reading:
    """What one composition reads: `taken` are the choices of the command line, None for a group that it wants empty.

    `instead` are defaults in place of those of base.yaml.
    """

    def __init__(self, folders: tuple[Path, ...], taken: Mapping[str, str | None], instead: Mapping[str, str]) -> None:
        self.folders = folders
        self.taken = taken
        self.instead = instead
        self.layers: list[Layer] = []
        self.dropped: list[Layer] = []
        self.chosen: list[Layer] = []
        self.contents: dict[Path, dict[str, Any]] = {}

    def content(self, file: Path) -> dict[str, Any]:
        """A file's content, read once. Raises FileError if it is no YAML mapping."""
        if file not in self.contents:
            self.contents[file] = mapping(file)
        return self.contents[file]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C where there is one
    """Plain YAML in which `1e3` is a number, a date is text, and a key that stands twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping. Raises ConstructorError for a key that stands twice."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError("in a mapping", node.start_mark, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789."))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


class FileError(ValueError):
    """A file that cannot be used; the message names file, line and column."""


def mapping(file: Path) -> dict[str, Any]:
    """A file's content. Raises FileError if it is no YAML mapping."""
    name = roots.shown(file)
    try:
        loaded = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
        _walk(loaded)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise FileError(f"{name}{place}: is no YAML: {exc.problem or exc.context}") from exc
    except RecursionError as exc:
        raise FileError(f"{name}: has no end: an anchor (&) refers to itself") from exc
    except (yaml.YAMLError, OSError, ValueError) as exc:
        raise FileError(f"{name}: cannot be read: {str(exc).splitlines()[0]}") from exc
    if loaded is not None and not isinstance(loaded, dict):
        raise FileError(f"{name}: holds no keys; expected lines like `timing: {{concurrency: 8}}`")
    return loaded or {}


def _walk(value: Any) -> None:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _walk(inner)


def line_of(file: Path, path: Sequence[str]) -> int | None:
    """The line on which a key, or the innermost of its groups that is written there, stands in a file."""
    node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    line = None
    for name in path:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        if (found := next((pair for pair in pairs if pair[0].value == name), None)) is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def choose(file: Path, config: Mapping[str, Any]) -> dict[str, str | None]:
    """The choices of an experiment. Raises FileError if they are none."""
    said = config.get("choose") or {}
    if not isinstance(said, Mapping) or not all(value is None or isinstance(value, str) for value in said.values()):
        raise FileError(f"{roots.shown(file)}: choose: expected a file for each group, as in `choose: {{timing: request_rate}}`")
    return {str(group): value for group, value in said.items()}


def replacing(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same, where a stop rule that stands alone sets the other one null, so that a lower layer's does not hold beside it."""
    found = dict(values)
    for group, name in STOP_RULES:
        rules = at(found, (group, name))
        if isinstance(rules, Mapping) and any(rules.get(rule) is not None for rule in RULES):
            found[group] = {**found[group], name: {**dict.fromkeys(RULES), **rules}}
    return found


def opened(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same, where a value in place of a group is the key that it stands for, so that other layers' keys beside it hold."""
    found = dict(values)
    for (group, name), key in STANDS_FOR.items():
        value = at(found, (group, name))
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            found[group] = {**found[group], name: {key: value}}
    return found
