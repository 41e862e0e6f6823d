"""What a row of a data file may hold: types for msgspec, and what a person is told: what was expected, what is wrong with a row."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import msgspec

from aiperf.errors import DataError

BLOCK = 512
"""Tokens that a hash id stands for."""

_Tokens = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
_Millis = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000)] | Annotated[float, msgspec.Meta(ge=0, le=9e12)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Objects = Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]

_TOKENS = "a whole number of tokens from 1 to 10,000,000"
_OBJECTS = "a list of objects, one at least"
_NOT_YET = "items of name and contents are not played yet"
FIELDS: Mapping[str, tuple[Any, str]] = {
    "input_length": (_Tokens, _TOKENS),
    "hash_ids": (list[Annotated[int, msgspec.Meta(ge=0)]], "a list of whole numbers from 0, an id a block"),
    "text_input": (_Text, "a text that is not empty"),
    "messages": (_Objects, _OBJECTS),
    "payload": (dict[str, Any], "an object, which is the body to send"),
    "tools": (_Objects, _OBJECTS),
    "text": (_Text, f"a text that is not empty; {_NOT_YET}"),
    "texts": (Annotated[list[_Text], msgspec.Meta(min_length=1)], f"a list of texts, none of them empty; {_NOT_YET}"),
    "role": (_Text, "a name, as user"),
    "model": (_Text, "a name"),
    "timestamp": (_Millis, "milliseconds from the start, 0 or more"),
    "delay": (_Millis, "milliseconds since the row before, 0 or more"),
    "output_length": (_Tokens, _TOKENS),
    "extra": (dict[str, Any], "an object, which is merged into the body"),
}
"""The fields of all formats: type, and what is expected; null is as good as absent."""

_SHARED = ("timestamp", "delay", "output_length", "extra")
KINDS = ("input_length", "text_input", "messages", "payload", "text", "texts")
"""The fields that make a row; it has one of them."""

_FOREIGN = "is of another format"
_REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("session_id", "turns"), "is of a conversation of several turns, which is not played yet"),
    **dict.fromkeys(("audio", "audios", "image", "image_uuids", "images", "video", "videos"), "is not played yet"),
    **dict.fromkeys(("contents", "input_text", "prompt", "system"), _FOREIGN),
}
"""What no format can play, and why; left out in silence it would change what is said."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8, nested too deep, or no row of a form."""

_SHOWN = 60
_UNDECLARED = re.compile(r'[\x00-\x1f"\\]')  # no struct of msgspec takes such a name


@dataclass(frozen=True)
class Form:
    """A format: the fields that its rows may have beside those that all share. Rows have an attribute for each of FIELDS."""

    own: tuple[str, ...]

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The fields of which a row needs one."""
        return tuple(name for name in KINDS if name in self.own)

    @cached_property
    def names(self) -> str:
        """The fields, to be shown."""
        return ", ".join(self.own + _SHARED)

    @cached_property
    def _refused(self) -> Mapping[str, str]:
        return {**_REFUSED, **dict.fromkeys(FIELDS.keys() - {*self.own, *_SHARED}, _FOREIGN)}

    def decoder(self, unread: Iterable[str]) -> Callable[[bytes], Any]:
        """Reads plain rows at once: those that have no other fields than the format's and `unread`, which are passed over."""
        fields = [(name, None if name in self._refused else kind | None, None) for name, (kind, _) in FIELDS.items()]
        names = [name for name in unread if name not in self._refused and not _UNDECLARED.search(name)]
        passed = [(f"unread_{i}", msgspec.Raw, msgspec.field(default=msgspec.Raw(), name=name)) for i, name in enumerate(names)]
        return msgspec.json.Decoder(msgspec.defstruct("Row", [*fields, *passed], forbid_unknown_fields=True, gc=False)).decode

    def row(self, raw: Mapping[str, Any]) -> Any:
        """A row that is not plain, without the fields that are not read. Raises DataError with everything that is wrong with it."""
        given = {name: value for name, value in raw.items() if value is not None}
        strangers = sorted(given.keys() & self._refused.keys())
        faults = [f"{name}={short(given[name])} {self._refused[name]}; expected no more than {self.names}" for name in strangers]
        fitted = {}
        for name in [name for name in FIELDS if name in given and name not in strangers]:
            kind, expected = FIELDS[name]
            try:
                fitted[name] = msgspec.convert(given[name], kind)
            except msgspec.ValidationError:
                faults.append(f"{name}={short(given[name])}; expected {expected}")
        if faults:
            raise DataError(faults)
        return _Row(**fitted)

    def kind(self, row: Any) -> str:
        """The field that makes a row. Raises DataError for what its fields, good one by one, are not together."""
        given = [name for name in self.kinds if getattr(row, name) is not None]
        fault = None
        if not given:
            fault = f"has none of {', '.join(self.kinds)}; expected one of them"
        elif len(given) > 1:
            fault = f"has {' and '.join(given)}; expected one of them"
        elif row.timestamp is not None and row.delay is not None:
            fault = f"has timestamp={row.timestamp:g} and delay={row.delay:g}; expected one of them"
        elif row.extra is not None and "stream" in row.extra:
            fault = f"extra holds stream={short(row.extra['stream'])}; expected it as endpoint.streaming, for all rows"
        if (fault := fault or _beside(row, given[0])) is not None:
            raise DataError(fault)
        return given[0]


_Row = msgspec.defstruct("_Row", [(name, kind | None, None) for name, (kind, _) in FIELDS.items()])


def _beside(row: Any, kind: str) -> str | None:
    """What does not go with the kind of a row."""
    if kind == "payload" and (row.tools is not None or row.extra is not None):
        name = "tools" if row.tools is not None else "extra"
        return f"{name}={short(getattr(row, name))} beside payload, which is sent untouched; expected it within the payload"
    if row.hash_ids is None:
        return None
    if kind != "input_length":
        return f"hash_ids={short(row.hash_ids)} beside {kind}; expected input_length with it"
    count, size = len(row.hash_ids), row.input_length
    if count <= (most := -(-size // BLOCK)):
        return None
    return f"hash_ids has {count} ids; expected at most {most}, since input_length={size} fills no more blocks of {BLOCK} tokens"


def parsed(text: bytes, expected: str = "a JSON object a line") -> dict[str, Any]:
    """The object on a line. Raises DataError for what is none, or cannot be read at all."""
    try:
        raw = msgspec.json.decode(text)
    except UNREADABLE as exc:
        raise DataError(f"is no JSON ({exc}): {cut(text[: 4 * _SHOWN].decode(errors='replace'))}; expected a JSON object a line") from exc
    if not isinstance(raw, dict):
        raise DataError(f"{short(raw)} is no row; expected {expected}")
    return raw


def short(value: object) -> str:
    """A value as JSON, cut to what a line of a message holds."""
    return cut(msgspec.json.encode(value).decode())


def cut(shown: str) -> str:
    """The beginning of a text that is too long to be shown; what a terminal would obey is shown as replacement characters."""
    shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown)
