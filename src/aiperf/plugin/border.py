"""The border to a stranger's code: whatever is raised behind it becomes one error that names plugin, package, file and line."""

import io
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

from aiperf.errors import AiperfError
from aiperf.plugin.types import PluginAttributeError, PluginEntry, PluginError

_log = getLogger(__name__)


class Guarded:
    """An object of a plugin from outside; its methods raise AiperfErrors and nothing else."""

    __slots__ = ("_entry", "_thing")

    def __init__(self, entry: PluginEntry, thing: Any) -> None:
        self._entry, self._thing = entry, thing

    def __reduce__(self) -> tuple[Any, ...]:
        with border(self._entry):
            return _unpacked, (self._entry, pickle.dumps(self._thing, protocol=5))

    def __getattr__(self, name: str) -> Any:
        with border(self._entry):
            try:
                found = getattr(self._thing, name)
            except AttributeError as exc:  # and nothing else: who asks whether there is one must be able to
                raise PluginAttributeError(str(failure(self._entry, exc))) from exc
            return partial(_called, self._entry, name, found) if callable(found) else _looked_at(self._entry, name, found)

    def __len__(self) -> int:
        return int(_called(self._entry, "len", len, self._thing))

    def __bool__(self) -> bool:
        return True


def _unpacked(entry: PluginEntry, packed: bytes) -> Guarded:
    with border(entry):
        return Guarded(entry, pickle.loads(packed))  # noqa: S301 - a process of ours wrote it


def _called(entry: PluginEntry, name: str, what: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with border(entry):
        return _looked_at(entry, name, what(*args, **kwargs), *args)


def _looked_at(entry: PluginEntry, name: str, found: Any, *asked: Any) -> Any:
    from aiperf.plugin.returned import looked_at  # noqa: PLC0415 - a launch without plugins from outside needs none of it

    try:
        return looked_at(name, found, asked)
    except (TypeError, ValueError, AttributeError) as exc:
        raise PluginError(f"{entry.label}: {name} returned {told(exc)} ({entry.class_path})") from exc


@contextmanager
def border(entry: PluginEntry) -> Iterator[None]:
    """Raises PluginError for whatever is raised within but AiperfErrors, even an end of the process; what is printed there is logged."""
    try:
        with nullcontext() if entry.is_builtin else redirect_stdout(_Printed(entry)):
            yield
    except AiperfError:
        raise
    except BaseException as exc:
        if isinstance(exc, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            raise  # of the user; a worker does not hear Ctrl-C, so that there it is the plugin's own
        raise failure(entry, exc) from exc


class _Printed(io.TextIOBase):
    """Standard output as a plugin sees it, its `buffer` too."""

    def __init__(self, entry: PluginEntry) -> None:
        self._entry, self.buffer = entry, self

    def fileno(self) -> int:
        """Standard error's, for programs that it starts."""
        return 2

    def write(self, text: str | bytes) -> int:
        """Log the lines."""
        for line in (text if isinstance(text, str) else bytes(text).decode(errors="replace")).splitlines():
            if line.strip():
                _log.info("%s printed: %s", self._entry.label, line[:500])
        return len(text)


def failure(entry: PluginEntry, exc: BaseException) -> PluginError:
    """What went wrong in a plugin, in one line."""
    said = told(exc)[:500]
    return PluginError(f"{entry.label}: {type(exc).__name__}{f': {said}' if said else ''} ({place(entry, exc)})")


def told(exc: BaseException) -> str:
    """What an error says, in one line that any file and terminal takes; nothing where it cannot even say that."""
    try:
        said = " ".join(str(exc).split())
    except Exception:  # noqa: BLE001 - a stranger's __str__
        return ""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in said)


def place(entry: PluginEntry, exc: BaseException) -> str:
    """The file, from its package on, and the line of the plugin's own code at which something was raised."""
    top = entry.class_path.replace(":", ".").partition(".")[0]
    frames = [
        (str(frame.f_globals.get("__name__", "")).partition(".")[0], frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(exc.__traceback__)
    ]
    theirs = [found for found in frames if found[0] not in ("aiperf", "importlib")]
    own = [found for found in theirs if found[0] == top] or theirs
    if isinstance(exc, SyntaxError) and exc.filename:
        own = [(top, exc.filename, exc.lineno or 0)]
    if not own:
        return entry.class_path
    parts, line = Path(own[-1][1]).parts, own[-1][2]
    start = parts.index(top) if top in parts else max(len(parts) - 2, 0)
    return f"{'/'.join(parts[start:])}:{line}"
