"""Files and arguments in, a checked Experiment out, or every mistake at once; models' defaults < group < experiment < command line."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from aiperf.config import arguments as grammar
from aiperf.config import checks, files, roots
from aiperf.config.arguments import Argument
from aiperf.config.experiment import Experiment
from aiperf.config.files import Layer, Reading, named, notes
from aiperf.config.keys import at
from aiperf.config.mistakes import Check
from aiperf.config.secrets import hidden
from aiperf.errors import ConfigError
from aiperf.plugin import plugins

_DECIDES = ("type", "concurrency", "rate", "arrival")
"""Keys that say when data are played; the others are those that only recorded times have."""
_OF_TIMES = ("speedup", "start_s", "end_s", "offset")


@dataclass(frozen=True, slots=True)
class Composed:
    """A checked experiment; `text` is its experiment.yaml, `choices` the file of each group, `notes` are lines for a person."""

    experiment: Experiment
    text: str
    choices: Mapping[str, str]
    notes: tuple[str, ...]
    if_timed: "Callable[[], Composed] | None" = None  # with the data's own times; None where a timing was chosen or they have none


def load(arguments: Sequence[str], *, config_dirs: Sequence[Path] = (), instead: Mapping[str, str] = MappingProxyType({})) -> Composed:
    """A checked experiment. Raises ConfigError with every mistake. `instead` are defaults in place of base.yaml's."""
    given, unread = grammar.read(arguments, Experiment, groups=roots.groups())
    current = Reading(roots.roots(config_dirs), {}, instead)
    _choose([argument for argument in given if argument.kind == "choice"], current)
    composed, choices = files.composed(current)
    if current.problems or any(len(path) == 1 and path[0] in roots.groups() for path in unread):
        raise ConfigError([*unread.values(), *current.problems])
    settings = [argument for argument in given if argument.kind != "choice"]
    problems, typed = grammar.apply(settings, composed)
    stem = choices.get("experiment", "").rpartition("/")[2].removesuffix(".yaml")
    composed.setdefault("name", re.sub(r"[^A-Za-z0-9._-]", "-", stem).lstrip("._-")[:100] or "experiment")
    layers = sorted(current.layers, key=lambda layer: not layer.group)
    sources = [*layers, *(argument.layer for argument in settings)]
    timed = partial(load, arguments, config_dirs=config_dirs, instead={"timing": "fixed_schedule"})
    is_open = not instead and _is_open_to_times(composed, current, sources)
    if is_open and any(at(composed, ("timing", name)) is not None for name in _OF_TIMES):
        return timed()
    check = Check(Experiment, named(composed), unread)  # references stay as written in the original
    experiment = check.made()
    if problems := [*unread.values(), *problems, *check.lines(sources, checks.mistakes(experiment, check.gone))]:
        raise ConfigError(problems)
    said = (*notes(current, [*layers, Layer(typed, typed="command line")]), *plugins.problems(), *plugins.notes())
    return Composed(experiment, _as_text(experiment, composed, choices), MappingProxyType(choices), said, timed if is_open else None)


def _choose(chosen: Sequence[Argument], current: Reading) -> None:
    """Note what the command line chooses, and as a problem what cannot be chosen, or is chosen twice."""
    firsts: dict[str, Argument] = {}
    for argument in chosen:
        group, name = argument.path[0], argument.value
        if (first := firsts.setdefault(group, argument)) is not argument:
            current.problems.append(f"{argument.shown}: {group} is chosen already, by {first.shown}; give one")
        elif problem := roots.misnamed(group, name, current.folders):
            current.problems.append(f"{argument.shown}: {problem}")
        else:
            current.taken[group] = name


def _is_open_to_times(composed: Mapping[str, Any], current: Reading, sources: Sequence[Layer]) -> bool:
    """Whether the data come from a file and neither a choice nor a key says when they are played."""
    needs_file = plugins.declared("dataset_composer", at(composed, ("dataset", "type"))).get("needs_file")
    chosen = "timing" in current.taken or any("timing" in layer.values for layer in current.chosen)
    said = (at(layer.values, ("timing", name)) is not None for layer in sources if not layer.group for name in _DECIDES)
    return bool(needs_file) and not chosen and not any(said)


def _as_text(experiment: Experiment, written: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """experiment.yaml: every key with its value, references as `written`. No group's file is chosen: what it said is in it already."""
    values = {"choose": dict.fromkeys(roots.groups()[1:]), **_as_written(experiment.model_dump(mode="json"), written)}
    body = yaml.dump(hidden(values), Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False, allow_unicode=True, width=140)
    return f"# composed from {' '.join(f'{group}={name}' for group, name in choices.items())}\n{body}"


def _as_written(value: Any, written: Any) -> Any:
    """A value with its references as they were written, in lists and in place of a group too."""
    if isinstance(value, dict) and isinstance(written, Mapping):
        return {name: _as_written(item, written.get(name)) for name, item in value.items()}
    return written if "${" in str(written) else value
