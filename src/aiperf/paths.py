"""The one way to read a file that a user named."""

import contextlib
from importlib.resources import files
from pathlib import Path

from aiperf.errors import ConfigError

PACKAGED = "pkg://"


def _safe(value: object) -> Path | str:
    """The file, or why it cannot be read: no symlink in it or above it, a regular file."""
    if not isinstance(value, (str, Path)) or not str(value).strip():
        return "is no path"
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        return "names a home folder that does not exist"
    try:
        if any(part.is_symlink() for part in (path, *path.parents)):
            return "is a symbolic link, or lies below one"
        path = path.resolve(strict=True)
        return path if path.is_file() else "is no regular file"
    except (OSError, ValueError, RuntimeError):
        return "does not exist or cannot be read"


def safe_read_template_path(value: object) -> str | None:
    """The text of the file that `value` names; None where it is to be taken as a literal (no file, a link, no UTF-8)."""
    path = _safe(value)
    if isinstance(path, str):
        return None
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return None


def data_file(value: str, key: str) -> Path:
    """The data file behind a key of the experiment; `pkg://` names one that comes with aiperf. Raises ConfigError with key and reason."""
    if value.startswith(PACKAGED):
        path = Path(str(files("aiperf").joinpath("dataset", value.removeprefix(PACKAGED))))
        if not path.is_file():
            raise ConfigError(f"{key}: {value} does not come with aiperf")
        return path
    found = _safe(value)
    if isinstance(found, str):
        raise ConfigError(f"{key}: {value} {found} (looked in {Path.cwd()})")
    return found
