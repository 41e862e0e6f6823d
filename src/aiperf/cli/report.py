"""`aiperf report`: the tables of campaigns again, from what lies in their folders."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aiperf.cli import output
from aiperf.config.terminal import terminal
from aiperf.errors import ConfigError, MeasureError
from aiperf.report import table
from aiperf.results import Summary
from aiperf.store.summary import JSON_NAME, read_named

_TRIALS = "trials"


class Told(NamedTuple):
    """One trial, as it is told."""

    title: str
    folder: str
    summary: Summary


def main(words: Sequence[str], _: Mapping[str, str]) -> int:
    """Print what a run printed at its end, for each folder: a campaign, a trial, or `outputs/NAME`, which means its latest campaign.

    Raises ConfigError for folders that are none of these, or of a newer schema, before anything is printed.
    """
    if not words:
        raise ConfigError("report: give a campaign's folder, as in aiperf report outputs/quickstart")
    found = [told for word in words for told in _told(Path(word))]
    colour, columns = terminal(sys.stdout)
    texts = (table.final(told.summary, title=told.title, folder=told.folder, colour=colour, columns=columns) for told in found)
    output.say("\n\n".join(texts))
    lines = [line for folder in dict.fromkeys(told.folder for told in found) for line in _lacking(folder)]
    for line in lines:
        print(f"aiperf: {line}", file=sys.stderr)
    return ConfigError.exit_code if lines else 0


def _lacking(folder: str) -> Iterator[str]:
    """A line a package of whose plugins the campaign was measured with some that are not here any more."""
    brought = _receipt(Path(folder)).get("plugins")
    if not brought:
        return
    from aiperf.plugin import registry  # noqa: PLC0415 - only for campaigns that need what others bring

    current = registry.current()
    there = {(entry.category, entry.name, entry.package) for entry in current.every()}
    gone: dict[str, list[str]] = {}
    for key, said in brought.items():
        name, package = said["name"], said["package"]
        why = "does not have it any more" if package in current.packages else "is not installed here"
        if (said["category"], name, package) not in there:
            parts = gone.setdefault(f"{package} {said['version']}, which {why}", [])
            parts.append(key if key.endswith(f".{name}") else f"{key}={name}")
    for source, parts in gone.items():
        yield f"{folder}: {', '.join(parts)} came from {source}: what was written is shown, nothing of it can be computed again"


def _told(given: Path) -> Iterator[Told]:
    """Every trial of a campaign, or the one that is named."""
    if (given / JSON_NAME).is_file() and not (given / _TRIALS).is_dir():
        campaign, trials = given.parents[1], [given]
    else:
        campaign = _campaign(given)
        trials = sorted((campaign / _TRIALS).iterdir())
    if missing := [trial for trial in trials if not (trial / JSON_NAME).is_file()]:
        why = _receipt(campaign).get("error") or "the run ended, or still is, before its results"
        raise ConfigError([f"report: {trial} has no {JSON_NAME}: {why}" for trial in missing])
    for trial in trials:
        try:
            name, summary = read_named(trial / JSON_NAME)
        except MeasureError as exc:
            raise ConfigError(f"report: {exc}") from exc
        yield Told(name if len(trials) == 1 else f"{name} {trial.name}", str(campaign), summary)


def _campaign(given: Path) -> Path:
    """The campaign that a folder is, or the latest that it holds. Raises ConfigError for other folders."""
    if not given.is_dir():
        raise ConfigError(f"report: {given.absolute()} is no folder; give a campaign's, as in outputs/NAME/20260102T030405Z-abc123")
    if (given / _TRIALS).is_dir():
        return given
    if inner := sorted(given.glob(f"*/{_TRIALS}")):
        return inner[-1].parent
    names = sorted({found.parents[1].name for found in given.glob(f"*/*/{_TRIALS}")})
    hint = f"; it holds those of {', '.join(names)}: name one" if names else ""
    raise ConfigError(f"report: {given.absolute()} is no campaign and holds none{hint}")


def _receipt(campaign: Path) -> Mapping[str, Any]:
    """What the run itself says of it, if it could."""
    try:
        found = json.loads((campaign / "receipt.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
