"""Hydra's compose API behind our own door: files and arguments in, a checked Experiment out, or every mistake at once.

Precedence: model defaults < group choice < experiment < command line. Hydra reads and merges the files that are chosen;
what the command line sets is set on the result, so that each argument can be refused for itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from aiperf.config import arguments as grammar
from aiperf.config import checks, engine, roots
from aiperf.config.arguments import Argument
from aiperf.config.declared import declared
from aiperf.config.experiment import Experiment
from aiperf.config.files import Layer, Reading, named
from aiperf.config.keys import at
from aiperf.config.mistakes import Check, line
from aiperf.config.origins import notes, origin
from aiperf.config.secrets import hidden
from aiperf.errors import ConfigError
from aiperf.plugin import plugins

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_TIMED = MappingProxyType({"timing": "fixed_schedule"})
"""What is the default where the data's own times are played."""
_DECIDES = tuple(("timing", name) for name in ("type", "concurrency", "rate", "arrival"))
"""Keys that say when data are played; the others are those that only recorded times have."""
_OF_TIMES = tuple(("timing", name) for name in ("speedup", "start_s", "end_s", "offset"))


@dataclass(frozen=True, slots=True)
class Composed:
    """A checked experiment; `text` is its experiment.yaml, `choices` the file of each group, `notes` are lines for a person.

    `if_timed` composes the same with the data's own times; None where a timing was chosen, or the data cannot have any.
    """

    experiment: Experiment
    text: str
    choices: Mapping[str, str]
    notes: tuple[str, ...]
    if_timed: "Callable[[], Composed] | None" = None


def load(arguments: Sequence[str], *, config_dirs: Sequence[Path] = (), instead: Mapping[str, str] = MappingProxyType({})) -> Composed:
    """Compose and check an experiment from `group=choice` and `key=value`; `instead` are defaults in place of base.yaml's.

    Raises ConfigError with every mistake.
    """
    given, unread = grammar.read(arguments, Experiment, groups=roots.groups())
    current = Reading(roots.roots(config_dirs), {}, instead)
    _choose([argument for argument in given if argument.kind == "choice"], current)
    composed, choices = engine.composed(current)
    if current.problems or any(len(path) == 1 and path[0] in roots.groups() for path in unread):
        raise ConfigError([*unread.values(), *current.problems])
    settings = [argument for argument in given if argument.kind != "choice"]
    problems, typed = grammar.apply(settings, composed)
    composed.setdefault("name", _name(choices.get("experiment")))
    layers = sorted(current.layers, key=lambda layer: not layer.group)
    timed = partial(load, arguments, config_dirs=config_dirs, instead=_TIMED)
    is_open = not instead and _is_open_to_times(composed, current, settings)
    if is_open and any(at(composed, path) is not None for path in _OF_TIMES):
        return timed()
    check = Check(Experiment, named(composed), unread)  # references stay as written in the original
    experiment = check.made()
    mistakes = [*check.mistakes, *checks.mistakes(experiment, check.gone)]
    place = partial(origin, [*layers, *(argument.layer for argument in settings)], Experiment)
    problems = [*unread.values(), *problems, *(line(mistake, place) for mistake in mistakes)]
    if problems:
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


def _is_open_to_times(composed: Mapping[str, Any], current: Reading, settings: Sequence[Argument]) -> bool:
    """Whether the data come from a file and neither a choice nor a key says when they are played."""
    needs_file = declared("dataset_composer", at(composed, ("dataset", "type"))).get("needs_file")
    chosen = "timing" in current.taken or any("timing" in layer.values for layer in current.chosen)
    said = (argument.path[:2] in _DECIDES for argument in settings)
    in_files = (at(layer.values, path) is not None for layer in current.layers if not layer.group for path in _DECIDES)
    return bool(needs_file) and not chosen and not any(said) and not any(in_files)


def _name(experiment: str | None) -> str:
    """The experiment file's name as a name for a folder."""
    stem = (experiment or "experiment").rpartition("/")[2].removesuffix(".yaml")
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem).lstrip("._-")[:100] or "experiment"


def _as_text(experiment: Experiment, written: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """experiment.yaml: every key with its value, defaults too, so that it means the same to a later version; `written` has the references.

    It chooses no file of any group: what the files said is in it, so no later file has a say below it, nor is claimed to.
    """
    values = {"choose": dict.fromkeys(roots.groups()[1:]), **_as_written(experiment.model_dump(mode="json"), written)}
    body = yaml.dump(hidden(values), Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=140)
    return f"# composed from {' '.join(f'{group}={name}' for group, name in choices.items())}\n{body}"


def _as_written(value: Any, written: Any) -> Any:
    """A value with its references as they were written, in lists and in place of a group too."""
    if isinstance(value, dict) and isinstance(written, Mapping):
        return {name: _as_written(item, written.get(name)) for name, item in value.items()}
    return written if "${" in str(written) else value
