"""References in values: `${oc.env:NAME}`, `${seed}`. The only place where the environment is read, by OmegaConf."""

from collections.abc import Collection, Iterator
from functools import reduce
from operator import getitem
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aiperf.config.keys import Path
from aiperf.config.mistakes import Check, M, fill

Steps = tuple[Any, ...]
_SIGN = "${"


def spots(values: Any, above: Steps = ()) -> Iterator[Steps]:
    """Where text with a reference stands, in groups and in lists."""
    if isinstance(values, str) and _SIGN in values:
        yield above
    elif isinstance(values, (dict, list)):
        for step, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from spots(value, (*above, step))


def looked_at(model: type[M], values: dict[str, Any], spoilt: Collection[Path]) -> Check[M]:
    """Values with what they show by themselves: unknown keys, what is missing, references that lead nowhere."""
    check = Check(model, values, spoilt)
    check.unknown_keys()
    check.missing()
    fill(model, values)
    _resolve(check)
    return check


def _resolve(check: Check[Any]) -> None:
    """Put what is meant in place of every reference; one that leads nowhere is a mistake and is taken out."""
    found = {steps: _meant(check.values, steps) for steps in list(spots(check.values))}
    for steps, (meant, why) in found.items():
        inner = reduce(getitem, steps[:-1], check.values)
        if why is not None:
            written = f"the reference {inner[steps[-1]]!r} leads nowhere: {why}"
            check.refuse(tuple(str(step) for step in steps if not isinstance(step, int)), written)
        else:
            inner[steps[-1]] = meant


def _meant(values: Any, steps: Steps) -> tuple[Any, str | None]:
    """What stands there in the end, or why nothing does."""
    try:
        node = reduce(getitem, steps, OmegaConf.create(values))
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node, None
    except (OmegaConfBaseException, ValueError, TypeError, RecursionError) as exc:
        return None, str(exc).splitlines()[0] if str(exc) else type(exc).__name__
