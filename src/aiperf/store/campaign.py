"""A campaign's folder: made exclusively, written whole or not at all, never overwritten, and known by its SHA256SUMS."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiperf import clock
from aiperf.errors import ConfigError
from aiperf.finite import scrub_non_finite
from aiperf.store.whole import unfinished

_TRIALS = "trials"
_TRIAL = f"{_TRIALS}/0001"
RECEIPT = "receipt.json"
RECEIPT_VERSION = "1.0"
TABLES = "sweep.duckdb"
SUMS = "SHA256SUMS"
"""As `sha256sum -c` reads it, of all but the raw bytes, whose frames have checks, the log, and the tables that each commit writes anew."""
_LEFT_OUT = (SUMS, TABLES, "run.log")
_ORIGINALS = (RECEIPT, "experiment.yaml", "load.json", "plan.parquet")


class NewerSchemaError(ConfigError):
    """A file that another version of aiperf wrote, which this one may misread."""


def check_version(path: Path, version: object, ours: str) -> None:
    """See that a file's layout is one that this version reads: the same first number. Raises NewerSchemaError."""
    if str(version).partition(".")[0] != ours.partition(".")[0]:
        raise NewerSchemaError(f"{path}: its schema_version is {version}, this version of aiperf reads {ours}; use a later one")


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

    @property
    def has_records(self) -> bool:
        """Whether there are any: a level may drop them, and a run that was killed has made none."""
        return any(self.records.glob("*.parquet"))

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file whole, in a folder that is made for it. Raises MeasureError where the disk refuses."""
        with unfinished(self.folder / name) as part:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content.encode() if isinstance(content, str) else content)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write numbers and words; what is no number becomes null."""
        self.write(name, json.dumps(scrub_non_finite(content), indent=2, ensure_ascii=False, default=str) + "\n")

    def read(self, name: str) -> str:
        """A file's text. Raises ConfigError where it cannot be read."""
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except (OSError, ValueError) as exc:
            raise ConfigError(f"{self.folder / name}: cannot be read ({exc})") from exc

    def receipt(self) -> dict[str, Any]:
        """What the run itself says of it, empty if it could not. Raises ConfigError for one that cannot be read, or is newer."""
        path = self.folder / RECEIPT
        if not path.exists():
            return {}
        try:
            found = dict(json.loads(self.read(RECEIPT)))
        except (ValueError, TypeError) as exc:
            raise ConfigError(f"{path}: is no receipt that can be read ({type(exc).__name__}: {exc})") from exc
        check_version(path, found.get("schema_version", RECEIPT_VERSION), RECEIPT_VERSION)
        return found

    def write_sums(self) -> None:
        """Write the sums of what is there; those of originals, also lost ones, stay. Raises MeasureError where the disk refuses."""
        before = self._sums() if (self.folder / SUMS).exists() else {}
        sums = {path.relative_to(self.folder).as_posix(): sha256(path) for path in sorted(self.folder.rglob("*")) if _is_summed(path)}
        sums |= {name: of for name, of in before.items() if Path(name).name in _ORIGINALS or "server_metrics" in name}
        self.write(SUMS, "".join(f"{of}  {name}\n" for name, of in sums.items()))

    def differing(self, only: str = "") -> tuple[int, list[str]]:
        """How many files (or the `only` one) have a sum, and a line each that is not what it was. Raises ConfigError without sums."""
        sums = {name: of for name, of in self._sums().items() if only in ("", name)}
        there = {name: self.folder / name for name in sums}
        lost = [f"{name} is missing" for name, path in there.items() if not path.is_file()]
        return len(sums), lost + [f"{name} was changed" for name, path in there.items() if path.is_file() and sha256(path) != sums[name]]

    def _sums(self) -> dict[str, str]:
        path = self.folder / SUMS
        try:
            pairs = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
            return {name: of for of, name in pairs or [[]]}
        except FileNotFoundError as exc:
            raise ConfigError(f"{path} is not there: the run did not come to its end, or an earlier version of aiperf made it") from exc
        except (OSError, ValueError) as exc:
            raise ConfigError(f"{path}: is no list of sums ({exc}); remove it, and --from report makes it anew") from exc

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep all others from writing here, until this process ends at the latest. Raises ConfigError where another one does."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            _lock(folder, self.folder)
            yield
        finally:
            os.close(folder)

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


def latest(given: Path, verb: str) -> Campaign:
    """The campaign that a folder is, whose trial it is, or the latest that it holds. Raises ConfigError for other folders."""
    if not given.is_dir():
        raise ConfigError(f"{verb}: {given.absolute()} is no folder; give a campaign's, as in outputs/NAME/20260102T030405Z-abc123")
    if (given / _TRIALS).is_dir():
        return Campaign(given)
    if given.parent.name == _TRIALS:
        return Campaign(given.parents[1])
    if inner := sorted(given.glob(f"*/{_TRIALS}")):
        return Campaign(inner[-1].parent)
    names = sorted({found.parents[1].name for found in given.glob(f"*/*/{_TRIALS}")})
    hint = f"; it holds those of {', '.join(names)}: name one" if names else ""
    raise ConfigError(f"{verb}: {given.absolute()} is no campaign and holds none{hint}")


def sha256(path: Path) -> str:
    """A file's sum."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_summed(path: Path) -> bool:
    return path.is_file() and path.name not in _LEFT_OUT and path.suffix not in (".part", ".spool")


def _lock(fd: int, folder: Path) -> None:
    import fcntl  # noqa: PLC0415 - not on Windows, and needed once a run

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise ConfigError(f"{folder}: another process is at work here, a run that has not ended or a report; wait for it") from exc
    except OSError:  # a file system that knows no locks
        return
