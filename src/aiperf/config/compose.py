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

from aiperf.config import arguments as grammar
from aiperf.config import checks, engine, files, notes, references, roots, untimed
from aiperf.config import settings as setting
from aiperf.config.arguments import Argument
from aiperf.config.experiment import Experiment
from aiperf.config.files import FileError, Reading
from aiperf.config.keys import Path as KeyPath
from aiperf.config.mistakes import Check, line
from aiperf.config.nearest import unknown
from aiperf.config.origins import Origins
from aiperf.config.text import as_text
from aiperf.errors import ConfigError

_NAME = "name"


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
    composed.setdefault(_NAME, _name(choices.get("experiment")))
    open_to_times = not instead and untimed.is_open(composed, current, settings)
    if open_to_times and untimed.names_times(composed):
        return load(arguments, config_dirs=config_dirs, instead=untimed.INSTEAD)
    check = _check(composed, tuple(unread))
    experiment = check.validated()
    problems += [line(mistake, origins.of) for mistake in check.mistakes]
    if problems or experiment is None:
        raise ConfigError(problems)
    said = notes.lines(current, settings, before, origins)
    timed = partial(load, arguments, config_dirs=config_dirs, instead=untimed.INSTEAD) if open_to_times else None
    return Composed(experiment, as_text(experiment, composed, choices), MappingProxyType(choices), said, timed)


def _choice_problems(chosen: Sequence[Argument], current: Reading) -> list[str]:
    """What is wrong with the choices of the command line, and with those of the experiment that it names."""
    problems = [
        f"{grammar.shown(argument.text, Experiment)}: {_unknown_choice(argument.group, argument.value, current)}"
        for argument in chosen
        if argument.value is not None and roots.find(argument.group, argument.value, current.folders) is None
    ]
    problems += [
        f"{grammar.shown(later.text, Experiment)}: {later.group} is chosen already, by {grammar.shown(first.text, Experiment)}; give one"
        for first, later in combinations(chosen, 2)
        if first.group == later.group
    ]
    name = current.taken.get("experiment")
    file = roots.find("experiment", name, current.folders) if name else None
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
            problem = _unknown_choice(group, name, current)
        if problem is not None:
            problems.append(f"{roots.shown(file)}:{files.line_of(file, ('choose', group))}: choose.{group}: {problem}")
    return problems


def _unknown_choice(group: str, name: str, current: Reading) -> str:
    return unknown(group, name, roots.choices(group, current.folders))


def _name(experiment: str | None) -> str:
    """The experiment file's name as a name for a folder."""
    stem = (experiment or "experiment").rpartition("/")[2].removesuffix(".yaml")
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem).lstrip("._-")[:100] or "experiment"


def _check(composed: dict[str, Any], spoilt: tuple[KeyPath, ...]) -> Check[Experiment]:
    """Every check that looks at the values by themselves, on a copy: references stay as written in the original."""
    check = Check(Experiment, copy.deepcopy(composed), spoilt)
    check.unknown_keys()
    check.missing()
    check.groups()
    references.resolve(check)
    checks.promises(check)
    checks.names(check)
    return check
