"""Sends the texts of a file: a row a request, whose words are the file's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import Wording
from aiperf.dataset.fields import FOREIGN, REFUSED, SHARED, Form, Shared, Text, Texts, as_they_stand, one_of, without_ids
from aiperf.dataset.lines import Line
from aiperf.dataset.reading import Reading, length_notes, output_tokens
from aiperf.errors import DataError
from aiperf.workload import Lengths, Turn

_TEXTS = ("text", "texts")
_KNOWN: Mapping[str, tuple[Any, str]] = {
    "text": (Text | None, "a text that is not empty; items of name and contents are not played yet"),
    "texts": (Texts | None, "a list of texts, none of them empty; items of name and contents are not played yet"),
    "role": (Text | None, "a name, as user"),
    "model": (Text | None, "a name"),
}
_REFUSED = {**REFUSED, **dict.fromkeys(("hash_ids", "input_length", "messages", "payload", "text_input", "tools"), FOREIGN)}


class _Row(Shared, gc=False):
    text: Text | None = None
    texts: Texts | None = None
    role: Text | None = None
    model: Text | None = None


FORM = Form(_Row, {**_KNOWN, **SHARED}, _REFUSED, partial(one_of, _TEXTS))


class _Said(msgspec.Struct, gc=False):
    """What stays in the file until a row is rendered."""

    text: str | None = None
    texts: list[str] | None = None
    role: str | None = None
    model: str | None = None
    extra: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Said).decode


class SingleTurn:
    """A Loader of texts; lengths of prompts are not known. Rows without `output_length` ask for `options.output_tokens`.

    Raises DataError for rows that cannot be used, ConfigError for options that would be ignored.
    """

    def __init__(self, path: Path, options: Dataset, *, seed: int, wording: Wording) -> None:
        found = _Found()
        index = Reading(path, FORM, options.on_bad_row == "skip").rows(found.take)
        if wording.bank.ids is not None:
            raise DataError(without_ids(path, found.first, "text"))
        self._index = index
        self._outputs = output_tokens(index, options, seed)
        self.notes: tuple[str, ...] = (*index.notes, *length_notes(index, options), as_they_stand(path, ["texts"]))
        self.says = frozenset({"texts", "batches"} if found.several else {"texts"})

    @staticmethod
    def claims(row: Mapping[str, Any]) -> bool:
        """Whether a file with this first row looks like one of texts."""
        return any(row.get(name) is not None for name in _TEXTS)

    def __len__(self) -> int:
        return len(self._outputs)

    def turn(self, row: int, *, warmup: bool) -> Turn:  # noqa: ARG002 - a warm-up has no other words than the file's
        """The texts of a row, read now."""
        said = _decode(self._index.lines.read(row))
        texts = (said.text,) if said.text is not None else tuple(said.texts or ())
        output = int(self._outputs[row]) or None
        return Turn(texts, output_tokens=output, role=said.role or "user", model=said.model, extra=said.extra or {})

    def lengths(self, rows: NDArray[np.int64]) -> Lengths:
        """What the rows ask for; the lengths of their texts are not known."""
        return Lengths(np.zeros(len(rows), dtype=np.int32), self._outputs[rows])

    def due_ns(self) -> NDArray[np.int64] | None:
        """The rows' times from the file's own zero, ascending; None if they have none."""
        return self._index.due_ns


@dataclass(slots=True)
class _Found:
    """What is remembered of the rows while they are read: the first line, and whether any has several texts."""

    first: int = 0
    several: bool = False

    def take(self, line: Line, row: _Row) -> None:
        """Look at a row."""
        self.first = self.first or line.number
        self.several = self.several or (row.texts is not None and len(row.texts) > 1)
