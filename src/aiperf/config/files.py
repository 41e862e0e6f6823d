"""The YAML of experiments and groups, read and merged by Hydra, and the arguments over it: where each value comes from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from aiperf.config import keys, roots
from aiperf.config.base import Model
from aiperf.config.keys import at, leaves
from aiperf.config.secrets import hidden
from aiperf.errors import ConfigError

_REFUSALS = (ConfigError, HydraException, OmegaConfBaseException, ValueError, TypeError, AssertionError, RecursionError)
"""What is raised for a file that is none, and by Hydra where its `defaults`, or references between files, make no sense."""

_BASE = "base"
_OVERRIDE = "override /"

_LOADER = get_yaml_loader()
"""YAML as Hydra reads it: `1e3` is a number, a date is text, and a key that stands twice is a mistake."""

STOP_RULES = (("timing", "stop"), ("timing", "warmup"))
"""Where two rules stand of which a layer's replaces the other of the layers below."""
RULES = ("requests", "duration_s")

STANDS_FOR = {"dataset.input_tokens": "mean", "dataset.output_tokens": "mean", "endpoint.timeout_s": "total", "verdict.window": "type"}
"""Groups in whose place one value may stand, and the key that it is then."""


class Layer(NamedTuple):
    """Unresolved values, at their place in an experiment, of one file or of an argument, which is `typed`."""

    values: Mapping[str, Any]
    file: Path = Path()
    group: str = ""  # whose file it is; empty for an experiment and an argument
    typed: str = ""

    @property
    def shown(self) -> str:
        """The file, or the argument, as a message names it."""
        return self.typed or roots.shown(self.file)

    def place(self, path: Sequence[str]) -> str:
        """The same with the line on which a key stands, if one does."""
        if self.typed:
            return self.typed
        node, shown = yaml.compose(self.file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), self.shown
        for name in path[1:] if self.group else path:  # or of the innermost of its groups that is written there
            pairs = node.value if isinstance(node, yaml.MappingNode) else ()
            key, node = next((pair for pair in pairs if pair[0].value == name), (None, None))
            shown = f"{self.shown}:{key.start_mark.line + 1}" if key else shown
        return shown


@dataclass(slots=True)
class Reading:
    """What one composition reads."""

    folders: tuple[Path, ...]
    taken: dict[str, str | None]  # choices of the command line, None for a group that it wants empty
    instead: Mapping[str, str]  # defaults in place of those of base.yaml
    layers: list[Layer] = field(default_factory=list)  # the last is the strongest of its kind
    dropped: list[Layer] = field(default_factory=list)
    chosen: list[Layer] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # choices that lead nowhere


def _mapping(file: Path) -> dict[str, Any]:
    """A file's content. Raises ConfigError with file, line and column if it is no YAML mapping."""
    name = roots.shown(file)
    try:
        loaded = named(yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER))  # noqa: S506 - a safe loader
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
    for dotted, key in STANDS_FOR.items():
        group, name = dotted.split(".")
        value = at(found, (group, name))
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            found[group] = {**found[group], name: {key: value}}
    return found


def composed(current: Reading) -> tuple[dict[str, Any], dict[str, str]]:
    """The chosen files merged, references as written, and which file each group has. Raises ConfigError with what Hydra refuses."""
    version.setbase("1.3")  # these are the steps of Hydra's compose, without its own configuration of nine files, and its globals
    repository, config = _Roots(current), OmegaConf.create()
    try:
        found = create_defaults_list(repository, _BASE, overrides_list=[], prepend_hydra=False, skip_missing=False)
        for default in found.defaults:
            loaded = repository.loaded[str(default.config_path)]
            config.merge_with(ConfigLoaderImpl._embed_result_config(loaded, default.package).config)
    except _REFUSALS as exc:
        told, _, _ = (str(exc) or type(exc).__name__).partition("Config search path:")
        raise ConfigError([*current.problems, " ".join(told.split())]) from exc
    values: Any = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)  # references and ??? stay as written
    return values, {group: name for group, name in sorted(found.overrides.known_choices.items()) if name is not None}


class _Roots(ConfigRepository):
    """All roots as one. Experiments are global without a header, and their `choose` becomes `override /group: file`."""

    def __init__(self, current: Reading) -> None:
        super().__init__(ConfigSearchPathImpl())
        self.current = current
        self.loaded: dict[str, ConfigResult] = {}

    def config_exists(self, config_path: str) -> bool:
        return config_path == _BASE  # nothing else is asked for

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A file's content as Hydra wants it, noted in the Reading at hand; None for a file that is in no root."""
        group, _, name = config_path.partition("/")
        file = roots.packaged() / "conf" / "base.yaml" if group == _BASE else roots.find(group, name, self.current.folders)
        if file is not None and config_path not in self.loaded:
            config = OmegaConf.create(self._content(file, group))
            defaults = self._create_defaults_list(config_path, self._extract_defaults_list(config_path, config))
            header = {"package": "_global_" if group in (_BASE, "experiment") else None}
            self.loaded[config_path] = ConfigResult("aiperf", str(file), config, header, defaults)
        return self.loaded.get(config_path)

    def _content(self, file: Path, group: str) -> dict[str, Any]:
        content, current = _mapping(file), self.current
        if group == "experiment":
            return _as_experiment(Layer(content, file), current)
        if group == _BASE:
            chosen = {**current.instead, **current.taken}
            return {"defaults": [{group: chosen.get(group, name)} for entry in content["defaults"] for group, name in entry.items()]}
        found: dict[str, Any] = opened({group: content})[group]
        values = {name: value for name, value in found.items() if name != "defaults"}
        current.layers.insert(0, Layer({group: values}, file, group))
        return found


