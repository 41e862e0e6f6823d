"""The registry itself: who declares what, who wins, and classes as they are asked for."""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from importlib.resources import files
from typing import Any

import yaml

from aiperf.plugin import manifests
from aiperf.plugin.manifests import Manifest
from aiperf.plugin.types import BUILTIN, Category, PluginEntry, PluginError, folded

_log = logging.getLogger(__name__)
logging.getLogger("aiperf").addHandler(logging.NullHandler())  # verbs tell what is noted; Python would print it once more
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FIELDS = frozenset(field.name for field in fields(Category)) - {"name"}
_OTHER_KEYS = ("schema_version", "plugin", "categories")
BUILTIN_MANIFESTS = ("plugins.yaml", "metrics.yaml")

_MISTAKES = 3
"""As many of a manifest are told at once."""

Declared = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Category, name, and what a manifest says of it."""


class RefusedError(PluginError):
    """A manifest that cannot be used; `place` is a path of keys in it, where one is to blame."""

    def __init__(self, reason: str, place: tuple[str, ...] = ()) -> None:
        self.place = place
        super().__init__(reason)


def category(name: str, said: Mapping[str, Any]) -> Category:
    """A category from what its file says of it."""
    known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items() if key in _FIELDS}
    return Category(name, **known)


class Registry:
    """All that is declared. `refused` says which packages were not taken and why, `notes` what else a person should know."""

    def __init__(self, builtin: Iterable[str], packages: Iterable[Manifest]) -> None:
        self.lock = threading.RLock()
        self.categories = {name: category(name, said) for name, said in _ours("categories.yaml").items() if name != "schema_version"}
        self.packages: dict[str, int] = {BUILTIN: 0}
        self.refused: dict[str, str] = {}
        self.notes: list[str] = []
        self._ranked: dict[str, dict[str, list[PluginEntry]]] = {name: {} for name in self.categories}
        self._by_path: dict[tuple[str, str], PluginEntry] = {}
        for name in builtin:
            self._add(BUILTIN, _ours(name))
        by_package: dict[str, list[Manifest]] = {}
        for manifest in packages:
            by_package.setdefault(manifest.package, []).append(manifest)
        for package, found in by_package.items():
            self._take(package, found)

    def entries(self, name: str) -> Iterator[PluginEntry]:
        """The winners of a category, in the order of their declaration."""
        return (ranked[0] for ranked in list(self._ranked[name].values()))

    def ranked(self, name: str, plugin: str) -> tuple[PluginEntry, ...]:
        """All of one name, the winner first."""
        return tuple(self._ranked[name].get(folded(plugin), ()))

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
                self.note(
                    f"{entry.category}:{entry.name} is declared by {tied[0].package} and by {entry.package} with the same priority: "
                    f"that of {tied[0].package} is used"
                )

    def note(self, text: str) -> None:
        """Keep a word for whoever asks, and log it."""
        self.notes.append(text)
        _log.warning("%s", text)

    def check_open(self, name: str, plugin: str) -> None:
        """Raises RefusedError where nobody from outside may add a plugin, or not under this name."""
        kind = self.categories[name]
        if kind.internal:
            raise RefusedError(f"the category {name} is not open: {kind.replaced_by}", (name,))
        if folded(plugin) in kind.reserved:
            raise RefusedError(f"{plugin} is a column of the records already", (name, plugin))
        there = self.ranked(name, plugin)
        if kind.shares is not None and there and there[0].name != plugin:
            raise RefusedError(f"{plugin} is there as {there[0].name}; to take its place it must be spelled alike", (name, plugin))
        if kind.shares is not None and folded(plugin) in self._ranked.get(kind.shares, {}):
            raise RefusedError(f"{plugin} is the name of a {kind.shares} already", (name, plugin))

    def _take(self, package: str, found: list[Manifest]) -> None:
        """All manifests of a package, or, if one of them is not right, none."""
        read: list[tuple[Any, dict[str, Category]]] = []
        for manifest in found:
            try:
                read.append(self._read(manifest, [loaded for loaded, _ in read]))
            except PluginError as exc:
                self.refused[package] = str(exc)
                _log.warning("the plugins of %s are not used: %s", package, exc)
                return
        self.packages.setdefault(package, 0)
        for loaded, declared in read:
            for name, kind in declared.items():
                self.categories.setdefault(name, kind)
                self._ranked.setdefault(name, {})
            self._add(package, loaded)

    def _read(self, manifest: Manifest, others: Sequence[Mapping[str, Any]]) -> tuple[Any, dict[str, Category]]:
        """A manifest with the categories that it brings. Raises PluginError with file, line, column and reason."""
        from aiperf.plugin.schema import schemas  # noqa: PLC0415 - only where somebody has added something

        where = manifest.source
        if folded(manifest.package) == BUILTIN:
            raise PluginError(f"{where}: the name of its package is that of aiperf itself")
        if manifest.problem is not None:
            raise PluginError(f"{where}: {manifest.problem}")
        try:
            text = schemas.decoded(manifest.content)
            loaded: Any = schemas.read(text)
        except schemas.ManifestError as exc:
            raise PluginError(f"{where}:{exc.line}:{exc.column}: {exc.reason}") from exc
        declared = self._categories_of(loaded)
        if wrong := schemas.mistakes(text, loaded, {**self.categories, **declared}):
            raise PluginError("; ".join(f"{where}:{one.line}:{one.column}: {one.what}" for one in wrong[:_MISTAKES]))
        try:
            self._check(loaded, declared, [*others, loaded])
        except RefusedError as exc:
            line, column = schemas.position(text, exc.place)
            raise PluginError(f"{where}:{line}:{column}: {exc}") from exc
        return loaded, declared

    def _categories_of(self, loaded: Any) -> dict[str, Category]:
        """Categories that a manifest brings itself, as far as they look like some; the schema says what is wrong with others."""
        said = loaded.get("categories") if isinstance(loaded, dict) else None
        if not isinstance(said, dict):
            return {}
        return {name: category(name, one) for name, one in said.items() if isinstance(one, dict) and {"enum", "description"} <= set(one)}

    def _check(self, loaded: Mapping[str, Any], declared: Mapping[str, Category], package: Sequence[Mapping[str, Any]]) -> None:
        for name, kind in declared.items():
            if name in self.categories and self.categories[name] != kind:
                raise RefusedError(f"a category {name} is there already, and is another one", ("categories", name))
        for name in loaded:
            for plugin in loaded[name] if name in self.categories else ():
                self.check_open(name, plugin)
                shared = self.categories[name].shares
                if shared is not None and any(plugin in (one.get(shared) or ()) for one in package):
                    raise RefusedError(f"{plugin} is the name of a {shared} as well", (name, plugin))

    def _add(self, package: str, loaded: Declared) -> None:
        for name, plugins in loaded.items():
            if name in _OTHER_KEYS:
                continue
            for plugin, said in plugins.items():
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
