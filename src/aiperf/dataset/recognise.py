"""Which format a file is in, by its first row."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from aiperf.dataset.fields import UNREADABLE, cut, no_json
from aiperf.dataset.lines import scan
from aiperf.errors import ConfigError, DataError
from aiperf.plugin import plugins
from aiperf.plugin.border import border
from aiperf.plugin.types import PluginEntry

_CATEGORY = "custom_dataset_loader"


def format_of(path: Path) -> str:
    """The name of the one loader that claims the file's first row. Raises ConfigError if none does, or several do."""
    row = _first_row(path)
    entries = list(plugins.iter_entries(_CATEGORY))
    claimed = [entry.name for entry in entries if _claims(entry, row)]
    if len(claimed) == 1:
        return claimed[0]
    found = f"could be {' or '.join(claimed)}" if claimed else "is of no format that is known"
    known = "".join(f"\n  {entry.name}: {entry.description}" for entry in entries)
    raise ConfigError(f"{path} {found}; its first row holds {cut(', '.join(row)) or 'nothing'}. Set dataset.format to one of{known}")


def _claims(entry: PluginEntry, row: Mapping[str, Any]) -> bool:
    with border(entry):
        return bool(plugins.get_class(entry.category, entry.class_path).claims(row))


def _first_row(path: Path) -> Mapping[str, Any]:
    with closing(scan(path)) as lines:
        line = next(lines, None)
    if line is None:
        raise DataError(f"{path}: holds no rows; expected a JSON object a line")
    try:
        row = msgspec.json.decode(line.text)
    except UNREADABLE as exc:
        raise DataError(f"{path}:{line.number}: {no_json(line.text, exc)}") from exc
    if not isinstance(row, dict):
        raise DataError(f"{path}:{line.number}: is no row; expected a JSON object a line")
    return row
