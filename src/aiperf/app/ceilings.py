"""What one load generator carries on this machine: the job of a run, played at a sink in another process."""

import asyncio
import gc
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from aiperf import clock
from aiperf.app import GENERATE, GENERATOR, host
from aiperf.app.conduct import interrupts
from aiperf.app.doctor import View, busy, declared
from aiperf.app.jobs import LoadTask, Target, descriptors, path_of
from aiperf.app.plan import gathered
from aiperf.cluster.local import LocalCluster, hatch
from aiperf.config.compose import load
from aiperf.errors import MeasureError
from aiperf.results import Pulse
from aiperf.seams import Channel, Event, Job
from aiperf.spool import MERGED, USER, SpoolReader

_FULL, _EXACT, _FILES, _STAT = 0.9, 0.99, 128, Path("/proc/stat")
"""A side that is busy for more is saturated, as in a verdict, and a level with fewer exact stamps is not carried."""
TOKEN = b'"content":"'  # what every event with a token holds once
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n\r\n"
_BODY = b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",%b word"},"finish_reason":"stop"}]}' % TOKEN
_EVENT = b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{%b word"},"finish_reason":null}]}\n\n' % TOKEN


def ceilings(folder: Path, seconds: float = 2.0) -> Iterator[View]:
    """The measures, each when it is known: `name`, `figure`, what was counted, how `busy` each side was, and which were `saturated`.

    Raises MeasureError where one cannot be made. What is written lies below `folder` until then, and does not stay.
    """
    if (most := descriptors()) is not None and most < _FILES:
        raise MeasureError(f"64 in flight need about {_FILES} open files, the limit is {most}: raise it (ulimit -Hn)")
    plays = {kind: partial(_played, folder, seconds, said) for kind, said in declared("ceilings").items()}
    with interrupts():
        plain = plays["plain"](64)
        yield plain
        yield plays["streams"](64)
        yield _steps(plays["paced"])
        yield plays["lateness"](min(2_000, round(plain["requests_per_s"] / 2)))


def meaning(plain: View, _: View, paced: View, __: View) -> str:
    """What the measures are to a run, in a sentence."""
    least, fewer = "" if "generator" in plain["saturated"] else "at least ", "" if paced["exact_share"] >= _EXACT else "fewer than "
    carried = f"{least}{_FULL * plain['requests_per_s']:,.0f} plain requests or {fewer}{paced['tokens_per_s']:,.0f} tokens a second"
    shared = "machine" in plain["saturated"] + paced["saturated"]
    more = "others were at work: measure again when it is quiet" if shared else "for more, cluster.generators=2 and the cores for it"
    return f"one generator carries {carried} here, {_EXACT:.0%} of stamps exact; {more}"


def canned(events: int) -> list[bytes]:
    """An answer: a stream of so many events, an item each; for 0 a plain one."""
    if not events:
        return [_HEAD % (b"application/json", b"Content-Length: %d" % len(_BODY)) + _BODY]
    writes = [b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)] * events
    writes[0] = _HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked") + writes[0]
    writes[-1] += b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    return writes


def sink(channel: Channel, told: tuple[Path, list[bytes], float]) -> None:
    """Serves, and has the folder of the spool: this process ends with its parent, however that ends, and takes the folder along."""
    folder, writes, pace_s = told
    try:
        folder.mkdir()
    except OSError as exc:
        raise MeasureError(f"{folder}: {exc.strerror}") from exc
    try:
        _serve(channel, writes, pace_s)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(channel: Channel, writes: list[bytes], pace_s: float) -> None:
    """Answers with writes so many seconds apart until the channel is closed. Tells port and CPU time, and that again at a word."""
    gc.disable()
    loop = uvloop.new_event_loop()
    server: Any = loop.run_until_complete(loop.create_server(lambda: _Answering(loop, writes, pace_s), "127.0.0.1", 0, backlog=4096))

    def hear() -> None:
        if channel.told():
            channel.tell({"cpu_ns": clock.process_cpu_ns()})
        if channel.closed:
            loop.stop()

    loop.add_reader(channel.fileno(), hear)
    channel.tell({"port": server.sockets[0].getsockname()[1], "cpu_ns": clock.process_cpu_ns()})
    loop.run_forever()


