"""Finds the manifests of installed packages and reads them, without importing anything of theirs."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

GROUP = "aiperf.plugins"
"""The entry-point group: `my-package = "my_package:plugins.yaml"`; a package may declare several."""


class Manifest(NamedTuple):
    """A manifest as bytes, or why there is none; `source` is how it is called in a message."""

    package: str
    source: str
    content: bytes
    problem: str | None = None


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
            yield Manifest(key, "its metadata", b"", f"they cannot be read: {exc}")
    for package, name, value in sorted(point for points in found.values() for point in points):
        try:
            yield Manifest(package, *_read(value))
        except (OSError, ValueError, ImportError) as exc:
            why = f"no manifest (package:plugins.yaml) can be read there: {exc}"
            yield Manifest(package, f"{name} = {value!r}", b"", why)


def _there_may_be_some() -> bool:
    """Whether the name of the group stands in the metadata of any package; yes where that cannot be seen from the file system."""
    if any(hasattr(finder, "find_distributions") and getattr(finder, "__name__", "") != "PathFinder" for finder in sys.meta_path):
        return True
    return any(_mentioned(Path(folder or ".")) for folder in dict.fromkeys(sys.path))


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
