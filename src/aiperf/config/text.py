"""An experiment as experiment.yaml: complete, with references as written and without secrets."""

from collections.abc import Mapping
from typing import Any

import yaml

from aiperf.config import roots
from aiperf.config.experiment import Experiment
from aiperf.config.references import spots
from aiperf.config.secrets import hidden

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def as_text(experiment: Experiment, written: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """Every key with its value, defaults too, so that it means the same to a later version; `written` has the references.

    It chooses no file of any group: what the files said is in it, so no later file has a say below it, nor is claimed to.
    """
    values: dict[str, Any] = experiment.model_dump(mode="json")
    for steps in spots(dict(written)):
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
