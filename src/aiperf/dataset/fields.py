"""What the fields of a row may hold: their types for msgspec, and what a person is told: what was expected, what is wrong with a row."""

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, cast

import msgspec

R = TypeVar("R", bound="Shared")

Millis = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000)] | Annotated[float, msgspec.Meta(ge=0, le=9e12)]
Tokens = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Texts = Annotated[list[Text], msgspec.Meta(min_length=1)]
Object = dict[str, Any]
Objects = Annotated[list[Object], msgspec.Meta(min_length=1)]

TOKENS = "a whole number of tokens from 1 to 10,000,000"
SHARED: Mapping[str, tuple[Any, str]] = {
    "timestamp": (Millis | None, "milliseconds from the start, 0 or more"),
    "delay": (Millis | None, "milliseconds since the row before, 0 or more"),
    "output_length": (Tokens | None, TOKENS),
    "extra": (Object | None, "an object, which is merged into the body"),
}
"""The fields that rows of every format may have: type and what is expected."""

FOREIGN = "is of another format"
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("session_id", "turns"), "is of a conversation of several turns, which is not played yet"),
    **dict.fromkeys(("audio", "audios", "image", "image_uuids", "images", "video", "videos"), "is not played yet"),
    **dict.fromkeys(("contents", "input_text", "prompt", "system"), FOREIGN),
}
"""What no format can play, and why; left out in silence it would change what is said."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8, or nested too deep."""

_SHOWN = 60
_UNDECLARED = re.compile(r'[\x00-\x1f"\\]')  # no struct of msgspec takes such a name


class Shared(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The part of a row that every format has."""

    timestamp: Millis | None = None
    delay: Millis | None = None
    output_length: Tokens | None = None
    extra: Object | None = None


@dataclass(frozen=True, slots=True)
class Form(Generic[R]):
    """A format: its row as msgspec reads it, its fields as a person knows them, and what is refused, with the reason.

    `check` says what is wrong with a row whose fields are good one by one (None: nothing).
    """

    row: type[R]
    known: Mapping[str, tuple[Any, str]]
    refused: Mapping[str, str]
    check: Callable[[R], str | None]

    @property
    def names(self) -> str:
        """The fields, to be shown."""
        return ", ".join(self.known)

    def decoder(self, unread: Iterable[str]) -> Callable[[bytes], R]:
        """Reads plain rows at once: those that have no other fields than the format's and `unread`, which are passed over."""
        names = [name for name in unread if name not in self.refused and not _UNDECLARED.search(name)]
        if not names:
            return msgspec.json.Decoder(self.row).decode
        passed = [(f"unread_{i}", msgspec.Raw, msgspec.field(default=msgspec.Raw(), name=name)) for i, name in enumerate(names)]
        row = cast("type[R]", msgspec.defstruct("Row", passed, bases=(self.row,), gc=False))
        return msgspec.json.Decoder(row).decode

    def converted(self, raw: Mapping[str, Any]) -> R | list[str]:
        """The row without the fields that are not read, or everything that is wrong with it; null is as good as absent."""
        strangers = [name for name in sorted(raw.keys() & self.refused.keys()) if raw[name] is not None]
        if not strangers:
            with contextlib.suppress(msgspec.ValidationError):
                return msgspec.convert({name: raw[name] for name in self.known if name in raw}, self.row)
        faults = [f"{name}={short(raw[name])} {self.refused[name]}; expected no more than {self.names}" for name in strangers]
        for name, (kind, expected) in self.known.items():
            if name in raw and not _fits(raw[name], kind):
                faults.append(f"{name}={short(raw[name])}; expected {expected}")
        return faults


def one_of(names: Sequence[str], row: Shared) -> str | None:
    """What is wrong with a row that has none or several of `names`, of which it needs one, both of its times, or a say in streaming."""
    given = [name for name in names if getattr(row, name) is not None]
    if not given:
        return f"has none of {', '.join(names)}; expected one of them"
    if len(given) > 1:
        return f"has {' and '.join(given)}; expected one of them"
    if row.timestamp is not None and row.delay is not None:
        return f"has timestamp={row.timestamp:g} and delay={row.delay:g}; expected one of them"
    if row.extra is not None and "stream" in row.extra:
        return f"extra holds stream={short(row.extra['stream'])}; expected it as endpoint.streaming, for all rows"
    return None


def _fits(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def short(value: object) -> str:
    """A value as JSON, cut to what a line of a message holds."""
    return cut(msgspec.json.encode(value).decode())


def no_json(text: bytes, why: Exception) -> str:
    """What is wrong with a line that cannot be read at all."""
    return f"is no JSON ({why}): {cut(text[: 4 * _SHOWN].decode(errors='replace'))}; expected a JSON object a line"


def cut(shown: str) -> str:
    """The beginning of a text that is too long to be shown; what a terminal would obey is shown as replacement characters."""
    shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown)


def as_they_stand(path: Path, names: Sequence[str]) -> str:
    """What a person should know of words that are not drawn."""
    return f"{path}: {', '.join(names)} are sent as they stand, so a server's cache of a warm-up or of an earlier run may answer"


def without_ids(path: Path, line: int, name: str) -> str:
    """What is wrong with words of the file where ids are asked for."""
    return f"{path}:{line}: {name} has no token ids, which endpoint.prompt=token_ids asks for; expected input_length, whose text is drawn"
