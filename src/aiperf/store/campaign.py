"""A campaign's folder: made exclusively, written whole or not at all, never overwritten."""

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiperf import clock
from aiperf.errors import ConfigError
from aiperf.finite import scrub_non_finite
from aiperf.store.whole import unfinished

_TRIAL = "trials/0001"


def run_name() -> str:
    """Six random hex digits: what tells this run from all others."""
    return secrets.token_hex(3)


class Campaign:
    """The folder of one run, `outputs/<name>/<UTC time>-<6 hex>/`, and the places in it.

    Of its `trial`: `spool` holds the raw stamps and bytes, `records` a row a request, `plan` what was planned, and `log` lines of
    what went on, which several processes append.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.trial = folder, folder / _TRIAL
        self.spool, self.records = self.trial / "spool", self.trial / "records"
        self.plan, self.log = self.trial / "plan.parquet", self.trial / "run.log"

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file whole, in a folder that is made for it. Raises MeasureError where the disk refuses."""
        with unfinished(self.folder / name) as part:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content.encode() if isinstance(content, str) else content)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write numbers and words; what is no number becomes null."""
        self.write(name, json.dumps(scrub_non_finite(content), indent=2, ensure_ascii=False, default=str) + "\n")

    def remove(self) -> None:
        """Take back the folder, before anything was measured."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def drop_spool(self) -> None:
        """Remove the raw bytes, whole."""
        shutil.rmtree(self.spool)

    def drop_records(self) -> None:
        """Remove the records, whole."""
        if self.records.exists():
            shutil.rmtree(self.records)


def create(output: str, name: str, run: str) -> Campaign:
    """Make the folder. Raises ConfigError where it cannot be made."""
    folder = Path(output).expanduser() / name / f"{clock.utc():%Y%m%dT%H%M%SZ}-{run}"
    try:
        folder.mkdir(parents=True, exist_ok=False)
        (folder / _TRIAL / "spool").mkdir(parents=True)
    except OSError as exc:
        raise ConfigError(f"output.dir: {folder} cannot be made ({exc.strerror}); give a folder that can be written") from exc
    return Campaign(folder)
