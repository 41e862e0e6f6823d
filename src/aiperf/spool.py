"""The raw stamps and bytes of requests as frames on disk: the writer, the reader, nothing else.

A frame is `length, crc` (little-endian uint32 each, of what follows) and zstd of msgpack `[clock offset, rows]`; the
offset is CLOCK_REALTIME minus CLOCK_MONOTONIC when the frame was cut. A row is a part of a request; a request's parts
come in order, each carries the head as far as it is known, the last one says so. A torn last frame is cut off.
"""

import os
import queue
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from pyarrow.lib import Codec

from aiperf import clock
from aiperf.errors import MeasureError, SpoolError

PART_BYTES, READ_BYTES = 64 * 1024, 640
"""A part is of so many bytes, of which each read counts some more."""
PART_NS = clock.SECOND // 2
FRAME_BYTES = 256 * 1024
FRAME_NS = clock.SECOND // 4
_QUEUE, _NICE = 16, 10
_SMALLEST, _LARGEST = 5, 1 << 30

# What is known of a read's arrival; reads without a mark are WHOLE.
WHOLE, DRAINED, APART, TOGETHER, MERGED, USER, VIRTUAL = range(7)
"""WHOLE: all that waited, the stamp is its last segment's. DRAINED: up to an event's end, with nothing behind it.
APART: up to an event's end, and the bytes behind have a later stamp. TOGETHER: several events in one segment.
MERGED: the kernel's stamp may be a later segment's. USER: no kernel stamp, read in user space.
VIRTUAL: on a clock that jumps, so exact for all."""


class Exchange(msgspec.Struct, array_like=True, gc=False):
    """One request while it is in flight, filled by load and a transport; each time it is written, a part of the spool.

    `due` is CLOCK_MONOTONIC (None: closed loop, due when ready), every other stamp CLOCK_REALTIME. `stamps[i]` is the
    arrival of the read whose body bytes are `bodies[i]` (framing removed); `marks` holds `(read, kind, low)` triples,
    flat, for reads of which more is known than their stamp, the read counted from the part's first.
    """

    request: int
    phase: int = 0
    conversation: int = 0
    url: int = 0
    asked_input: int = 0
    asked_output: int = 0
    due: int | None = None
    ready: int | None = None
    started: int | None = None
    dns: int | None = None
    connect: int | None = None
    tls: int | None = None
    sent: int | None = None
    body_sent: int | None = None
    first_byte: int | None = None
    first_body: int | None = None
    end: int | None = None
    reused: bool = False
    status: int | None = None
    content_type: str | None = None
    error: str | None = None
    reason: str | None = None
    part: int = 0
    last: bool = False
    stamps: list[int] = []
    bodies: list[bytes] = []
    marks: list[int] = []


class Frame(msgspec.Struct, array_like=True):
    """A frame as read back."""

    offset: int
    rows: list[Exchange]


