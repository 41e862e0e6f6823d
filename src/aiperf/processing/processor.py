"""Turns spools into records while the load is still running; the target of a job."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from aiperf import clock
from aiperf.config.dataset import Tokenizer as Options
from aiperf.dataset import tokenizer
from aiperf.endpoints.speaking import spoken
from aiperf.metrics.asides import as_json
from aiperf.metrics.columns import tried, with_metrics
from aiperf.plugin import plugins
from aiperf.processing.assembly import DIED, Assembly, Follower, Whole, missing
from aiperf.processing.derive import Row, row, table
from aiperf.processing.task import ProcessTask
from aiperf.records import PHASES
from aiperf.seams import Answer, Channel, Endpoint, Said, Tokenizer
from aiperf.spool import Exchange
from aiperf.store.parquet import RecordsWriter, read_plan

FINISH = "finish"
"""What the parent says when every generator has ended."""

BATCH_ROWS = 4096
POLL_S = 0.05
BEAT_NS = clock.SECOND // 2
_ROOM_CHARS = 4_000_000
_RUN = PHASES[-1]
_LOAD = lru_cache(maxsize=1)(partial(tokenizer.load, say=lambda _: None))
"""Once for all lanes; what is to be said of it was said when prompts were made with it."""


def process_job(channel: Channel, task: ProcessTask) -> None:
    """Follow the spools until the parent says `finish`, write the records, tell what was found; leave no file if the parent is gone."""
    with suppress(ParentGoneError), ExitStack() as files:
        gc.disable()  # what it makes has no circles, and looking for some would take a quarter of its time
        files.callback(gc.enable)
        work = Processor(task, files)
        _follow(Parent(channel, work), work)
        work.finish()
        files.close()
        channel.tell(work.report())


def _follow(parent: "Parent", work: "Processor") -> None:
    """Read until the parent says `finish`, and once more what is there then. Raises ParentGoneError."""
    while True:
        parent.hear()
        complete, busy = parent.finish, False
        for _ in work.frames():
            busy = True
            parent.hear()
        if complete:
            return
        if not busy:
            clock.sleep(POLL_S)


class ParentGoneError(Exception):
    """Nobody is there any more who would want the records."""


@dataclass(slots=True)
class Parent:
    """Is told twice a second how far the processor is: one that is not heard of when the load is over is ended."""

    channel: Channel
    work: "Processor"
    finish: bool = False
    at_ns: int = field(default_factory=clock.monotonic_ns)

    def hear(self) -> None:
        """Hear whether it says `finish`, and where a stop rule has ended the plan. Raises ParentGoneError."""
        for message in self.channel.told():
            if message == FINISH:
                self.finish = True
            else:
                _, self.work.cut_ns = message
        if (now := clock.monotonic_ns()) - self.at_ns > BEAT_NS:
            self.at_ns = now
            self.channel.tell({"read_bytes": self.work.read_bytes})
        if self.channel.closed:
            raise ParentGoneError


@dataclass(slots=True)
class Counting:
    """Takes texts of rows and counts many at a time; the tokenizer is loaded with the first of them, and never without a name.

    `counted` is how many answers of the run were counted.
    """

    options: Options
    load: Callable[[Options], Tokenizer] = field(default=_LOAD)
    counted: int = 0
    _tokenizer: Tokenizer | None = None
    _texts: dict[int, str] = field(default_factory=dict)
    _chars: int = 0

    def take(self, rows: list[Row], said: Said) -> None:
        """Note what the last row said, if it is a good answer that its server did not count."""
        if not said.text or self.options.name is None or rows[-1]["error"] is not None:
            return
        self._texts[len(rows) - 1] = said.text
        rows[-1]["reasoning_tokens"] = said.reasoning_tokens  # by events it would not be in proportion to the count
        self._chars += len(said.text)
        if self._chars >= _ROOM_CHARS:
            self.count(rows)

    def count(self, rows: list[Row]) -> None:
        """Put the counts of what was noted into these rows."""
        if not self._texts:
            return
        if self._tokenizer is None:
            self._tokenizer = self.load(self.options)
        for place, ids in zip(self._texts, self._tokenizer.encode(list(self._texts.values()))):
            rows[place]["output_tokens"] = len(ids)
            self.counted += rows[place]["phase"] == _RUN
        self._texts, self._chars = {}, 0


class Lane:
    """What one spool holds of a shard, into a file of its own: the same bytes, whenever and beside whom it is read.

    Told beside the records: a sample of each error class, what plugins failed at, and counts of good requests.
    """

    def __init__(self, task: ProcessTask, generator: int, files: ExitStack) -> None:
        self._task, self._generator = task, generator
        self._entry = plugins.get_entry("endpoint", task.endpoint.type)
        self._endpoint: Endpoint = spoken(task.endpoint, model=task.model, exact=False)
        self.spool = Follower(task.spools[generator], generator)
        self.assembly = Assembly(task.shard, task.shards)
        self.writer = files.enter_context(RecordsWriter(task.records / f"{generator * task.shards + task.shard:04d}.parquet"))
        self._rows: list[Row] = []
        self.counting = Counting(task.tokenizer)
        self.samples, self.failures, self.counts = dict[str, str](), dict[str, str](), Counter[str]()

    def frames(self) -> Iterator[None]:
        """Work through what has come; yields after each frame."""
        for frame in self.spool.frames():
            for whole in self.assembly.complete(frame, self._generator):
                self.add(whole)
            yield

    def add(self, whole: Whole) -> None:
        """Make a request's record."""
        said = self._said(whole.exchange)
        made = row(whole.exchange, said, due_ns=whole.due_ns, generator=whole.generator, plugin=self._aside(said))
        if made["error"] is not None:
            self.samples.setdefault(made["error"], made["reason"] or "")
        else:
            self.counts["think_tags"] += said.think_tags
            self.counts["usage_missing"] += said.output_tokens is None
        self._rows.append(made)
        self.counting.take(self._rows, said)
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def finish(self) -> None:
        """Write what is left; a file is there in any case."""
        if self._rows or not self.writer.rows:
            self._flush()

    def _said(self, exchange: Exchange) -> Said:
        if exchange.error is not None and not exchange.bodies:
            return Said()
        answer = Answer(exchange.status, exchange.content_type, exchange.bodies, exchange.error is None, exchange.stamps)
        why: list[str] = []
        said = tried(self._entry, partial(self._endpoint.answer, answer), why.append)
        return Said(error="client", reason=why[0]) if said is None else said

    def _aside(self, said: Said) -> str | None:
        """The column `plugin`."""
        if said.plugin is None:
            return None
        written = tried(self._entry, partial(as_json, said.plugin), partial(self.failures.setdefault, "plugin"))
        if written is None:
            return None
        self.counts["asides_cut"] += written[1]
        return written[0]

    def _flush(self) -> None:
        self.counting.count(self._rows)
        records = table(self._rows, urls=self._task.urls, model=self._task.model)
        self.writer.append(with_metrics(records, self.failures))
        self._rows = []


