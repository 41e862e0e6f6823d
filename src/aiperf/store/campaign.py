"""A campaign's folder: made exclusively, written whole or not at all, never overwritten."""

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiperf import clock
from aiperf.errors import ConfigError, MeasureError
from aiperf.finite import scrub_non_finite
from aiperf.store.whole import whole

_TRIAL = "trials/0001"


def run_name() -> str:
    """Six random hex digits: what tells this run from all others."""
    return secrets.token_hex(3)


@dataclass(frozen=True, slots=True)
class Campaign:
    """The folder of one run, `outputs/<name>/<UTC time>-<6 hex>/`, and the places in it."""

    folder: Path

    @property
    def trial(self) -> Path:
        """The folder of the trial."""
        return self.folder / _TRIAL

    @property
    def spool(self) -> Path:
        """The raw stamps and bytes."""
        return self.trial / "spool"

    @property
    def records(self) -> Path:
        """A row a request."""
        return self.trial / "records"

    @property
    def plan(self) -> Path:
        """What was planned."""
        return self.trial / "plan.parquet"

    @property
    def log(self) -> Path:
        """What went on, in lines; several processes append to it."""
        return self.trial / "run.log"

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file whole, in a folder that is made for it. Raises MeasureError where the disk refuses."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise MeasureError(f"{path}: cannot be written ({exc.strerror})") from exc
        with whole(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)

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