def _as_experiment(whole: Layer, current: Reading) -> dict[str, Any]:
    """Drop what was meant for another file, turn `choose` into overrides, and let its stop rules replace those below."""
    values, taken = whole.values, current.taken
    said, choose = values.get("defaults") or [], values.get("choose") or {}
    if not isinstance(said, list):
        raise ConfigError(f"{whole.shown}: defaults: expected Hydra's list; `choose: {{group: file}}` is the short way")
    if not isinstance(choose, dict) or not all(name is None or isinstance(name, str) for name in choose.values()):
        raise ConfigError(f"{whole.shown}: choose: expected a file for each group, as in `choose: {{timing: request_rate}}`")
    own = [entry for entry in said if isinstance(entry, dict) and next(iter(entry), "").startswith(_OVERRIDE)]
    asked = {key.removeprefix(_OVERRIDE): name for entry in own for key, name in entry.items()} | choose
    wrong = {group: roots.misnamed(group, name, current.folders) for group, name in asked.items() if group not in taken}
    current.problems += [f"{whole.place(('choose', group))}: choose.{group}: {problem}" for group, problem in wrong.items() if problem]
    choices = {group: asked[group] for group, problem in wrong.items() if not problem}
    kept = {name: value for name, value in values.items() if name not in ("choose", "defaults", *taken)}
    current.dropped.append(whole._replace(values={group: values[group] for group in values if group in taken}))
    current.chosen.append(whole._replace(values=choices))
    current.layers.insert(0, whole._replace(values=kept))
    overrides = [{f"{_OVERRIDE}{group}": name} for group, name in choices.items()]
    others = [entry for entry in said if entry not in own]
    return {**opened(replacing(kept)), "defaults": [*others, *overrides, *([] if "_self_" in said else ["_self_"])]}


def origin(layers: Sequence[Layer], model: type[Model], path: keys.Path) -> str:
    """The strongest source, the last of `layers`, of the value at a path; of a whole group, everything that has a say in it."""
    key = keys.lookup(model, path)
    found = [layer for layer in layers if _touches(layer, path)]
    if not path or (key is not None and key.nested is not None):
        return ", ".join(dict.fromkeys(layer.shown for layer in found))
    return found[-1].place(path) if found else ""


def _touches(layer: Layer, path: keys.Path) -> bool:
    """Whether a layer says something at a path, above or below it; a null of a file is about itself alone."""
    near = ((found, value) for found, value in leaves(layer.values) if found[: len(path)] == path[: len(found)])
    return any(found == path or layer.typed or value is not None for found, value in near)


def notes(current: Reading, layers: Sequence[Layer]) -> Iterator[str]:
    """What a person may not have meant, in the order in which things happen; the last of `layers` is the command line as a whole."""
    for layer in current.chosen:
        if said := " ".join(f"{group}={name}" for group, name in layer.values.items() if name is not None):
            yield f"{layer.shown} chooses {said}"
    for layer in current.dropped:
        for path, value in leaves(layer.values):
            yield f"dropped {_setting(path, value)} of {layer.shown}: {path[0]} was chosen on the command line"
    yield from _replaced(layers)


def _setting(path: keys.Path, value: Any) -> str:
    shown = hidden(value, path)
    return f"{'.'.join(path)}={shown if isinstance(shown, str) else keys.typed(shown)}"


def _replaced(layers: Sequence[Layer]) -> Iterator[str]:
    """Stop rules that a stronger layer's own rule replaced."""
    standing: dict[keys.Path, Layer] = {}
    for layer, stop in product(layers, STOP_RULES):
        below = standing.get(stop, layer)
        for rule, other in permutations(RULES):
            new, gone = at(layer.values, (*stop, rule)), at(below.values, (*stop, other))
            if new is not None and gone is not None and other not in at(layer.values, stop):
                replaces = f"{_setting((*stop, rule), new)} replaces {_setting((*stop, other), gone)} of {below.shown}"
                yield replaces if layer.typed else f"{layer.shown}: {replaces}"
        if any(at(layer.values, (*stop, rule)) is not None for rule in RULES):
            standing[stop] = layer
