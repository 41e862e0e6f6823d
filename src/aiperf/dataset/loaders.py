"""Plays the rows of a file: texts drawn to their lengths, in blocks that are equal where their hash ids are, or words of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import Picks, Wording
from aiperf.dataset.fields import BLOCK, KINDS, Form
from aiperf.dataset.reading import Rows, read
from aiperf.dataset.samplers import Sizes
from aiperf.errors import ConfigError, DataError
from aiperf.workload import Lengths, Turn

_DRAWN, _PAYLOAD = KINDS.index("input_length"), KINDS.index("payload")


class _Said(msgspec.Struct, gc=False):
    """What stays in the file until a row is rendered."""

    hash_ids: list[int] = []
    text_input: str | None = None
    text: str | None = None
    texts: list[str] | None = None
    messages: list[Any] | None = None
    payload: msgspec.Raw = msgspec.Raw()
    tools: list[Any] | None = None
    role: str | None = None
    model: str | None = None
    extra: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Said).decode


class FileRows:
    """A Loader of one form. Tokens that no hash id covers are the row's own; words of the file are sent as they stand.

    Rows without `output_length` ask for `options.output_tokens`. Raises DataError for rows that cannot be used, ConfigError
    for options that would be ignored.
    """

    form: ClassVar[Form]

    def __init__(self, path: Path, options: Dataset, *, seed: int, wording: Wording) -> None:
        rows = read(path, self.form, skip=options.on_bad_row == "skip")
        _check(path, rows, options, wording)
        self._rows, self._wording = rows, wording
        self._outputs = np.where(rows.kind == _PAYLOAD, 0, _outputs(rows, options, seed)).astype(np.int32)
        roots = [chance.child_seed(seed, f"{part}:{wording.salt}") for part in ("text", "warmup")]
        self._keys = [(root, chance.child_seed(root, "block")) for root in roots]
        self.notes: tuple[str, ...] = (*rows.notes, *_notes(path, rows, options))
        names = {"input_length": "texts" if wording.bank.ids is None else "token_ids", "text_input": "texts", "text": "texts"}
        self.says = frozenset(names.get(name, name) for name in rows.firsts if name != "unasked")

    @classmethod
    def claims(cls, row: Mapping[str, Any]) -> bool:
        """Whether a file with this first row looks like one of this form."""
        return any(row.get(name) is not None for name in cls.form.kinds)

    def __len__(self) -> int:
        return len(self._rows.kind)

    def turn(self, row: int, *, warmup: bool) -> Turn:
        """What a row says, rendered now."""
        kind, output = self._rows.kind[row], int(self._outputs[row]) or None
        if kind == _DRAWN and not self._rows.more[row]:
            return self._drawn(row, output, warmup=warmup)
        said = _decode(self._rows.lines.read(row))
        if kind == _PAYLOAD:
            return Turn(payload=bytes(said.payload))
        more: dict[str, Any] = {"tools": said.tools, "extra": said.extra or {}}
        if kind == _DRAWN:
            return self._drawn(row, output, warmup=warmup, **more)
        text = said.text or said.text_input
        texts = (text,) if text else tuple(said.texts or ())
        return Turn(texts, output_tokens=output, role=said.role or "user", model=said.model, messages=said.messages, **more)

    def lengths(self, rows: NDArray[np.int64]) -> Lengths:
        """What the rows ask for; the lengths of their own words are not known."""
        return Lengths(self._rows.input[rows], self._outputs[rows])

    def due_ns(self) -> NDArray[np.int64] | None:
        """The rows' times from the file's own zero, ascending; None if they have none."""
        return self._rows.due_ns

    def _drawn(self, row: int, output: int | None, *, warmup: bool, **more: Any) -> Turn:
        size, bank = int(self._rows.input[row]), self._wording.bank
        picks = self._picks(row, self._wording.size(size), *self._keys[warmup])
        if bank.ids is not None:
            return Turn((), size, output, token_ids=(bank.encoded(picks),), **more)
        return Turn((bank.text(picks),), size, output, **more)

    def _picks(self, row: int, size: int, root: int, key: int) -> Picks:
        """The words of a row: those of its blocks, then its own; a chat template takes its tokens from the end."""
        bank, blocks = self._wording.bank, int(self._rows.blocks[row])
        ids = self._ids(row, blocks) if blocks else np.zeros(0, np.uint64)
        shared = bank.blocks(chance.draws_at(key, ids), BLOCK).ravel()[:size]
        if len(shared) == size:
            return shared
        return np.concatenate((shared, bank.words(chance.child_seed(root, f"row:{row}"), size - len(shared))))

    def _ids(self, row: int, blocks: int) -> NDArray[np.uint64]:
        if self._rows.hash_ids is None:
            return np.array(_decode(self._rows.lines.read(row)).hash_ids, dtype=np.uint64)
        first = int(self._rows.first[row])
        return self._rows.hash_ids[first : first + blocks]


class MooncakeTrace(FileRows):
    """Rows of input_length with hash_ids, a block of text an id, or of words of their own.

    Format: the traces published with Qin et al., "Mooncake: A KVCache-centric Disaggregated Architecture for LLM Serving" (2024).
    """

    form = Form(("input_length", "hash_ids", "text_input", "messages", "payload", "tools"))


class SingleTurn(FileRows):
    """Rows of a text, or of several texts, which are a batch."""

    form = Form(("text", "texts", "role", "model"))


def _check(path: Path, rows: Rows, options: Dataset, wording: Wording) -> None:
    asked, line = options.output_tokens, rows.firsts.get
    if asked.exact and (payload := line("payload")):
        raise ConfigError(f"dataset.output_tokens.exact cannot be kept, since the payload of {path}:{payload} is sent untouched")
    if asked.exact and asked.mean is None and (unasked := line("unasked")):
        where = f"{path}:{unasked} has no output_length"
        raise ConfigError(f"dataset.output_tokens.exact needs dataset.output_tokens.mean, since {where}")
    given = [(line, name) for name, line in rows.firsts.items() if name in KINDS and name not in ("input_length", "payload")]
    if wording.bank.ids is not None and given:
        number, name = min(given)
        reason = "has no token ids, which endpoint.prompt=token_ids asks for; expected input_length, whose text is drawn"
        raise DataError(f"{path}:{number}: {name} {reason}")


def _outputs(rows: Rows, options: Dataset, seed: int) -> NDArray[np.int32]:
    """What each row asks for; 0 asks for nothing."""
    asked = options.output_tokens
    if asked.mean is None:
        return rows.output
    sizes = Sizes(asked.mean, asked.stddev, chance.child_seed(seed, "output_tokens"))
    return np.where(rows.output > 0, rows.output, sizes.of(np.arange(len(rows.output))))


def _notes(path: Path, rows: Rows, options: Dataset) -> list[str]:
    notes, has_mean = [], options.output_tokens.mean is not None
    if has_mean and "unasked" not in rows.firsts:
        notes.append(f"{path}: dataset.output_tokens.mean is not used, since every row has its output_length")
    if given := [name for name in KINDS[1:] if name in rows.firsts]:
        shown = ", ".join(dict.fromkeys("texts" if name == "text" else name for name in given))
        notes.append(f"{path}: {shown} are sent as they stand, so a server's cache of a warm-up or of an earlier run may answer")
    if has_mean and "payload" in rows.firsts:
        notes.append(f"{path}: dataset.output_tokens.mean is not used for payloads, which are sent untouched")
    return notes
