"""The kernel's own arrival stamps, and what else it knows of a socket (Linux).

A read's stamp is that of the last segment it touched, however late the reader is.
"""

import socket
import struct
from collections.abc import Callable

from aiperf import clock

ROOM = socket.CMSG_SPACE(16)
"""Room for one stamp beside the data of a read."""

_SO_TIMESTAMPNS = 35
_INFO_SIZE = 160
timespec: Callable[[bytes], tuple[int, int]] = struct.Struct("qq").unpack_from
_SECOND = clock.SECOND
_segments = struct.Struct("I").unpack_from
_acked = struct.Struct("Q").unpack_from
_DATA_SEGS_IN, _BYTES_ACKED = 152, 120  # places in struct tcp_info


def switch_on(sock: socket.socket) -> None:
    """Have the kernel stamp what arrives here; at the machine's first such socket it begins some milliseconds later."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def stamp(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """CLOCK_REALTIME nanoseconds of a read; None where the kernel gave none."""
    if not ancillary:
        return None
    seconds, nanos = timespec(ancillary[0][2])
    return seconds * _SECOND + nanos


def segments_in(sock: socket.socket) -> int:
    """Segments with data that this socket has received."""
    return int(_segments(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE), _DATA_SEGS_IN)[0])


def bytes_acked(sock: socket.socket) -> int:
    """Bytes of ours that the other side has acknowledged, the opening one included."""
    return int(_acked(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE), _BYTES_ACKED)[0])
