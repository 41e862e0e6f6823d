"""Hydra, handed our folders, our files and nothing of its own; it reads and merges what was chosen."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra import compose, version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.structured_config_source import StructuredConfigSource
from hydra._internal.hydra import Hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf, StringNode
from omegaconf.errors import OmegaConfBaseException

from aiperf.config import files, roots
from aiperf.config.files import Layer, Reading
from aiperf.errors import ConfigError

_DIRNAMES = {"override_dirname": {"kv_sep": "=", "item_sep": ",", "exclude_keys": []}}
_STAND_IN: Mapping[str, Any] = {
    "overrides": {"hydra": [], "task": []},
    "runtime": {"choices": {}, "version": None, "version_base": StringNode(None), "cwd": None, "config_sources": []},
    "job": {"name": "aiperf", "config_name": None, "env_copy": [], "env_set": {}, "override_dirname": None, "config": _DIRNAMES},
}
"""In place of Hydra's own configuration: launchers, sweepers and logging are nine files that we do not use and would wait for."""

_REFUSALS = (ConfigError, HydraException, OmegaConfBaseException, ValueError, TypeError, AssertionError, RecursionError)
"""What is raised for a file that is none, and by Hydra where its `defaults`, or references between files, make no sense."""

_BASE = "base"
_OVERRIDE = "override /"

_READING: ContextVar[Reading] = ContextVar("reading")


def composed(current: Reading) -> tuple[dict[str, Any], dict[str, str]]:
    """The chosen files merged, references as written, and which file each group has. Raises ConfigError with what Hydra refuses."""
    token = _READING.set(current)
    try:
        with _ours():
            config = compose(_BASE, return_hydra_config=True)
    except _REFUSALS as exc:
        raise ConfigError([*current.problems, _told(exc)]) from exc
    finally:
        _READING.reset(token)
    values: Any = OmegaConf.to_container(config, resolve=False, throw_on_missing=False)  # references and ??? stay as written
    choices = {group: name for group, name in sorted(values.pop("hydra")["runtime"]["choices"].items()) if name is not None}
    return values, choices


@contextmanager
def _ours() -> Iterator[None]:
    """Hydra with our source and no other; it keeps its state in globals, and whoever had one gets it back.

    By the public way (`initialize_config_dir`, a SearchPathPlugin) it would look for plugins everywhere and import its own.
    """
    for source in (_Root, StructuredConfigSource):
        SourcesRegistry.instance().register(source)
    path = ConfigSearchPathImpl()
    path.append("aiperf", "aiperf://")
    path.append("schema", "structured://")
    store, globals_ = ConfigStore.instance(), GlobalHydra.instance()
    theirs, outer = store.repo["hydra"]["config.yaml"], globals_.hydra
    store.store(group="hydra", name="config", node=_STAND_IN, provider="aiperf")
    version.setbase("1.3")
    globals_.hydra = Hydra("aiperf", ConfigLoaderImpl(path))
    try:
        yield
    finally:
        store.repo["hydra"]["config.yaml"] = theirs
        globals_.hydra = outer


def _told(exc: BaseException) -> str:
    inner = exc.__cause__
    text = str(exc) or (str(inner) if inner is not None else type(exc).__name__)
    return " ".join(part.strip() for part in text.splitlines()[:3])


class _Root(ConfigSource):
    """All roots as one source. Experiments are global without a header, and their `choose` becomes `override /group: file`."""

    @staticmethod
    def scheme() -> str:
        return "aiperf"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in roots.groups()  # a folder of a stranger's conf/ is none

    def is_config(self, config_path: str) -> bool:
        return _file(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:  # noqa: ARG002 - Hydra's signature
        return list(roots.choices(config_path, _READING.get().folders))

    def load_config(self, config_path: str) -> ConfigResult:
        """A file's content as Hydra wants it, noted in the Reading at hand."""
        current, group = _READING.get(), config_path.partition("/")[0]
        if (file := _file(config_path)) is None:
            raise ConfigLoadError(f"{config_path} is in no root")
        content = files.mapping(file)
        if group == _BASE:
            chosen = {**current.instead, **current.taken}
            content = {"defaults": [_replaced(entry, chosen) for entry in content["defaults"]]}
        elif group == "experiment":
            content = _as_experiment(Layer(content, file), current)
        else:
            content = files.opened({group: content})[group]
            values = {name: value for name, value in content.items() if name != "defaults"}
            current.layers.insert(0, Layer({group: values}, file, group))
        header = {"package": "_global_" if group in (_BASE, "experiment") else None}
        return ConfigResult(config=OmegaConf.create(content), path=str(file), provider=self.provider, header=header)


def _file(config_path: str) -> Path | None:
    if config_path == _BASE:
        return roots.packaged() / "conf" / "base.yaml"
    group, _, name = config_path.partition("/")
    return roots.find(group, name, _READING.get().folders) if name and group in roots.groups() else None


def _replaced(entry: Any, chosen: Mapping[str, str | None]) -> Any:
    """An entry of base.yaml with what the command line chose in its place, or is the default in its place."""
    return {group: chosen.get(group, name) for group, name in entry.items()} if isinstance(entry, dict) else entry


def _as_experiment(whole: Layer, current: Reading) -> dict[str, Any]:
    """Drop what was meant for another file, turn `choose` into overrides, and let its stop rules replace those below."""
    values = whole.values
    said, choose = values.get("defaults") or [], values.get("choose") or {}
    if not isinstance(said, list):
        raise ConfigError(f"{whole.shown}: defaults: expected Hydra's list; `choose: {{group: file}}` is the short way")
    if not isinstance(choose, dict) or not all(name is None or isinstance(name, str) for name in choose.values()):
        raise ConfigError(f"{whole.shown}: choose: expected a file for each group, as in `choose: {{timing: request_rate}}`")
    own = [entry for entry in said if isinstance(entry, dict) and next(iter(entry), "").startswith(_OVERRIDE)]
    choices = {key.removeprefix(_OVERRIDE): name for entry in own for key, name in entry.items()} | choose
    choices = {group: name for group, name in choices.items() if group not in current.taken}
    for group, name in list(choices.items()):
        if problem := roots.misnamed(group, name, current.folders):
            current.problems.append(f"{whole.place(('choose', group))}: choose.{group}: {problem}")
            del choices[group]
    kept = {name: value for name, value in values.items() if name not in ("choose", "defaults", *current.taken)}
    current.dropped.append(whole._replace(values={group: values[group] for group in values if group in current.taken}))
    current.chosen.append(whole._replace(values=choices))
    current.layers.insert(0, whole._replace(values=kept))
    overrides = [{f"{_OVERRIDE}{group}": name} for group, name in choices.items()]
    others = [entry for entry in said if entry not in own]
    return {**files.opened(files.replacing(kept)), "defaults": [*others, *overrides, *([] if "_self_" in said else ["_self_"])]}