class SpoolWriter:
    """Appends parts; encodes them at once, each for itself, and hands full frames to a thread that joins, compresses and writes.

    A frame that grew in one buffer would cost more than all the rest, since its pages are new each time.
    The queue to the thread is bounded: when the disk is slower than the load, `waits` counts how often the caller waited.
    A disk that fails is kept in `failure` and every later frame is dropped and counted in `lost`; one that does not even
    take the file's name raises MeasureError.
    """

    def __init__(self, path: Path, *, offset: Callable[[], int] = clock.offset_ns, now: clock.Now = clock.monotonic_ns) -> None:
        self.waits = self.lost = self.parts = 0
        self.failure: OSError | None = None
        self._offset, self._now = offset, now
        self._rows, self._size, self._opened = list[bytes](), 0, 0
        self._encode = msgspec.msgpack.Encoder().encode
        self._file = _created(path)
        self._queue: queue.Queue[tuple[int, list[bytes]] | None] = queue.Queue(_QUEUE)
        self._thread = threading.Thread(target=self._drain, name="spool", daemon=True)
        self._thread.start()

    def put(self, exchange: Exchange, *, last: bool) -> None:
        """Write what has come since the last part; the exchange is ready for the next one."""
        exchange.last = last
        if not self._rows:
            self._opened = self._now()
        row = self._encode(exchange)
        self._rows.append(row)
        self._size += len(row)
        self.parts += 1
        exchange.part += 1
        if not last:
            exchange.stamps, exchange.bodies, exchange.marks = [], [], []
        if self._size >= FRAME_BYTES:
            self.cut()

    def tick(self) -> None:
        """Cut the frame if it is old; called a few times a second."""
        if self._rows and self._now() - self._opened >= FRAME_NS:
            self.cut()

    def cut(self) -> None:
        """Close the open frame and hand it to the thread."""
        if not self._rows:
            return
        frame = (self._offset(), self._rows)
        self._rows, self._size = [], 0
        try:
            self._queue.put_nowait(frame)
        except queue.Full:
            before = self._now()
            self._queue.put(frame)
            self.waits += self._now() > before  # on a virtual clock it took no time

    def close(self) -> None:
        """Write what is left; returns when it is with the operating system."""
        self.cut()
        self._queue.put(None)
        self._thread.join()
        self._file.close()

    def _drain(self) -> None:
        if sys.platform == "linux":  # where it is this thread's alone: who sends goes first
            os.nice(_NICE)
        compress = Codec("zstd", compression_level=1).compress
        while (frame := self._queue.get()) is not None:
            if self.failure is not None:
                self.lost += 1
                continue
            try:
                _write_all(self._file, _framed(frame, compress))
            except OSError as exc:
                self.failure = exc
                self.lost += 1


def _created(path: Path) -> BinaryIO:
    """A file that was not there: a spool is never written over."""
    try:
        return path.open("xb", buffering=0)
    except FileExistsError:
        raise
    except OSError as exc:
        raise MeasureError(f"{path}: cannot be written ({exc.strerror or exc})") from exc


def _framed(frame: tuple[int, list[bytes]], compress: Callable[..., bytes]) -> bytes:
    offset, rows = frame
    head = b"\x92" + msgspec.msgpack.encode(offset) + b"\xdd" + struct.pack(">I", len(rows))
    plain = b"".join((head, *rows))
    packed = struct.pack("<I", len(plain)) + compress(plain, asbytes=True)
    return struct.pack("<II", len(packed), zlib.crc32(packed)) + packed


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class SpoolReader:
    """Reads whole frames from where it left off, so that it can follow a spool that is still being written."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0
        self._decode = msgspec.msgpack.Decoder(Frame).decode
        self._codec = Codec("zstd")

    def frames(self) -> Iterator[Frame]:
        """The whole frames that are there now and were not read before. Raises SpoolError at a damaged one, with its offset."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            while (packed := self._packed(file)) is not None:
                size = struct.unpack_from("<I", packed)[0]
                yield self._decode(self._codec.decompress(packed[4:], decompressed_size=size, asbytes=True))
                self.offset = file.tell()

    def torn(self) -> int:
        """Bytes behind the last whole frame."""
        return self.path.stat().st_size - self.offset

    def _packed(self, file: BinaryIO) -> bytes | None:
        head = file.read(8)
        if len(head) < 8:
            return None
        length, crc = struct.unpack("<II", head)
        possible = _SMALLEST <= length <= _LARGEST  # nothing else is written, but a file that outlived a crash may end in zeros
        if possible and self.path.stat().st_size < self.offset + len(head) + length:  # a damaged length may be a gigabyte to read
            return None
        packed = file.read(length) if possible else b""
        if not possible or zlib.crc32(packed) != crc:
            raise SpoolError(f"{self.path.name}: the frame at byte {self.offset} is damaged; {self.offset} bytes before it are whole")
        return packed
