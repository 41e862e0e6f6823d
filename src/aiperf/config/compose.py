"""Hydra's compose API behind our own door: files and arguments in, a checked Experiment out, or every mistake at once.

Precedence: model defaults < group choice < experiment < command line. Hydra reads and merges the files that are chosen;
what the command line sets is set on the result, so that each argument can be refused for itself.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from aiperf.config import arguments as grammar
from aiperf.config import checks, engine, files, references, roots, untimed
from aiperf.config import settings as setting
from aiperf.config.arguments import Argument
from aiperf.config.experiment import Experiment
from aiperf.config.files import FileError, Reading
from aiperf.config.mistakes import line
from aiperf.config.nearest import unknown
from aiperf.config.origins import Origins, notes
from aiperf.config.secrets import hidden
from aiperf.errors import ConfigError
from aiperf.plugin import plugins

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


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
    chosen = [argument for argument in given if argument.is_choice]
    current = Reading(roots.roots(config_dirs), {argument.group: argument.value for argument in chosen}, instead)
    if (problems := _choice_problems(chosen, current)) or any(len(path) == 1 and path[0] in roots.groups() for path in unread):
        raise ConfigError([*unread.values(), *problems])
    composed, choices = engine.composed(current)
    settings = [argument for argument in given if not argument.is_choice]
    origins = Origins(current.layers[::-1], settings)
    before = copy.deepcopy(composed)
    problems = [*unread.values(), *setting.apply(settings, composed, Experiment)]
    composed.setdefault("name", _name(choices.get("experiment")))
    open_to_times = not instead and untimed.is_open(composed, current, settings)
    if open_to_times and untimed.names_times(composed):
        return load(arguments, config_dirs=config_dirs, instead=untimed.INSTEAD)
    check = references.looked_at(Experiment, copy.deepcopy(composed), unread)  # references stay as written in the original
    checks.names(check)
    checks.promises(check)
    experiment = check.validated()
    problems += [line(mistake, origins.of) for mistake in check.mistakes]
    if problems or experiment is None:
        raise ConfigError(problems)
    said = (*notes(current, settings, before, origins), *plugins.problems(), *plugins.notes())
    timed = partial(load, arguments, config_dirs=config_dirs, instead=untimed.INSTEAD) if open_to_times else None
    return Composed(experiment, _as_text(experiment, composed, choices), MappingProxyType(choices), said, timed)


def _choice_problems(chosen: Sequence[Argument], current: Reading) -> list[str]:
    """What is wrong with the choices of the command line, and with those of the experiment that it names."""
    where = current.folders
    problems = [
        f"{grammar.shown(argument.text, Experiment)}: {unknown(argument.group, argument.value, roots.choices(argument.group, where))}"
        for argument in chosen
        if argument.value is not None and roots.find(argument.group, argument.value, where) is None
    ]
    problems += [
        f"{grammar.shown(later.text, Experiment)}: {later.group} is chosen already, by {grammar.shown(first.text, Experiment)}; give one"
        for first, later in combinations(chosen, 2)
        if first.group == later.group
    ]
    name = current.taken.get("experiment")
    file = roots.find("experiment", name, where) if name else None
    return problems + (_experiment_problems(file, current) if file is not None else [])


def _experiment_problems(file: Path, current: Reading) -> list[str]:
    try:
        said = files.choose(file, current.content(file))
    except FileError as exc:
        return [str(exc)]
    problems = []
    known = [group for group in roots.groups() if group != "experiment"]
    for group, name in said.items():
        problem = unknown("group", group, known) if group not in known else None
        if problem is None and name is not None and group not in current.taken and roots.find(group, name, current.folders) is None:
            problem = unknown(group, name, roots.choices(group, current.folders))
        if problem is not None:
            problems.append(f"{roots.shown(file)}:{files.line_of(file, ('choose', group))}: choose.{group}: {problem}")
    return problems


def _name(experiment: str | None) -> str:
    """The experiment file's name as a name for a folder."""
    stem = (experiment or "experiment").rpartition("/")[2].removesuffix(".yaml")
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem).lstrip("._-")[:100] or "experiment"


def _as_text(experiment: Experiment, written: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """experiment.yaml: every key with its value, defaults too, so that it means the same to a later version; `written` has the references.

    It chooses no file of any group: what the files said is in it, so no later file has a say below it, nor is claimed to.
    """
    values: dict[str, Any] = experiment.model_dump(mode="json")
    for steps in references.spots(dict(written)):
        _put(values, [step for step in steps if isinstance(step, str)], dict(written))
    values = {"choose": dict.fromkeys(group for group in roots.groups() if group != "experiment"), **values}
    body = yaml.dump(hidden(values), Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=140)
    return f"# composed from {' '.join(f'{group}={name}' for group, name in choices.items())}\n{body}"


def _put(values: dict[str, Any], path: list[str], written: Any) -> None:
    """Put a reference, or the list that it stands in, where its value is now; a short form (`input_tokens: ${n}`) as a whole."""
    inner: Any = values
    for name in path[:-1]:
        inner, written = inner[name], written[name]
    inner[path[-1]] = written[path[-1]]
