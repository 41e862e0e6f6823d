"""A JSON line a request with the simulator's own stamps."""

from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from aiperf.errors import ConfigError


class RequestLog:
    """Buffers lines until `flush`. Without a path it drops them. Raises ConfigError if the file cannot be written."""

    def __init__(self, path: str | None) -> None:
        self._rows: list[dict[str, Any]] = []
        self._file: BinaryIO | None = None
        if path is None:
            return
        try:
            self._file = Path(path).expanduser().open("wb")
        except OSError as exc:
            raise ConfigError(f"endpoint.simulator.log: {path} cannot be written: {exc.strerror}") from exc

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row for the next flush."""
        if self._file is not None:
            self._rows.append(row)

    def flush(self) -> None:
        """Write what has gathered."""
        if self._file is not None and self._rows:
            self._file.write(msgspec.json.Encoder().encode_lines(self._rows))
            self._file.flush()
            self._rows.clear()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None
