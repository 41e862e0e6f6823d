"""Follows a spool while it grows and puts the parts of requests together again."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiperf.errors import SpoolError
from aiperf.spool import Exchange, Frame, SpoolReader

LOST_PART = "a part of the answer never reached the disk"


@dataclass(slots=True)
class Follower:
    """Reads one generator's spool from where it left off; keeps what it learnt of the clock and of damage."""

    path: Path
    generator: int
    frames_read: int = 0
    clock_step_ns: int = 0
    damage: str | None = None
    _offset: int | None = None
    _reader: SpoolReader = field(init=False)

    def __post_init__(self) -> None:
        self._reader = SpoolReader(self.path)

    def frames(self) -> Iterator[Frame]:
        """Whole frames that have come since the last call; none from a damaged one on, and none before the file is there."""
        if self.damage is not None or not self.path.exists():
            return
        try:
            for frame in self._reader.frames():
                self._look_at_clock(frame.offset)
                self.frames_read += 1
                yield frame
        except SpoolError as exc:
            self.damage = str(exc)

    def torn(self) -> int:
        """Bytes of a last frame that was never finished; what lies behind damage is reported as damage."""
        return self._reader.torn() if self.damage is None and self.path.exists() else 0

    def _look_at_clock(self, offset: int) -> None:
        if self._offset is not None:
            self.clock_step_ns = max(self.clock_step_ns, abs(offset - self._offset))
        self._offset = offset


@dataclass(slots=True)
class Whole:
    """A request as far as its parts are known: the newest head with everything that was read.

    `due_ns` is on CLOCK_REALTIME, by the offset of the frame that held the first part.
    """

    exchange: Exchange
    generator: int
    due_ns: int | None
    lost: bool = False


class Assembly:
    """Requests of this shard whose last part has not come yet, in the order in which they began."""

    def __init__(self, shard: int, shards: int) -> None:
        self._shard, self._shards = shard, shards
        self._open: dict[int, Whole] = {}
        self.known = array("q")
        """Numbers of all requests that began, packed, since a long run has many."""
        self.anchors: dict[int, tuple[int, int]] = {}
        """By phase: number and due time of one request, which tie the plan's times to the clock."""

    def complete(self, frame: Frame, generator: int) -> Iterator[Whole]:
        """Take a frame in; gives the requests that it completes."""
        for part in frame.rows:
            if part.request % self._shards != self._shard:
                continue
            whole = self._with(part, frame.offset, generator)
            if part.last:
                self._open.pop(part.request, None)
                yield whole

    def left(self) -> Iterator[Whole]:
        """Requests whose last part never came."""
        yield from self._open.values()
        self._open.clear()

    def _with(self, part: Exchange, offset: int, generator: int) -> Whole:
        before = self._open.get(part.request)
        if before is None:
            before = self._begin(part, offset, generator)
        else:
            before.lost |= part.part != before.exchange.part + 1
            _join(before.exchange, part)
            before.exchange = part
        if before.lost:
            part.error, part.reason = part.error or "client", LOST_PART
        return before

    def _begin(self, part: Exchange, offset: int, generator: int) -> Whole:
        due = None if part.due is None else part.due + offset
        whole = Whole(part, generator, due, lost=part.part != 0)
        self.known.append(part.request)
        if due is not None and part.phase not in self.anchors:
            self.anchors[part.phase] = part.request, due
        if not part.last:
            self._open[part.request] = whole
        return whole


def _join(before: Exchange, part: Exchange) -> None:
    """Put what was read before in front of the part's own reads; its marks count from the part's first read."""
    reads = len(before.stamps)
    before.stamps.extend(part.stamps)
    before.bodies.extend(part.bodies)
    before.marks.extend(value if i % 3 else value + reads for i, value in enumerate(part.marks))
    part.stamps, part.bodies, part.marks = before.stamps, before.bodies, before.marks
