"""The registry itself: who declares what, who wins, and classes as they are asked for."""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

import yaml

from aiperf.plugin import manifests
from aiperf.plugin.manifests import Manifest
from aiperf.plugin.types import BUILTIN, Category, PluginEntry, PluginError, folded

_log = logging.getLogger(__name__)
logging.getLogger("aiperf").addHandler(logging.NullHandler())  # verbs tell what is noted; Python would print it once more
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
BUILTIN_MANIFESTS = ("plugins.yaml", "metrics.yaml")

Declared = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Category, name, and what a manifest says of it."""


class Registry:
    """All that is declared. `refused` says which packages were not taken and why, `notes` what else a person should know."""

    def __init__(self, builtin: Iterable[str], packages: Iterable[Manifest]) -> None:
        self.lock = threading.RLock()
        self.categories = {name: Category(name, **said) for name, said in _ours("categories.yaml").items() if name != "schema_version"}
        self.packages: dict[str, int] = {BUILTIN: 0}
        self.refused: dict[str, str] = {}
        self.notes: list[str] = []
        self._ranked: dict[str, dict[str, list[PluginEntry]]] = {name: {} for name in self.categories}
        self._by_path: dict[tuple[str, str], PluginEntry] = {}
        for name in builtin:
            self._add(BUILTIN, _ours(name))
        for package, found in groupby(packages, key=lambda manifest: manifest.package):
            self._take(package, found)

    def entries(self, name: str) -> Iterator[PluginEntry]:
        """The winners of a category, in the order of their declaration; none of one that is not there."""
        return (ranked[0] for ranked in list(self._ranked.get(name, {}).values()))

    def ranked(self, name: str, plugin: str) -> tuple[PluginEntry, ...]:
        """All of one name, the winner first."""
        return tuple(self._ranked.get(name, {}).get(folded(plugin), ()))

    def of_path(self, name: str, class_path: str) -> PluginEntry | None:
        """The declaration of a class, whether or not another one took its name."""
        return self._by_path.get((name, class_path))

    def every(self) -> Iterator[PluginEntry]:
        """All that is declared, those in the shadow included."""
        return (entry for names in self._ranked.values() for ranked in names.values() for entry in ranked)

    def put(self, entry: PluginEntry) -> None:
        """Add one; of several of one name the higher priority wins, then who is from outside, then who came first, with a note."""
        with self.lock:
            ranked = self._ranked[entry.category].setdefault(folded(entry.name), [])
            tied = [other for other in ranked if _rank(other) == _rank(entry)]
            ranked.append(entry)
            ranked.sort(key=_rank)
            self._by_path.setdefault((entry.category, entry.class_path), entry)
            self.packages[entry.package] = self.packages.get(entry.package, 0) + 1
            if tied and ranked[0] is tied[0]:
                first, same = tied[0].package, f"{entry.category}:{entry.name}"
                self.note(f"{same} is declared by {first} and by {entry.package} with the same priority: that of {first} is used")

    def note(self, text: str) -> None:
        """Keep a word for whoever asks, and log it."""
        self.notes.append(text)
        _log.warning("%s", text)

    def closed(self, kind: Category, plugin: str) -> str | None:
        """Why nobody from outside may add a plugin to a category, or not under this name; None if somebody may."""
        if kind.internal:
            return f"the category {kind.name} is not open: {kind.replaced_by}"
        if folded(plugin) in kind.reserved:
            return f"{plugin} is a column of the records already"
        if kind.shares is not None and folded(plugin) in self._ranked.get(kind.shares, {}):
            return f"{plugin} is the name of a {kind.shares} already"
        there = self.ranked(kind.name, plugin)
        if kind.shares is None or not there or there[0].name == plugin:
            return None
        return f"{plugin} is there as {there[0].name}; to take its place it must be spelled alike"

    def _take(self, package: str, found: Iterable[Manifest]) -> None:
        """All manifests of a package, or, if one of them is not right, none."""
        read: list[dict[str, Any]] = []
        for manifest in found:
            try:
                read.append(self._read(manifest, read))
            except PluginError as exc:
                self.refused[package] = str(exc)
                _log.warning("the plugins of %s are not used: %s", package, exc)
                return
        self.packages.setdefault(package, 0)
        for loaded in read:
            for name, said in (loaded.get("categories") or {}).items():
                self.categories.setdefault(name, Category(name, **said))
                self._ranked.setdefault(name, {})
            self._add(package, loaded)

    def _read(self, manifest: Manifest, others: Sequence[Declared]) -> dict[str, Any]:
        """What a manifest says, beside others of its package. Raises PluginError with file, line, column and reason."""
        from aiperf.plugin.schema import reading, schemas  # noqa: PLC0415 - only where somebody has added something

        where, is_ours = manifest.source, folded(manifest.package) == BUILTIN
        if is_ours or manifest.problem is not None:
            raise PluginError(f"{where}: {'the name of its package is that of aiperf itself' if is_ours else manifest.problem}")
        try:
            text = reading.decoded(manifest.content)
            loaded: dict[str, Any] = reading.read(text)
            wrong = schemas.mistakes(text, loaded, self.categories, self.closed, others)
        except reading.ManifestError as exc:
            wrong = [exc]
        if wrong:
            raise PluginError("; ".join(f"{where}:{one}" for one in wrong[:3]))  # more would bury them
        return loaded

    def _add(self, package: str, loaded: Declared) -> None:
        for name in (name for name in loaded if name in self.categories):
            for plugin, said in loaded[name].items():
                description, metadata = said.get("description") or "", said.get("metadata") or {}
                entry = PluginEntry(name, plugin, package, said["class"], said.get("priority", 0), description.strip(), metadata)
                self.put(entry)


def _rank(entry: PluginEntry) -> tuple[int, bool]:
    return -entry.priority, entry.is_builtin


def _ours(name: str) -> dict[str, Any]:
    text = files("aiperf.plugin").joinpath(name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, in C where there is one
    return loaded


_guard = threading.Lock()
_current: Registry | None = None


def current() -> Registry:
    """The registry of this process, made when it is first asked for."""
    global _current  # noqa: PLW0603 - the one registry of a process
    if _current is None:
        with _guard:
            if _current is None:
                _current = Registry(BUILTIN_MANIFESTS, manifests.installed())
    return _current


def forget() -> None:
    """Make it anew when it is next asked for."""
    global _current  # noqa: PLW0603 - as above
    with _guard:
        _current = None
