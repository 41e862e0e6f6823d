"""The YAML of experiments and groups: what was read, what was dropped, and where each key stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf._utils import get_yaml_loader

from aiperf.config import roots
from aiperf.config.keys import at
from aiperf.errors import ConfigError

STOP_RULES = (("timing", "stop"), ("timing", "warmup"))
"""Where two rules stand of which a layer's replaces the other of the layers below."""
RULES = ("requests", "duration_s")

STANDS_FOR = {
    ("dataset", "input_tokens"): "mean",
    ("dataset", "output_tokens"): "mean",
    ("endpoint", "timeout_s"): "total",
    ("verdict", "window"): "type",
}
"""Groups in whose place one value may stand, and the key that it is then."""


class Layer(NamedTuple):
    """Unresolved values, at their place in an experiment, of one file or of an argument, which is `typed`.

    `group` is the one whose file it is, empty for an experiment and an argument.
    """

    values: Mapping[str, Any]
    file: Path = Path()
    group: str = ""
    typed: str = ""

    @property
    def shown(self) -> str:
        """The file, or the argument, as a message names it."""
        return self.typed or roots.shown(self.file)

    def place(self, path: Sequence[str]) -> str:
        """The same with the line on which a key stands, if one does."""
        line = None if self.typed else line_of(self.file, path[1:] if self.group else path)
        return f"{self.shown}:{line}" if line else self.shown


@dataclass(slots=True)
class Reading:
    """What one composition reads. `taken` are the choices of the command line, None for a group that it wants empty.

    `instead` are defaults in place of those of base.yaml, `problems` choices that lead nowhere. The last of `layers` is the
    strongest of its kind.
    """

    folders: tuple[Path, ...]
    taken: dict[str, str | None]
    instead: Mapping[str, str]
    layers: list[Layer] = field(default_factory=list)
    dropped: list[Layer] = field(default_factory=list)
    chosen: list[Layer] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C where there is one
    """YAML as Hydra reads it: `1e3` is a number, a date is text, and a key that stands twice is a mistake."""

    yaml_implicit_resolvers = get_yaml_loader().yaml_implicit_resolvers

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping. Raises ConstructorError for a key that stands twice."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError("in a mapping", node.start_mark, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def mapping(file: Path) -> dict[str, Any]:
    """A file's content. Raises ConfigError with file, line and column if it is no YAML mapping."""
    name = roots.shown(file)
    try:
        loaded = named(yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader))  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{name}{place}: is no YAML: {exc.problem or exc.context}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{name}: has no end: an anchor (&) refers to itself") from exc
    except (yaml.YAMLError, OSError, ValueError) as exc:
        raise ConfigError(f"{name}: cannot be read: {str(exc).splitlines()[0]}") from exc
    if loaded is not None and not isinstance(loaded, dict):
        raise ConfigError(f"{name}: holds no keys; expected lines like `timing: {{concurrency: 8}}`")
    return loaded or {}


def named(value: Any) -> Any:
    """A copy with text for every key. Raises RecursionError for a value that holds itself."""
    if isinstance(value, dict):
        return {str(name): named(item) for name, item in value.items()}
    return [named(item) for item in value] if isinstance(value, list) else value


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
