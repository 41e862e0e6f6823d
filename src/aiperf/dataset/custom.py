"""Conversations from a file: its rows, as a format says them, in the order that is asked for.

Texts are drawn to their lengths, in blocks that are equal where their hash ids are, or they are the file's own words.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiperf import chance
from aiperf.config.dataset import Dataset, InputTokens
from aiperf.dataset.bank import Picks, Wording
from aiperf.dataset.rows import BLOCK, KINDS, Form, Row, Rows, cut, parsed, scan
from aiperf.dataset.samplers import OneByOne, Sizes
from aiperf.errors import ConfigError, DataError
from aiperf.paths import data_file
from aiperf.plugin import plugins
from aiperf.plugin.border import border
from aiperf.workload import Lengths, Turn

_DRAWN, _PAYLOAD = KINDS.index("input_length"), KINDS.index("payload")

_decode = msgspec.json.Decoder(Row).decode
_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class CustomDatasetComposer:
    """A Source of a file's rows, of the first `options.entries` if that is set; without end, as the sampler has it.

    Times belong to rows in the file's order: there are none with another sampling. Raises ConfigError for the file and for
    options that would be ignored, DataError for a row that cannot be used.
    """

    def __init__(self, options: Dataset, *, seed: int, wording: Wording) -> None:
        given = {"input_tokens": options.input_tokens != InputTokens(), "batch_size": options.batch_size > 1}
        if unused := [name for name in given if given[name]]:
            whose = f"is for synthetic conversations; the rows of {options.path} have texts of their own"
            raise ConfigError([f"dataset.{name} {whose}" for name in unused])
        path = data_file(options.path or "", "dataset.path")
        form, own = options.format or format_of(path), options.options
        self._loader = loader = plugins.make("custom_dataset_loader", form, path, options, seed=seed, wording=wording, options=own)
        self._count = min(len(loader), options.entries or len(loader))
        self._sampler = plugins.make("dataset_sampler", options.sampling, self._count, seed=seed, options=own)
        self._one = OneByOne(self.rows)
        self.says, self.notes, self._due_ns = loader.says, tuple(loader.notes), loader.due_ns()
        if options.sampling != "sequential" and self._due_ns is not None:
            note = f"{path}: its times are not used, since dataset.sampling={options.sampling} takes rows out of their order"
            self.notes, self._due_ns = (*self.notes, note), None

    def turn(self, conversation: int, *, warmup: bool) -> Turn:
        """The row that this conversation is, rendered now."""
        return self._loader.turn(self._one.at(conversation), warmup=warmup)

    def lengths(self, conversations: NDArray[np.int64]) -> Lengths:
        """What their rows ask for."""
        return self._loader.lengths(self.rows(conversations))

    def rows(self, conversations: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows that they are. Raises DataError where a sampler names one that there is not."""
        rows = self._sampler.rows(conversations)
        if len(rows) and rows.max() >= self._count:
            raise DataError(f"dataset.sampling names row {rows.max():,}, and there are {self._count:,}, from 0 on")
        return rows

    def due_ns(self) -> NDArray[np.int64] | None:
        """The file's times."""
        return None if self._due_ns is None else self._due_ns[: self._count]


def format_of(path: Path) -> str:
    """The name of the one loader that claims the file's first row. Raises ConfigError if none does, or several do."""
    row, entries, claimed = _first_row(path), list(plugins.iter_entries("custom_dataset_loader")), []
    for entry in entries:
        with border(entry):
            claimed += [entry.name] * bool(plugins.get_class(entry.category, entry.class_path).claims(row))
    if len(claimed) == 1:
        return claimed[0]
    found = f"could be {' or '.join(claimed)}" if claimed else "is of no format that is known"
    known = "".join(f"\n  {entry.name}: {entry.description}" for entry in entries)
    raise ConfigError(f"{path} {found}; its first row holds {cut(', '.join(row)) or 'nothing'}. Set dataset.format to one of{known}")


def _first_row(path: Path) -> Mapping[str, Any]:
    with closing(scan(path)) as lines:
        line = next(lines, None)
    if line is None:
        raise DataError(f"{path}: holds no rows; expected a JSON object a line")
    try:
        return parsed(line.text)
    except DataError as exc:
        raise DataError(f"{path}:{line.number}: {exc}") from exc


class FileRows:
    """A Loader of one form. Tokens that no hash id covers are the row's own; words of the file are sent as they stand.

    Rows without `output_length` ask for `options.output_tokens`. Raises DataError for rows that cannot be used, ConfigError
    for options that would be ignored.
    """

    form: ClassVar[Form]

    def __init__(self, path: Path, options: Dataset, *, seed: int, wording: Wording) -> None:
        rows = Rows(path, self.form, skip=options.on_bad_row == "skip")
        _check(path, rows, options, wording)
        self._rows, self._wording = rows, wording
        asked, outputs = options.output_tokens, rows.output
        if asked.mean is not None:
            sizes = Sizes(asked.mean, asked.stddev, chance.child_seed(seed, "output_tokens"))
            outputs = np.where(outputs > 0, outputs, sizes.of(np.arange(len(outputs))))
        self._outputs = np.where(rows.kind == _PAYLOAD, 0, outputs).astype(np.int32)
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
        line = self._rows.lines.read(row) if kind != _DRAWN or self._rows.more[row] else b"{}"
        if kind == _PAYLOAD:
            return Turn(payload=bytes(_raw(line)["payload"]))
        said: Any = _decode(line)
        more: dict[str, Any] = {"tools": said.tools, "extra": said.extra or {}, "output_tokens": output}
        if kind != _DRAWN:
            texts = tuple(said.texts or [text for text in (said.text, said.text_input) if text])
            return Turn(texts, role=said.role or "user", model=said.model, messages=said.messages, **more)
        size, bank = int(self._rows.input[row]), self._wording.bank
        picks = self._picks(row, self._wording.size(size), said.hash_ids or (), *self._keys[warmup])
        return Turn((bank.text(picks),), size, **more) if bank.ids is None else Turn((), size, token_ids=(bank.encoded(picks),), **more)

    def lengths(self, rows: NDArray[np.int64]) -> Lengths:
        """What the rows ask for; the lengths of their own words are not known."""
        return Lengths(self._rows.input[rows], self._outputs[rows])

    def due_ns(self) -> NDArray[np.int64] | None:
        """The rows' times from the file's own zero, ascending; None if they have none."""
        return self._rows.due_ns

    def _picks(self, row: int, size: int, hash_ids: Sequence[int], root: int, key: int) -> Picks:
        """The words of a row: those of its blocks, then its own; a chat template takes its tokens from the end."""
        bank = self._wording.bank
        if not hash_ids:
            return bank.words(chance.child_seed(root, f"row:{row}"), size)
        shared = bank.blocks(chance.draws_at(key, np.array(hash_ids, np.uint64)), BLOCK).ravel()[:size]
        if len(shared) == size:
            return shared
        return np.concatenate((shared, bank.words(chance.child_seed(root, f"row:{row}"), size - len(shared))))


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
        raise ConfigError(f"dataset.output_tokens.exact needs dataset.output_tokens.mean, since {path}:{unasked} has no output_length")
    given = [(line, name) for name, line in rows.firsts.items() if name in KINDS and name not in ("input_length", "payload")]
    if wording.bank.ids is not None and given:
        number, name = min(given)
        reason = "has no token ids, which endpoint.prompt=token_ids asks for; expected input_length, whose text is drawn"
        raise DataError(f"{path}:{number}: {name} {reason}")


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
