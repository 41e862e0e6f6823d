"""A package of one plugin to begin with: its class, manifest, entry point and tests, from `templates/`."""

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

from aiperf.plugin import plugins, registry
from aiperf.plugin.types import PluginError

_ROOT = files("aiperf.plugin").joinpath("templates")
_FILES = {
    "pyproject.toml": "pyproject.txt", "src/{module}/__init__.py": "package.txt", "src/{module}/plugins.yaml": "{category}/manifest.txt",
    "src/{module}/{name}.py": "{category}/plugin.txt", "tests/test_{name}.py": "{category}/test.txt",
}  # fmt: skip


def known() -> list[str]:
    """The categories of which a plugin can be written."""
    return sorted(one.name for one in _ROOT.iterdir() if one.is_dir())


def write(category: str, name: str, folder: Path | None = None) -> tuple[Path, tuple[str, ...]]:
    """Write a package, by default to `aiperf-NAME`, and say where and which files. Raises PluginError; nothing is overwritten."""
    kind = plugins.find(category)
    if kind.name not in known():
        raise PluginError(f"no package can be begun for {kind.name}; for these it can: {', '.join(known())}")
    _check(name)
    if why := registry.current().closed(kind, name):
        raise PluginError(why)
    project = f"aiperf-{name.replace('_', '-')}"
    folder = folder or Path(project)
    class_name = name.title().replace("_", "")
    words = {"category": kind.name, "name": name, "class_name": class_name, "module": f"aiperf_{name}", "project": project}
    made = {path.format(**words): _ROOT.joinpath(source.format(**words)).read_text(encoding="utf-8") for path, source in _FILES.items()}
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise PluginError(f"{folder} is there already; give another folder: aiperf plugins new {kind.name} {name} DIR")
        for path, text in made.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(Template(text).substitute(words), encoding="utf-8")
    except OSError as exc:
        raise PluginError(f"{exc.filename or folder} cannot be written: {exc.strerror or exc}") from exc
    return folder, tuple(made)


def _check(name: str) -> None:
    if re.fullmatch(r"[a-z][a-z0-9_]*", name) and not keyword.iskeyword(name):
        return
    meant = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_") or "mine"
    meant = f"my_{meant}" if keyword.iskeyword(meant) or not meant[0].isalpha() else meant
    raise PluginError(f"{name!r} cannot be the name of a module; {meant!r} can")
