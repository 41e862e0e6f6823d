"""Turns spools into records while the load is still running; the target of a job."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from aiperf import clock
from aiperf.endpoints.speaking import spoken
from aiperf.metrics.asides import as_json
from aiperf.metrics.columns import with_metrics
from aiperf.metrics.plugged import tried
from aiperf.plugin import plugins
from aiperf.processing.assembly import DIED, Assembly, Follower, Whole
from aiperf.processing.counting import Counting
from aiperf.processing.derive import Row, row, table
from aiperf.processing.task import ProcessTask
from aiperf.seams import Answer, Channel, Endpoint, Said
from aiperf.spool import Exchange
from aiperf.store.parquet import RecordsWriter, read_plan

FINISH = "finish"
"""What the parent says when every generator has ended."""

BATCH_ROWS = 4096
POLL_S = 0.05
BEAT_NS = clock.SECOND // 2


def process_job(channel: Channel, task: ProcessTask) -> None:
    """Follow the spools until the parent says `finish`, write the records, tell what was found; leave no file if the parent is gone."""
    with RecordsWriter(task.records) as writer:
        work = Processor(task, writer)
        if not _follow(channel, work):
            writer.discard()
            return
        work.finish()
    channel.tell(work.report())


def _follow(channel: Channel, work: "Processor") -> bool:
    """Read until the parent says `finish`, and once more what is there then; false if the parent is gone."""
    parent = Parent(channel)
    while parent.listens():
        complete, busy = parent.finish, False
        for _ in work.frames():
            busy = True
            if not parent.listens():
                return False
        if complete:
            work.cut_ns = parent.cut_ns
            return True
        if not busy:
            clock.sleep(POLL_S)
    return False


@dataclass(slots=True)
class Parent:
    """Is told twice a second that the processor is there: one that is not heard of when the load is over is ended."""

    channel: Channel
    finish: bool = False
    cut_ns: int | None = None
    at_ns: int = field(default_factory=clock.monotonic_ns)

    def listens(self) -> bool:
        """Hear whether it says `finish`, and where a stop rule has ended the plan; false if it is gone."""
        for message in self.channel.told():
            if message == FINISH:
                self.finish = True
            else:
                _, self.cut_ns = message
        if (now := clock.monotonic_ns()) - self.at_ns > BEAT_NS:
            self.at_ns = now
            self.channel.tell({"alive": True})
        return not self.channel.closed


@dataclass(slots=True)
class Tally:
    """What is told beside the records: a sample of each error class, what plugins failed at, and counts of good requests."""

    samples: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    asides_cut: int = 0
    think_tags: int = 0
    usage_missing: int = 0

    def note(self, made: Row, said: Said) -> None:
        """Count one request."""
        if made["error"] is not None:
            self.samples.setdefault(made["error"], made["reason"] or "")
            return
        self.think_tags += said.think_tags
        self.usage_missing += said.output_tokens is None


class Processor:
    """One shard's work: frames in, row groups out. The file is the caller's to close."""

    def __init__(self, task: ProcessTask, writer: RecordsWriter) -> None:
        self._task, self._writer = task, writer
        self._entry = plugins.get_entry("endpoint", task.endpoint.type)
        self._endpoint: Endpoint = spoken(task.endpoint, model=task.model, exact=False)
        self._spools = [Follower(path, generator) for generator, path in enumerate(task.spools)]
        self._assembly = Assembly(task.shard, task.shards)
        self._rows: list[Row] = []
        self._counting = Counting(task.tokenizer)
        self._tally = Tally()
        self.cut_ns: int | None = None

    def frames(self) -> Iterator[None]:
        """Work through what has come; yields after each frame, so that the caller can stop."""
        for spool in self._spools:
            for frame in spool.frames():
                for whole in self._assembly.complete(frame, spool.generator):
                    self._add(whole)
                yield

    def finish(self) -> None:
        """Account for what a generator that died has left: answers without an end, and plans without a request."""
        for whole in self._assembly.left():
            whole.exchange.error, whole.exchange.reason = "abandoned", DIED
            self._add(whole)
        for whole in self._assembly.missing(read_plan(self._task.plan), self.cut_ns) if self._task.plan is not None else ():
            self._add(whole)
        if self._rows or not self._writer.rows:
            self._flush()

    def report(self) -> dict[str, Any]:
        """What the parent needs to know; figures of the spools are the same from every shard."""
        return {
            "done": True,
            "records": self._writer.rows,
            "damaged": [spool.damage for spool in self._spools if spool.damage is not None],
            "torn_bytes": sum(spool.torn() for spool in self._spools),
            "clock_step_ns": max((spool.clock_step_ns for spool in self._spools), default=0),
            **asdict(self._tally),
            "client_counted": self._counting.counted,
            "frames": sum(spool.frames_read for spool in self._spools),
        }

    def _add(self, whole: Whole) -> None:
        said = self._said(whole.exchange)
        made = row(whole.exchange, said, due_ns=whole.due_ns, generator=whole.generator, plugin=self._aside(said))
        self._tally.note(made, said)
        self._rows.append(made)
        self._counting.take(self._rows, said)
        if len(self._rows) >= BATCH_ROWS:
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
        written = tried(self._entry, partial(as_json, said.plugin), partial(self._tally.failures.setdefault, "plugin"))
        if written is None:
            return None
        self._tally.asides_cut += written[1]
        return written[0]

    def _flush(self) -> None:
        self._counting.count(self._rows)
        records = table(self._rows, urls=self._task.urls, model=self._task.model)
        self._writer.append(with_metrics(records, self._tally.failures))
        self._rows = []
