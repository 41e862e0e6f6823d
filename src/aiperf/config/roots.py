"""What can be chosen, in the working folder, each --config-dir and what comes with aiperf; and the nearest name to an unknown one."""

import difflib
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path

import aiperf
from aiperf.errors import ConfigError


@cache
def packaged() -> Path:
    """The folder that holds what comes with aiperf: of the package in a wheel, of the checkout in an editable install."""
    package = Path(aiperf.__file__).resolve().parent
    return package if (package / "conf").is_dir() else package.parent.parent


def roots(config_dirs: Sequence[Path] = ()) -> tuple[Path, ...]:
    """The folders to look in, first one first. Raises ConfigError for a --config-dir that holds neither conf/ nor experiments/.

    Nor experiment.yaml: in a result folder `experiment` is the name of what was played.
    """
    strangers = [
        folder for folder in config_dirs if not any((folder / name).exists() for name in ("conf", "experiments", "experiment.yaml"))
    ]
    if strangers:
        raise ConfigError([f"--config-dir {folder}: holds neither conf/ nor experiments/ nor experiment.yaml" for folder in strangers])
    return tuple(dict.fromkeys(folder.resolve() for folder in (Path.cwd(), *config_dirs, packaged())))


@cache
def groups() -> tuple[str, ...]:
    """The groups that can be chosen, `experiment` first."""
    return ("experiment", *sorted(folder.name for folder in (packaged() / "conf").iterdir() if folder.is_dir()))


def _folder(group: str) -> str:
    return "experiments" if group == "experiment" else f"conf/{group}"


def choices(group: str, where: Sequence[Path]) -> dict[str, Path]:
    """The files of a group by name; of two with one name that of the first root."""
    found = {file.stem: file for root in reversed(where) for file in root.glob(f"{_folder(group)}/*.yaml") if file.is_file()}
    return dict(sorted(found.items()))


def find(group: str, name: str, where: Sequence[Path]) -> Path | None:
    """The file of a choice, None if there is none. A name may lead into a folder (`mine/poisson`), not out of it."""
    if group not in groups() or ".." in Path(name).parts or Path(name).is_absolute():
        return None
    files = [root / _folder(group) / f"{name.removesuffix('.yaml')}.yaml" for root in where]
    files += [root / "experiment.yaml" for root in where if (group, name) == ("experiment", "experiment")]
    return next((file for file in files if file.is_file()), None)


def misnamed(group: str, name: str | None, where: Sequence[Path]) -> str | None:
    """Why a file of a group cannot be chosen; None if it can, as no file can."""
    if group not in groups():
        return unknown("group", group, groups()[1:])
    return unknown(group, name, choices(group, where)) if name is not None and find(group, name, where) is None else None


def shown(file: Path) -> str:
    """A file as a person would name it: relative to the working folder if it lies below it."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def first_comment(file: Path) -> str:
    """What the first comment of a file says; empty if it does not begin with one."""
    lines = takewhile(lambda line: line.startswith("#"), file.read_text(encoding="utf-8").splitlines())
    return " ".join(line.lstrip("# ").strip() for line in lines)


def _closeness(typed: str, known: str) -> float:
    """How alike two dotted paths are: as a whole, or by their last parts, so that `rate` finds `timing.rate`."""
    typed, known = (name.lower().replace("-", "_") for name in (typed, known))
    last = difflib.SequenceMatcher(None, typed.rpartition(".")[2], known.rpartition(".")[2]).ratio()
    whole = difflib.SequenceMatcher(None, typed, known).ratio()
    return max(whole, 0.7 * last + 0.3 * whole)


def hint(typed: str, known: Iterable[str]) -> str:
    """`, did you mean …?` with the known name that was probably meant, or nothing if none is near."""
    best = max(((_closeness(typed, name), name) for name in known), default=(0.0, ""))
    return f", did you mean {best[1]}?" if best[0] >= 0.6 else ""


def unknown(what: str, typed: str, known: Iterable[str]) -> str:
    """`there is no endpoint 'vlm', did you mean vllm? Known: openai, simulator, vllm`."""
    names = list(known)
    return f"there is no {what} {typed!r}{hint(typed, names) or '.'} Known: {', '.join(names) or 'none'}"
