"""References in values: `${oc.env:NAME}`, `${seed}`. The only place where the environment is read, by OmegaConf."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aiperf.config.mistakes import Check

Steps = tuple[Any, ...]
_SIGN = "${"


def spots(values: Any, above: Steps = ()) -> Iterator[Steps]:
    """Where text with a reference stands, in groups and in lists."""
    if isinstance(values, str) and _SIGN in values:
        yield above
    elif isinstance(values, (dict, list)):
        for step, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from spots(value, (*above, step))


def resolve(check: Check[Any]) -> None:
    """Put what is meant in place of every reference; one that leads nowhere is a mistake and is taken out."""
    found = {steps: _meant(check.values, steps) for steps in list(spots(check.values))}
    for steps, outcome in found.items():
        inner = _inner(check.values, steps[:-1])
        if isinstance(outcome, _Nowhere):
            written = f"the reference {inner[steps[-1]]!r} leads nowhere: {outcome.why}"
            check.refuse(tuple(str(step) for step in steps if not isinstance(step, int)), written)
        else:
            inner[steps[-1]] = outcome


class _Nowhere(NamedTuple):
    why: str


def _meant(values: Any, steps: Steps) -> Any:
    try:
        node: Any = OmegaConf.create(values)
        for step in steps:
            node = node[step]
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node
    except (OmegaConfBaseException, ValueError, TypeError, RecursionError) as exc:
        return _Nowhere(str(exc).splitlines()[0] if str(exc) else type(exc).__name__)


def _inner(values: Any, steps: Steps) -> Any:
    for step in steps:
        values = values[step]
    return values
