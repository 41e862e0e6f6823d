"""Lines between a parent and its workers: pickled messages with their length, on a socket pair that never blocks."""

import contextlib
import pickle
import select
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("<I")
_SIZE = 1 << 16
_MOST_PENDING = 1 << 22


class SocketChannel:
    """One end of a line. `closed` once the other end is gone and all that it had said has been read."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock, self._in, self._out = sock, bytearray(), bytearray()
        self.closed = False

    def tell(self, message: object) -> None:
        """Send a message; what does not fit waits for the next call, and beyond 4 MiB is dropped."""
        packed = pickle.dumps(message, protocol=5)
        if len(self._out) < _MOST_PENDING:
            self._out += _LENGTH.pack(len(packed)) + packed
        self.flush()

    def told(self) -> list[Any]:
        """Messages that have come so far."""
        self.flush()
        self._receive()
        messages = []
        while len(self._in) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._in)[0]
            if len(self._in) < end:
                break
            messages.append(pickle.loads(memoryview(self._in)[_LENGTH.size : end]))  # noqa: S301 - our own process wrote it
            del self._in[:end]
        return messages

    def fileno(self) -> int:
        """Readable when something has come."""
        return self._sock.fileno()

    def close(self, wait_s: float = 10.0) -> None:
        """Send what is pending, for at most `wait_s`, and close."""
        while self._out and select.select([], [self._sock], [], wait_s)[1]:
            self.flush()
        self._out.clear()
        self._sock.close()
        self.closed = True

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while not self.closed:
                try:
                    data = self._sock.recv(_SIZE)
                except ConnectionError:
                    data = b""
                self._in += data
                self.closed = not data

    def flush(self) -> None:
        """Send as much as fits of what is pending."""
        if not self._out:
            return
        with contextlib.suppress(BlockingIOError):
            try:
                del self._out[: self._sock.send(self._out)]
            except ConnectionError:  # nobody hears us any more, but their last words may still wait to be read
                self._out.clear()
