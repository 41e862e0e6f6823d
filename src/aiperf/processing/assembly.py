"""Follows a spool while it grows, puts the parts of requests together again, and finds the planned ones that no spool knows."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from aiperf.errors import SpoolError
from aiperf.records import PHASES
from aiperf.spool import Exchange, Frame, SpoolReader

LOST_PART = "a part of the answer never reached the disk"
DIED = "the generator died"
_AT_ONCE = 4096


class Follower:
    """Reads one generator's spool from where it left off; keeps what it learnt of the clock and of damage."""

    def __init__(self, path: Path, generator: int) -> None:
        self.generator, self._reader = generator, SpoolReader(path)
        self.frames_read = self.clock_step_ns = 0
        self.damage: str | None = None
        self._offset: int | None = None

    def frames(self) -> Iterator[Frame]:
        """Whole frames that have come since the last call; none from a damaged one on, and none before the file is there."""
        if self.damage is not None or not self._reader.path.exists():
            return
        try:
            for frame in self._reader.frames():
                step = 0 if self._offset is None else abs(frame.offset - self._offset)
                self.clock_step_ns, self._offset = max(self.clock_step_ns, step), frame.offset
                self.frames_read += 1
                yield frame
        except SpoolError as exc:
            self.damage = str(exc)

    @property
    def read_bytes(self) -> int:
        """How far the spool has been read: where what is torn or damaged begins."""
        return self._reader.offset

    def torn(self) -> int:
        """Bytes of a last frame that was never finished; what lies behind damage is reported as damage."""
        return self._reader.torn() if self.damage is None and self._reader.path.exists() else 0


@dataclass(slots=True)
class Whole:
    """A request as far as its parts are known: the newest head with everything that was read.

    `due_ns` is on CLOCK_REALTIME, by the offset of the frame that held the first part.
    """

    exchange: Exchange
    generator: int | None
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
            if not self.has(part.request):
                continue
            whole = self._with(part, frame.offset, generator)
            if part.last:
                self._open.pop(part.request, None)
                yield whole

    def has(self, number: Any) -> Any:
        """Whether a request, or each of an array of them, is of this shard."""
        return number % self._shards == self._shard

    def left(self) -> Iterator[Whole]:
        """Requests whose last part never came."""
        yield from self._open.values()
        self._open.clear()

    def _with(self, part: Exchange, offset: int, generator: int) -> Whole:
        if (whole := self._open.get(part.request)) is None:
            due = None if part.due is None else part.due + offset
            whole = self._open[part.request] = Whole(part, generator, due, lost=part.part != 0)
            self.known.append(part.request)
            if due is not None:
                self.anchors.setdefault(part.phase, (part.request, due))
        else:
            whole.lost |= part.part != whole.exchange.part + 1
            _join(whole.exchange, part)
            whole.exchange = part
        if whole.lost:
            part.error, part.reason = part.error or "client", LOST_PART
        return whole


def missing(plan: pa.Table, assemblies: Sequence[Assembly], cut_ns: int | None = None) -> Iterator[Whole]:
    """A shard's planned requests that never began, because the generator that should have sent them died.

    The plan ends at `cut_ns`, if a stop rule has ended it. `due_ns` is None where no request ties the plan to the clock.
    """
    numbers = plan["request"].to_numpy()
    known = np.concatenate([np.asarray(one.known, dtype=np.int64) for one in assemblies])
    unknown = assemblies[0].has(numbers) & ~np.isin(numbers, known)
    if cut_ns is not None:
        unknown &= plan["due_ns"].to_numpy() <= cut_ns
    start = _start_ns(plan, assemblies) if unknown.any() else None
    for batch in plan.filter(pa.array(unknown)).to_batches(max_chunksize=_AT_ONCE):
        for planned in batch.to_pylist():
            due_ns = None if start is None or planned["due_ns"] is None else start + planned["due_ns"]
            yield Whole(_unsent(planned), None, due_ns)


def _start_ns(plan: pa.Table, assemblies: Sequence[Assembly]) -> int | None:
    """When the run began: what a sent request's due time is ahead of its planned one."""
    due = plan["due_ns"]
    for request, due_ns in (anchor for one in assemblies for anchor in one.anchors.values()):
        place = np.flatnonzero(plan["request"].to_numpy() == request)
        if len(place) and due[int(place[0])].is_valid:
            return int(due_ns - due[int(place[0])].as_py())
    return None


def _unsent(planned: Mapping[str, int]) -> Exchange:
    return Exchange(
        planned["request"],
        phase=PHASES.index(str(planned["phase"])),
        conversation=planned["conversation"],
        asked_input=planned["input_tokens"] or 0,
        asked_output=planned["output_tokens"] or 0,
        error="unsent",
        reason=DIED,
        last=True,
    )


def _join(before: Exchange, part: Exchange) -> None:
    """Put what was read before in front of the part's own reads; its marks count from the part's first read."""
    reads = len(before.stamps)
    before.stamps.extend(part.stamps)
    before.bodies.extend(part.bodies)
    before.marks.extend(value if i % 3 else value + reads for i, value in enumerate(part.marks))
    part.stamps, part.bodies, part.marks = before.stamps, before.bodies, before.marks
