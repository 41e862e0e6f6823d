"""Every mistake in the values of a model at once, each with its place, its key, what is wrong and what was expected."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from aiperf.config import expected as words
from aiperf.config import keys, roots
from aiperf.config.base import HIDDEN, Model
from aiperf.config.keys import Path
from aiperf.config.nearest import hint
from aiperf.config.secrets import hidden, is_secret

M = TypeVar("M", bound=Model)

MISSING = "???"
_ROUNDS = 6
_OWN_WORDS = ("value_error", "assertion_error")


class Mistake(NamedTuple):
    """Something wrong at a path; `text` says what, and what was expected."""

    path: Path
    text: str


Place = Callable[[Path], str]
"""Where the value at a path comes from: a file with its line, or an argument as typed."""


def line(mistake: Mistake, place: Place) -> str:
    """A mistake as it is shown: `experiments/mine.yaml:3: timing.rate: expected a number above 0, not 'abc'`."""
    path = ".".join(mistake.path)
    return ": ".join(part for part in (place(mistake.path), "" if mistake.text.startswith(path) else path, mistake.text) if part)


def leaves(values: Any, above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that holds no further keys, with its path; an empty group is one."""
    if not isinstance(values, Mapping) or not values:
        yield above, values
        return
    for name, value in values.items():
        yield from leaves(value, (*above, str(name)))


def at(values: Any, path: Path) -> Any:
    """The value at a path, None where there is none."""
    for name in path:
        if not isinstance(values, Mapping):
            return None
        values = next((item for key, item in values.items() if str(key) == name), None)
    return values


def without(values: dict[Any, Any], path: Path) -> None:
    """Take the value at a path away, if it is there."""
    inner = at(values, path[:-1])
    if isinstance(inner, dict):
        for key in [key for key in inner if str(key) == path[-1]]:
            del inner[key]


class Check(Generic[M]):
    """Collects the mistakes of one set of values; those that are found are taken out of `values`, so that others show."""

    def __init__(self, model: type[M], values: dict[Any, Any], spoilt: Collection[Path] = ()) -> None:
        """`spoilt` are paths whose value was given, and is known to be wrong already."""
        self.model = model
        self.values = values
        self.spoilt = spoilt
        self._gone: set[Path] = set(spoilt)
        self.mistakes: list[Mistake] = []

    def add(self, path: Path, text: str) -> None:
        """Note a mistake, once."""
        mistake = Mistake(path, text)
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)

    def refuse(self, path: Path, text: str) -> None:
        """Note a mistake and take the value out."""
        self.add(path, text)
        self._take(path)

    def _take(self, path: Path) -> None:
        self._gone.add(path)
        without(self.values, path)

    def unknown_keys(self) -> None:
        """Find keys that no model has, and truth values where a number is meant."""
        for path, value in list(leaves(self.values)) if self.values else ():
            key = keys.lookup(self.model, path)
            if key is None:
                self._unknown(path)
            elif isinstance(value, bool) and not (bool in key.types or (key.is_open and path != key.path)):
                self._wrong(path, key, value)

    def missing(self) -> None:
        """Find values that must be given (`???`)."""
        for path, value in list(leaves(self.values)):
            key = keys.lookup(self.model, path)
            if value == MISSING:
                shown = words.example(key) if key is not None else "VALUE"
                if path not in self.spoilt:
                    self.add(path, f"is missing; give it, as in {'.'.join(path)}={shown}")
                self._take(path)

    def validated(self) -> M | None:
        """The model, or None where a mistake was found; looks again without what was wrong, since one mistake hides others."""
        found = None
        for _ in range(_ROUNDS):
            try:
                found = self.model.model_validate(self.values)
                break
            except ValidationError as exc:
                if not self._refused(exc.errors(include_url=False)):
                    break
        return None if self.mistakes or self.spoilt else found

    def _unknown(self, path: Path) -> None:
        depth = next(n for n in range(len(path) - 1, -1, -1) if n == 0 or keys.lookup(self.model, path[:n]) is not None)
        above = keys.lookup(self.model, path[:depth]) if depth else None
        if above is not None and above.nested is None:
            self.add(path, f"there is no such key; {above.dotted} is one value: {words.expected(above)}")
            self._take(above.path)
        else:
            self.add(path, f"there is no such key{hint('.'.join(path), words.all_paths(self.model))}")
            self._take(path[: depth + 1])

    def _wrong(self, path: Path, key: keys.Key, value: Any) -> None:
        shown = HIDDEN if is_secret(path, self.model) or key.is_secret else words.typed(hidden(value, path, self.model))
        what = words.expected(key)
        if key.is_open and path != key.path:
            what = "text" if key.open_text else "another value"
        elif value is None and key.nested is not None:
            name, first = next(iter(keys.fields(key.nested).items()))
            what += f" or none of them, as in {key.dotted}.{name}={words.example(first)}"
        self.refuse(path, f"expected {what}, not {shown}")

    def _place(self, error: ErrorDetails) -> Path:
        """The path of an error, without what pydantic adds for the members of a union."""
        path: Path = ()
        for name in error["loc"]:
            key = keys.lookup(self.model, (*path, str(name)))
            if key is None or (key.is_open and len(path) > len(key.path)):
                break
            path = (*path, str(name))
        return path

    def _refused(self, errors: list[ErrorDetails]) -> bool:
        """Note what is new; False if nothing is."""
        before = len(self.mistakes)
        gone = tuple(self._gone)
        for error in errors:
            path = self._place(error)
            below = [wrong[-1] for wrong in gone if path == wrong[: len(path)]]
            if error["type"] in _OWN_WORDS:
                self._said(path, error, below)
            elif error["type"] != "missing":
                self._mistyped(path, error)
            elif not below:
                self.add(path, f"is missing{_choices(path)}")
        return len(self.mistakes) > before

    def _said(self, path: Path, error: ErrorDetails, wrong: list[str]) -> None:
        """What a validator of ours says, but for rules between keys of which one is wrong and has been taken away."""
        for text in str(error.get("ctx", {}).get("error", error["msg"])).splitlines():
            if not any(re.search(rf"\b{re.escape(name)}\b", text) for name in wrong):
                self.add(path, text)
        key = keys.lookup(self.model, path)
        if key is not None and key.nested is None:
            self._take(path)

    def _mistyped(self, path: Path, error: ErrorDetails) -> None:
        key = keys.lookup(self.model, path)
        if key is None:
            self.add(path, "expected keys with values")
        else:
            self._wrong(path, key, error["input"] if at(self.values, path) is None else at(self.values, path))


def _choices(path: Path) -> str:
    """What can be chosen for a group that is missing; nothing for a key."""
    if len(path) != 1 or path[0] not in roots.groups():
        return ""
    names = list(roots.choices(path[0], (roots.packaged(),)))
    return f"; choose one of {', '.join(names)}, as in {path[0]}={names[0]}"


def fill(model: type[Model], values: dict[Any, Any]) -> None:
    """Put every group there, empty where nothing is said, so that one validator checks all of them."""
    for name, key in keys.fields(model).items():
        if key.nested is not None:
            inner = values.setdefault(name, {}) if key.field.default_factory is not None else values.get(name)
            if isinstance(inner, dict):
                fill(key.nested, inner)
