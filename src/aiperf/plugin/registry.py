"""The registry itself: the manifests of installed packages, found and read without importing anything of theirs, and who wins."""

import logging
import os
import pkgutil
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from aiperf.plugin.types import BUILTIN, Category, PluginEntry, PluginError, folded

_log = logging.getLogger(__name__)
logging.getLogger("aiperf").addHandler(logging.NullHandler())  # verbs tell what is noted; Python would print it once more
_guard = threading.RLock()
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
BUILTIN_MANIFESTS = ("plugins.yaml", "metrics.yaml")
GROUP = "aiperf.plugins"
"""The entry-point group: `my-package = "my_package:plugins.yaml"`; a package may declare several."""


class Manifest(NamedTuple):
    """A manifest as bytes, or why there is none, as text; `source` is how it is called in a message."""

    package: str
    source: str
    content: bytes | str


class Registry:
    """All that is declared. `refused` says which packages were not taken and why, `notes` what else a person should know."""

    def __init__(self, builtin: Iterable[str], packages: Iterable[Manifest]) -> None:
        self.categories = {name: Category(name, **said) for name, said in _ours("categories.yaml").items() if name != "schema_version"}
        self.packages: dict[str, int] = {BUILTIN: 0}
        self.refused: dict[str, str] = {}
        self.notes: list[str] = []
        self._ranked: dict[str, dict[str, list[PluginEntry]]] = defaultdict(dict)
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
        return next((one for ranked in list(self._ranked.get(name, {}).values()) for one in ranked if one.class_path == class_path), None)

    def every(self) -> Iterator[PluginEntry]:
        """All that is declared, those in the shadow included."""
        return (entry for names in self._ranked.values() for ranked in names.values() for entry in ranked)

    def put(self, entry: PluginEntry) -> None:
        """Add one; of several of one name the higher priority wins, then who is from outside, then who came first, with a note."""
        with _guard:
            ranked = self._ranked[entry.category].setdefault(folded(entry.name), [])
            ranked.append(entry)
            ranked.sort(key=_rank)
            self.packages[entry.package] = self.packages.get(entry.package, 0) + 1
            if (first := ranked[0]) is not entry and _rank(first) == _rank(entry):
                both = f"{entry.category}:{entry.name} is declared by {first.package} and by {entry.package} with the same priority"
                self.note(f"{both}: that of {first.package} is used")

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
            self._add(package, loaded)

    def _read(self, manifest: Manifest, others: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What a manifest says, beside others of its package. Raises PluginError with file, line, column and reason."""
        from aiperf.plugin.schema import schemas  # noqa: PLC0415 - only where somebody has added something

        package, where, content = manifest
        if folded(package) == BUILTIN:
            content = "the name of its package is that of aiperf itself"
        if isinstance(content, str):
            raise PluginError(f"{where}: {content}")
        try:
            text = schemas.decoded(content)
            loaded: dict[str, Any] = schemas.read(text)
            wrong = schemas.mistakes(text, loaded, self.categories, self.closed, others)
        except schemas.ManifestError as exc:
            wrong = [exc]
        if wrong:
            raise PluginError("; ".join(f"{where}:{one}" for one in wrong[:3]))  # more would bury them
        return loaded

    def _add(self, package: str, loaded: dict[str, Any]) -> None:
        for name in (name for name in loaded if name in self.categories):
            for plugin, said in loaded[name].items():
                description, metadata = said.get("description") or "", said.get("metadata") or {}
                entry = PluginEntry(name, plugin, package, said["class"], said.get("priority", 0), description.strip(), metadata)
                self.put(entry)


def _rank(entry: PluginEntry) -> tuple[int, bool]:
    return -entry.priority, entry.is_builtin


def _ours(name: str) -> dict[str, Any]:
    text = pkgutil.get_data(__package__, name) or b""
    return dict(yaml.load(text, Loader=_LOADER))  # noqa: S506 - a safe loader, in C where there is one


def installed() -> Iterator[Manifest]:
    """The manifests of every package that declares some, by the packages' names; of two of one name the first on the path counts."""
    if not _there_may_be_some():
        return
    from importlib import metadata  # noqa: PLC0415 - a tenth of a launch, where nobody has added anything

    found: dict[str, list[tuple[str, str, str]]] = {}
    for dist in metadata.distributions():
        key = str(dist)
        try:
            key = getattr(dist, "_normalized_name", None) or dist.name  # the first is that of a folder, the second opens a file
            if key not in found:
                found[key] = [(str(dist.name or key), point.name, point.value) for point in dist.entry_points.select(group=GROUP)]
        except Exception as exc:  # noqa: BLE001 - what a stranger's metadata hold may raise anything, and is not to end all the others
            yield Manifest(key, "its metadata", f"they cannot be read: {exc}")
    for package, name, value in sorted(point for points in found.values() for point in points):
        try:
            yield Manifest(package, *_read(value))
        except (OSError, ValueError, ImportError) as exc:
            yield Manifest(package, f"{name} = {value!r}", f"no manifest (package:plugins.yaml) can be read there: {exc}")


def _there_may_be_some() -> bool:
    """Whether the name of the group stands in the metadata of any package; yes where that cannot be seen from the file system."""
    others = (finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "PathFinder")
    return any(hasattr(one, "find_distributions") for one in others) or any(_mentioned(Path(one or ".")) for one in dict.fromkeys(sys.path))


def _mentioned(folder: Path) -> bool:
    if not folder.is_dir():
        return folder.is_file()  # a zip of whatever name
    infos = (name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info")))  # noqa: PTH208 - thrice as fast, on every launch
    return any(GROUP.encode() in _points(f"{folder}/{name}/entry_points.txt") for name in infos)


def _points(path: str) -> bytes:
    with suppress(OSError), open(path, "rb") as file:  # noqa: PTH123 - as above
        return file.read()
    return b""


def _read(value: str) -> tuple[str, bytes]:
    """Where a manifest lies below its package, and its bytes; the package itself is located, not imported."""
    module, _, resource = value.partition(":")
    parts = PurePosixPath(resource).parts
    if not resource or resource.startswith("/") or ".." in parts:
        raise ValueError("it names no file in a package")
    top, *below = module.split(".")
    root: Any = _root(top)
    for part in (*below, *parts):
        root = root / part
    return "/".join((top, *below, *parts)), root.read_bytes()


def _root(package: str) -> Any:
    """The files of a top-level package, by the protocol of importlib.resources that its loader speaks."""
    spec = find_spec(package)
    if spec is None:
        raise ValueError(f"there is no package {package}")
    if spec.loader is None:
        from importlib.readers import MultiplexedPath  # noqa: PLC0415 - loads zipfile

        return MultiplexedPath(*map(Path, spec.submodule_search_locations or ()))  # without an __init__.py: folders, maybe several
    reader = getattr(spec.loader, "get_resource_reader", lambda _: None)(package)
    if reader is None:
        raise ValueError(f"the package {package} holds no files")
    return reader.files()


@cache
def _made() -> Registry:
    return Registry(BUILTIN_MANIFESTS, installed())


def current() -> Registry:
    """The registry of this process, made when it is first asked for."""
    with _guard:
        return _made()


forget = _made.cache_clear
"""Make it anew when it is next asked for."""
