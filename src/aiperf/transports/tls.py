"""TLS on sockets of our own, so that the stamps stay the kernel's: those of the segments that carried a record."""

import ssl
import struct
from contextlib import suppress

from aiperf.errors import ConfigError

_HEADER = struct.Struct(">BHH")
_CHUNK = 65536


def context(ca_path: str | None) -> ssl.SSLContext:
    """What to trust: the system's certificates, or those in a PEM file. Raises ConfigError for a file that is none."""
    try:
        made = ssl.create_default_context(cafile=ca_path)
    except OSError as exc:
        raise ConfigError(f"endpoint.ca_path: {ca_path} holds no certificates ({exc})") from exc
    made.set_alpn_protocols(["http/1.1"])
    return made


def record_end(data: bytes) -> int:
    """The end of the first TLS record in `data`; all of it, if it is not whole."""
    if len(data) < _HEADER.size:
        return len(data)
    return min(len(data), _HEADER.size + int(_HEADER.unpack_from(data)[2]))


class Cipher:
    """One connection's TLS, without a socket. `shut` says that the other side has ended it."""

    def __init__(self, trust: ssl.SSLContext, host: str) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = trust.wrap_bio(self._in, self._out, server_hostname=host)
        self.done = self.shut = False

    def shake(self, received: bytes = b"") -> bytes:
        """Go on with the handshake; what to send. `done` says that it is over. Raises ssl.SSLError."""
        self._in.write(received)
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            self.done = True
        return self._out.read()

    def seal(self, plain: bytes) -> bytes:
        """The records that carry `plain`."""
        self._tls.write(plain)
        return self._out.read()

    def open(self, received: bytes) -> bytes:
        """What the received bytes say, as far as their records are whole. Raises ssl.SSLError."""
        self._in.write(received)
        plain = []
        try:
            while piece := self._tls.read(_CHUNK):
                plain.append(piece)
            self.shut = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.shut = True
        return b"".join(plain)