class Processor:
    """One shard's work: frames in, row groups out, a lane a spool. The files are closed, or given up, with `files`."""

    def __init__(self, task: ProcessTask, files: ExitStack) -> None:
        self._task = task
        self.lanes = [Lane(task, generator, files) for generator in range(len(task.spools))]
        self.cut_ns: int | None = None

    @property
    def read_bytes(self) -> int:
        """How far the spools have been read, in all."""
        return sum(lane.spool.read_bytes for lane in self.lanes)

    def frames(self) -> Iterator[None]:
        """Work through what has come; yields after each frame, so that the caller can stop."""
        for lane in self.lanes:
            yield from lane.frames()

    def finish(self) -> None:
        """Account for what a generator that died has left: answers without an end, and plans without a request."""
        for lane in self.lanes:
            for whole in lane.assembly.left():
                whole.exchange.error, whole.exchange.reason = "abandoned", DIED
                lane.add(whole)
        if self._task.plan is not None:
            for whole in missing(read_plan(self._task.plan), [lane.assembly for lane in self.lanes], self.cut_ns):
                self.lanes[0].add(whole)
        for lane in self.lanes:
            lane.finish()

    def report(self) -> dict[str, Any]:
        """What the parent needs to know; figures of the spools are the same from every shard."""
        lanes, spools = self.lanes, [lane.spool for lane in self.lanes]
        return {
            "done": True,
            "records": sum(lane.writer.rows for lane in lanes),
            "damaged": [spool.damage for spool in spools if spool.damage is not None],
            "torn_bytes": [spool.torn() for spool in spools],
            "read_bytes": [spool.read_bytes for spool in spools],
            "clock_step_ns": max(spool.clock_step_ns for spool in spools),
            "samples": {name: text for lane in reversed(lanes) for name, text in lane.samples.items()},
            "failures": {name: text for lane in reversed(lanes) for name, text in lane.failures.items()},
            **{name: sum(lane.counts[name] for lane in lanes) for name in ("asides_cut", "think_tags", "usage_missing")},
            "client_counted": sum(lane.counting.counted for lane in lanes),
            "frames": sum(spool.frames_read for spool in spools),
        }
