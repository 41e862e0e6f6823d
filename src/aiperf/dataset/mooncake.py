"""Plays a Mooncake trace: recorded times and lengths, and blocks of text that are equal where their hash ids are.

Format: the traces published with Qin et al., "Mooncake: A KVCache-centric Disaggregated Architecture for LLM Serving" (2024),
and rows that bring their own words: a text, messages, or a whole payload.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import Picks, Wording
from aiperf.dataset.fields import as_they_stand, without_ids
from aiperf.dataset.mooncake_rows import BLOCK, DRAWN, KINDS, MESSAGES, PAYLOAD, TEXT, Rows, read
from aiperf.dataset.reading import length_notes, output_tokens
from aiperf.errors import ConfigError, DataError
from aiperf.workload import Lengths, Turn


class _Said(msgspec.Struct, gc=False):
    """What stays in the file until a row is rendered."""

    text_input: str | None = None
    messages: list[Any] | None = None
    payload: msgspec.Raw = msgspec.Raw()
    tools: list[Any] | None = None
    extra: dict[str, Any] | None = None


class _Blocks(msgspec.Struct, gc=False):
    hash_ids: list[int] | None = None


_decode = msgspec.json.Decoder(_Said).decode
_decode_blocks = msgspec.json.Decoder(_Blocks).decode


class MooncakeTrace:
    """A Loader of a trace's rows. Tokens that no hash id covers are the row's own; texts of the file are sent as they stand.

    Rows without `output_length` ask for `options.output_tokens`. Raises DataError for rows that cannot be used, ConfigError
    for options that would be ignored.
    """

    def __init__(self, path: Path, options: Dataset, *, seed: int, wording: Wording) -> None:
        rows = read(path, skip=options.on_bad_row == "skip")
        _check(path, rows, options, wording)
        self._rows, self._wording = rows, wording
        self._outputs = np.where(rows.kinds == PAYLOAD, 0, output_tokens(rows.index, options, seed)).astype(np.int32)
        self._run, self._warmup = (chance.child_seed(seed, f"{part}:{wording.salt}") for part in ("text", "warmup"))
        self._run_blocks, self._warmup_blocks = (chance.child_seed(root, "block") for root in (self._run, self._warmup))
        self.notes: tuple[str, ...] = (*rows.index.notes, *length_notes(rows.index, options), *_notes(path, rows, options))
        self.says = _says(rows, wording)

    @staticmethod
    def claims(row: Mapping[str, Any]) -> bool:
        """Whether a file with this first row looks like a trace."""
        return any(row.get(name) is not None for name in KINDS)

    def __len__(self) -> int:
        return len(self._rows.kinds)

    def turn(self, row: int, *, warmup: bool) -> Turn:
        """What a row says, rendered now."""
        kind, output = self._rows.kinds[row], int(self._outputs[row]) or None
        if kind == DRAWN and not self._rows.more[row]:
            return self._drawn(row, output, warmup=warmup)
        said = _decode(self._rows.index.lines.read(row))
        if kind == PAYLOAD:
            return Turn(payload=bytes(said.payload))
        extra = said.extra or {}
        if kind == DRAWN:
            return self._drawn(row, output, warmup=warmup, tools=said.tools, extra=extra)
        texts = (said.text_input,) if said.text_input is not None else ()
        return Turn(texts, output_tokens=output, messages=said.messages, tools=said.tools, extra=extra)

    def lengths(self, rows: NDArray[np.int64]) -> Lengths:
        """What the rows ask for."""
        return Lengths(self._rows.input_tokens[rows], self._outputs[rows])

    def due_ns(self) -> NDArray[np.int64] | None:
        """The rows' times from the file's own zero, ascending; None if they have none."""
        return self._rows.index.due_ns

    def _drawn(self, row: int, output: int | None, *, warmup: bool, **more: Any) -> Turn:
        size, bank = int(self._rows.input_tokens[row]), self._wording.bank
        picks = self._picks(row, self._wording.size(size), warmup=warmup)
        if bank.ids is not None:
            return Turn((), size, output, token_ids=(bank.encoded(picks),), **more)
        return Turn((bank.text(picks),), size, output, **more)

    def _picks(self, row: int, size: int, *, warmup: bool) -> Picks:
        """The words of a row: those of its blocks, then its own; a chat template takes its tokens from the end."""
        bank, blocks = self._wording.bank, int(self._rows.blocks[row])
        root, key = (self._warmup, self._warmup_blocks) if warmup else (self._run, self._run_blocks)
        if not blocks:
            return bank.words(chance.child_seed(root, f"row:{row}"), size)
        shared = bank.blocks(chance.draws_at(key, self._ids(row, blocks)), BLOCK)[:size]
        if len(shared) == size:
            return shared
        return np.concatenate((shared, bank.words(chance.child_seed(root, f"row:{row}"), size - len(shared))))

    def _ids(self, row: int, blocks: int) -> NDArray[np.uint64]:
        if self._rows.hash_ids is None:
            return np.array(_decode_blocks(self._rows.index.lines.read(row)).hash_ids, dtype=np.uint64)
        first = int(self._rows.first[row])
        return self._rows.hash_ids[first : first + blocks]


def _check(path: Path, rows: Rows, options: Dataset, wording: Wording) -> None:
    if options.output_tokens.exact and (line := rows.kind_lines.get(PAYLOAD)):
        raise ConfigError(f"dataset.output_tokens.exact cannot be kept, since the payload of {path}:{line} is sent untouched")
    given = [kind for kind in (TEXT, MESSAGES) if kind in rows.kind_lines]
    if wording.bank.ids is not None and given:
        kind = min(given, key=lambda kind: rows.kind_lines[kind])
        raise DataError(without_ids(path, rows.kind_lines[kind], KINDS[kind]))


def _notes(path: Path, rows: Rows, options: Dataset) -> list[str]:
    given = [KINDS[kind] for kind in (TEXT, MESSAGES, PAYLOAD) if kind in rows.kind_lines]
    notes = [as_they_stand(path, given)] if given else []
    if options.output_tokens.mean is not None and PAYLOAD in rows.kind_lines:
        notes.append(f"{path}: dataset.output_tokens.mean is not used for payloads, which are sent untouched")
    return notes


def _says(rows: Rows, wording: Wording) -> frozenset[str]:
    drawn = "texts" if wording.bank.ids is None else "token_ids"
    kinds = {DRAWN: drawn, TEXT: "texts", MESSAGES: "messages", PAYLOAD: "payload"}
    return frozenset({kinds[kind] for kind in rows.kind_lines} | ({"tools"} if rows.tools else set()))
