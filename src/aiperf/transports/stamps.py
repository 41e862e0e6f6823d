"""The kernel's own arrival stamps, and what else it knows of a socket (Linux; elsewhere every function says that it knows nothing).

A read's stamp is that of the last segment it touched, however late the reader is.
"""

import socket
import struct
import sys

from aiperf import clock

LINUX = sys.platform == "linux"
ROOM = socket.CMSG_SPACE(16) if hasattr(socket, "CMSG_SPACE") else 0
"""Room for one stamp beside the data of a read."""

_SO_TIMESTAMPNS = 35
_INFO_SIZE = 160
_timespec = struct.Struct("qq").unpack_from
_segments = struct.Struct("I").unpack_from
_acked = struct.Struct("Q").unpack_from
_DATA_SEGS_IN, _BYTES_ACKED = 152, 120  # places in struct tcp_info


def switch_on(sock: socket.socket) -> None:
    """Have the kernel stamp what arrives here."""
    if LINUX:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def keeper() -> socket.socket:
    """A stamped socket to keep open: the first one makes the kernel stamp, some milliseconds later."""
    sock = socket.socket()
    switch_on(sock)
    return sock


def stamp(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """CLOCK_REALTIME nanoseconds of a read; None where the kernel gave none."""
    if not ancillary:
        return None
    seconds, nanos = _timespec(ancillary[0][2])
    return int(seconds) * clock.SECOND + int(nanos)


def segments_in(sock: socket.socket) -> int:
    """Segments with data that this socket has received; 0 where the kernel does not say."""
    if not LINUX:
        return 0
    return int(_segments(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE), _DATA_SEGS_IN)[0])


def bytes_acked(sock: socket.socket) -> int | None:
    """Bytes of ours that the other side has acknowledged, the opening one included; None where the kernel does not say."""
    if not LINUX:
        return None
    return int(_acked(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE), _BYTES_ACKED)[0])