class _Answering(asyncio.Protocol):
    """The least server that Python can be: one canned answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writes: list[bytes], pace_s: float) -> None:
        self._loop, self._writes, self._pace_s, self._data = loop, writes, pace_s, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """A request that is whole by its length is answered, whatever it says."""
        self._data += data
        head, length = self._data.find(b"\r\n\r\n"), _LENGTH.search(self._data)
        if head >= 0 and len(self._data) >= head + 4 + (int(length[1]) if length else 0):
            self._data = b""
            self._write(0)

    def _write(self, place: int) -> None:
        self._transport.write(self._writes[place])
        if place + 1 < len(self._writes):
            self._loop.call_later(self._pace_s, self._write, place + 1)


def _steps(play: Callable[[int], View]) -> View:
    """The highest that the generator carries of up to four levels: each aimed at where it hardly will, or below one that was too high."""
    held, least, most, aimed, level = None, 16, 1 << 20, 16.0, 16
    for _ in range(4):
        found = play(level)
        if found["exact_share"] < _EXACT or found["busy"]["generator"] > _FULL:
            most = level if held else most  # that few fail only where others are at work: once more
        else:
            held, least, aimed = found, level, level * min(3, 0.85 / max(found["busy"]["generator"], 0.01))
        level = round(min(aimed, (least * most) ** 0.5))
        if held and not least < level < most:
            break
    return held or found


def _played(folder: Path, seconds: float, kind: View, level: int) -> View:
    shared = f"endpoint=vllm endpoint.model=sink dataset.output_tokens=32 timing.stop.duration_s={seconds}"
    made = load(f"{shared} {kind['words']}".format(level=level).split())
    run, options, cores, pulses = gathered(made, lambda _: None), made.experiment.endpoint, host.cores(pin=True), list[Pulse]()
    plan, spool, pace_s, writes = run.plan, folder / f".aiperf-{run.name}" / "spool", kind.get("pace_s", 0), canned(kind["events"])
    with closing(LocalCluster([hatch(GENERATOR, GENERATE)])) as cluster:
        sent = writes if pace_s else [b"".join(writes)]
        cluster.start(Job("sink", f"{__name__}:sink", (spool.parent, sent, pace_s), cores=cores.others))
        at, before = _said(cluster, pulses), _STAT.read_text(encoding="ascii")
        target = Target(options, (f"http://127.0.0.1:{at['port']}",), "sink", path_of(options), exact=False)
        task = LoadTask(target, plan.source, plan.schedule, plan.stop_ns, spool, run.name, round(made.experiment.timing.spin_us * 1_000))
        cluster.start(Job(GENERATOR, GENERATE, task, cores=cores.generators[0]))
        said, machine = _said(cluster, pulses), busy(before, _STAT.read_text(encoding="ascii"))[0]
        cluster.tell("sink", "CPU time")
        spent_s, view = (_said(cluster, pulses)["cpu_ns"] - at["cpu_ns"]) / clock.SECOND, _tallied(spool)
    if said["lost_frames"]:
        raise MeasureError(f"{folder}: {said['spool_failure']}")
    own = median([pulse.busy for pulse in pulses if pulse.busy] or [said["cpu_s"] / said["seconds"]])
    shares = {"generator": own, "sink": spent_s / said["seconds"], "machine": machine}
    full = [side for side in ("generator", "sink") if shares[side] > _FULL] or (["machine"] if machine > _FULL else [])
    return {"name": kind["name"].format(level=level), "figure": kind["figure"].format_map(view), **view, "busy": shares, "saturated": full}


def _said(cluster: LocalCluster, pulses: list[Pulse]) -> View:
    """What a worker says next, pulses aside. Raises MeasureError where one dies, or none says anything for half a minute."""
    events, until = list[Event](), clock.monotonic_ns() + 30 * clock.SECOND
    while not (said := [event.message for event in events if isinstance(event.message, dict)]):
        cluster.wait(0.1, events.append)
        why = next((f"{event.worker} {event.error}" for event in events if event.error is not None), None)
        if why is not None or clock.monotonic_ns() > until:
            raise MeasureError(why or "no worker said anything for 30 s")
    pulses += [event.message for event in events if isinstance(event.message, Pulse)]
    return said[0]


def _tallied(spool: Path) -> View:
    """What a spool comes to. Raises MeasureError if a request failed: nothing that fails is a ceiling."""
    tokens, exact, ends = 0, 0, list[tuple[int, int, int]]()
    for row in (row for frame in SpoolReader(spool).frames() for row in frame.rows):
        tokens += sum(body.count(TOKEN) for body in row.bodies)
        exact += len(row.stamps) - sum(kind in (MERGED, USER) for kind in row.marks[1::3])
        if row.error is not None or not (row.ready and row.started):
            raise MeasureError(f"a request failed ({row.error}): {row.reason}")
        if row.last and row.end is not None:
            ends.append((row.started, row.end, row.started - row.ready))
    started, ended, late = map(sorted, zip(*ends))
    seconds = (ended[-1] - started[0]) / clock.SECOND
    late_us = {f"late_p{q}_us": late[len(late) * q // 100] / clock.MICROSECOND for q in (50, 99)}
    return {"requests_per_s": len(ends) / seconds, "tokens_per_s": tokens / seconds, "exact_share": exact / tokens, **late_us}
