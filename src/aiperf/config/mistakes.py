"""Every mistake in the values of a model at once, each with its place, its key, what is wrong and what was expected."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import reduce
from operator import getitem
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from aiperf.config import keys, roots
from aiperf.config.base import HIDDEN, Model
from aiperf.config.files import Layer, origin
from aiperf.config.keys import Path, at, leaves, typed
from aiperf.config.roots import hint
from aiperf.config.secrets import hidden, is_secret

M = TypeVar("M", bound=Model)

MISSING = "???"
_ROUNDS = 6

Mistake = tuple[Path, str]
"""Where something is wrong; and what, and what was expected."""


def without(values: dict[str, Any], path: Path) -> None:
    """Take the value at a path away, if it is there."""
    if isinstance(inner := at(values, path[:-1]), dict):
        inner.pop(path[-1], None)


class Check(Generic[M]):
    """Collects the mistakes of one set of values, and takes what is wrong out of it, so that others show; `gone` are their paths."""

    def __init__(self, model: type[M], values: dict[str, Any], spoilt: Collection[Path] = ()) -> None:
        """`spoilt` are paths whose value was given, and is known to be wrong already."""
        self.model = model
        self.values = values
        self.gone: set[Path] = set(spoilt)
        self.mistakes: dict[Mistake, None] = {}

    def made(self) -> M:
        """The model, or where there are mistakes what is left of it; looks again without what was wrong, since one hides others."""
        self._given()
        _fill(self.model, self.values)
        self._resolve()
        for _ in range(_ROUNDS):
            try:
                return self.model.model_validate(self.values)
            except ValidationError as exc:
                for error in exc.errors(include_url=False):
                    self._note(error)
        return _left(self.model, self.values)

    def lines(self, layers: Sequence[Layer], others: Iterable[Mistake] = ()) -> Iterator[str]:
        """Every mistake with the strongest of `layers` that says it: `mine.yaml:3: timing.rate: expected a number above 0, not 'abc'`."""
        for path, text in (*self.mistakes, *others):
            dotted = ".".join(path)
            yield ": ".join(filter(None, (origin(layers, self.model, path), "" if text.startswith(dotted) else dotted, text)))

    def _refuse(self, path: Path, text: str, taken: Path = ()) -> None:
        """Note a mistake, and take out the value at its path, or what is to be taken in its place."""
        self.mistakes.setdefault((path, text))
        self.gone.add(taken or path)
        without(self.values, taken or path)

    def _given(self) -> None:
        """Find what must be given (`???`), and truth values where a number is meant."""
        for path, value in list(leaves(self.values)):
            key = keys.lookup(self.model, path)
            if value == MISSING and path in self.gone:
                without(self.values, path)
            elif value == MISSING:
                self._refuse(path, f"is missing; give it, as in {'.'.join(path)}={key.example if key else 'VALUE'}")
            elif isinstance(value, bool) and key and bool not in key.types and (path == key.path or not key.below):
                self._wrong(path, key, value)

    def _resolve(self) -> None:
        """Put what is meant in place of every reference (`${oc.env:NAME}`, `${seed}`); one that leads nowhere is a mistake."""
        found = [(steps, *_meant(self.values, steps)) for steps in _spots(self.values)]
        for steps, meant, _ in found:
            reduce(getitem, steps[:-1], self.values)[steps[-1]] = meant
        for steps, written, why in found:
            if why is not None:
                path = tuple(step for step in steps if isinstance(step, str))
                self._refuse(path, f"the reference {written!r} leads nowhere: {why}")

    def _note(self, error: ErrorDetails) -> None:
        """Note a mistake that pydantic found."""
        whole = path = tuple(map(str, error["loc"]))
        while path and keys.lookup(self.model, path) is None:  # what pydantic adds for the members of a union, or of a list
            path = path[:-1]
        key = keys.lookup(self.model, path)
        path = path[: len(key.path) + 1] if key else path
        if error["type"] in ("extra_forbidden", "invalid_key"):
            known = [key.dotted for key in keys.walk(self.model)]
            for below, _ in leaves(error["input"], whole):
                self._refuse(below, f"there is no such key{hint('.'.join(below), known)}", whole)
        elif error["type"] not in ("value_error", "assertion_error", "missing") and key is not None:
            self._wrong(path, key, error["input"] if at(self.values, path) is None else at(self.values, path))
        else:
            self._ruled(path, key, error)

    def _wrong(self, path: Path, key: keys.Key, value: Any) -> None:
        shown = HIDDEN if is_secret(path, self.model) or key.is_secret else typed(hidden(value, path, self.model))
        what = key.takes
        if key.below and path != key.path:
            what = "text" if key.below is str else "another value"
        elif value is None and key.nested is not None:
            name, first = next(iter(keys.fields(key.nested).items()))
            what += f" or none of them, as in {key.dotted}.{name}={first.example}"
        elif isinstance(value, dict):
            what = f"one value, {what}"
        known = [str(name) for kind in key.types if get_origin(kind) is Literal for name in get_args(kind)]
        self._refuse(path, f"expected {what}, not {shown}{hint(str(value), known)}")

    def _ruled(self, path: Path, key: keys.Key | None, error: ErrorDetails) -> None:
        """What a rule of ours says, but for rules between keys of which one is wrong and has been taken away; or what is missing."""
        wrong = [gone[-1] for gone in self.gone if path == gone[: len(path)]]
        texts = str(error.get("ctx", {}).get("error", error["msg"])).splitlines()
        if error["type"] == "missing":  # groups alone have to be there
            names = list(roots.choices(path[0], (roots.packaged(),)))
            texts = [] if wrong else [f"is missing; choose one of {', '.join(names)}, as in {path[0]}={names[0]}"]
        for text in texts:
            if not any(re.search(rf"\b{re.escape(name)}\b", text) for name in wrong):
                self.mistakes.setdefault((path, text))
        if key is not None and key.nested is None:
            self.gone.add(path)
            without(self.values, path)


def _left(model: type[M], values: dict[str, Any]) -> M:
    """What is left of a model of which no more than rules between keys are broken."""
    try:
        return model.model_validate(values)
    except ValidationError:
        nested = [(name, key.nested, key.field) for name, key in keys.fields(model).items() if key.nested is not None]
        given = [(name, group, values.get(name, {} if field.is_required() else None)) for name, group, field in nested]
        groups = {name: _left(group, said) for name, group, said in given if isinstance(said, dict)}
        return model.model_construct(**{**values, **groups})  # type: ignore[return-value]  # the plugin of mypy forgets that it is M


def _fill(model: type[Model], values: dict[str, Any]) -> None:
    """Put every group there, empty where nothing is said, so that one validator checks all of them."""
    for name, key in keys.fields(model).items():
        if key.nested is not None:
            inner = values.setdefault(name, {}) if key.field.default_factory is not None else values.get(name)
            if isinstance(inner, dict):
                _fill(key.nested, inner)


def _spots(values: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where text with a reference stands, in groups and in lists."""
    if isinstance(values, str) and "${" in values:
        yield above
    for step, value in values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ():
        yield from _spots(value, (*above, step))


def _meant(values: Any, steps: tuple[Any, ...]) -> tuple[Any, str | None]:
    """What stands there in the end; or what is written, and why it leads nowhere."""
    try:
        node = reduce(getitem, steps, OmegaConf.create(values))
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node, None
    except (OmegaConfBaseException, ValueError, TypeError, RecursionError) as exc:
        return reduce(getitem, steps, values), str(exc).splitlines()[0] if str(exc) else type(exc).__name__
