"""What runs in workers: a load generator, made of the parts that the registry names."""

import gc
import resource
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import ValidationError

from aiperf import clock
from aiperf.config.endpoint import Endpoint as Options
from aiperf.endpoints.speaking import spoken
from aiperf.errors import AiperfError, ConfigError
from aiperf.load.generator import Generator, LoadPlan
from aiperf.load.loop import EpollLoop
from aiperf.plugin.border import told
from aiperf.plugin.plugins import get_entry, get_metadata, make
from aiperf.seams import Channel, Endpoint, Loop, Source
from aiperf.spool import SpoolWriter
from aiperf.transports.origin import origins
from aiperf.workload import ALONE, Phase, Request, Schedule, Share

if TYPE_CHECKING:  # launch time: most generators have no server in their process
    from aiperf.simulator.memory import MemoryServer


@dataclass(frozen=True, slots=True)
class Target:
    """The server as the probe has found it: its options, addresses, model, and what it can be asked for.

    `worn` are the options with the headers that the endpoint itself wants to be sent, where it does.
    """

    options: Options
    urls: tuple[str, ...]
    model: str
    path: str
    exact: bool
    usage: bool = True
    worn: Options | None = None


@dataclass(frozen=True, slots=True)
class LoadTask:
    """What a load generator is asked to do; `run` stands before the number in `X-Request-ID`, `memory` is a server in this process."""

    target: Target
    source: Source
    schedule: Schedule
    stop_ns: int | None
    spool: Path
    run: str
    spin_ns: int
    share: Share = ALONE
    memory: "MemoryServer | None" = None


def speaker(target: Target) -> Endpoint:
    """The endpoint that speaks to a target."""
    return spoken(target.options, model=target.model, exact=target.exact, usage=target.usage)


def dressed(target: Target) -> Target:
    """The target with the headers and the query that its endpoint wants, if it does. Raises ConfigError for one that cannot be sent."""
    wears = getattr(speaker(target), "wears", None)
    if wears is None:
        return target
    said = {**target.options.model_dump(), "headers": dict(wears.headers), "api_key": None}
    try:
        worn = Options.model_validate(said)
    except ValidationError as exc:  # what was given is no secret of ours to print
        entry = get_entry("endpoint", target.options.type)
        raise ConfigError(f"{entry.label}: its headers cannot be sent: {exc.errors()[0]['msg']}") from exc
    query = urlencode(wears.params)
    return replace(target, worn=worn, path=f"{target.path}{'&' if '?' in target.path else '?'}{query}" if query else target.path)


def path_of(options: Options) -> str:
    """The API's path: the experiment's, or the endpoint type's own, which may be another one for streams."""
    said = get_metadata("endpoint", options.type)
    own = (options.streaming and said.get("streaming_path")) or said.get("endpoint_path")
    return options.path if options.path is not None else str(own or "/")


@dataclass(frozen=True, slots=True)
class Render:
    """Makes a planned request ready to send."""

    source: Source
    endpoint: Endpoint

    def __call__(self, phase: Phase, place: int) -> Request:
        """The request at a place of a phase; one that cannot be made says why, and is a failure of the class `client`."""
        conversation = place if phase.conversations is None else int(phase.conversations[place])
        try:
            turn = self.source.turn(conversation, warmup=phase.name == "warmup")
            return Request(conversation, self.endpoint.body(turn), turn.input_tokens, turn.output_tokens)
        except AiperfError as exc:
            return Request(conversation, b"", 0, None, refused=told(exc))


def generate(channel: Channel, task: LoadTask) -> None:
    """Play the task; tells pulses, and in the end how it went."""
    target, options = task.target, task.target.options
    endpoint = speaker(target)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    memory = task.memory
    loop: Loop = EpollLoop(task.spin_ns) if memory is None else memory.loop
    spool = SpoolWriter(task.spool) if memory is None else SpoolWriter(task.spool, offset=lambda: 0, now=lambda: 0)
    plan = LoadPlan(task.schedule, Render(task.source, endpoint), len(target.urls), task.stop_ns, task.share)
    where = origins(target.worn or options, target.urls, path=target.path, run=task.run)
    hint = endpoint.token_hint if options.streaming else None
    transport: Any = make("transport", options.transport, options, where, hint=hint, sockets=memory or loop, options=options.options)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        said: Mapping[str, Any] = Generator(plan, loop, spool, channel).run(transport)
    finally:
        gc.enable()
        gc.unfreeze()
        spool.close()
        transport.close()
        if isinstance(loop, EpollLoop):
            loop.close()
    failure = None if spool.failure is None else str(spool.failure)
    channel.tell({
        **said, "parts": spool.parts, "spool_waits": spool.waits, "lost_frames": spool.lost, "spool_failure": failure,
        "reopened": getattr(transport, "reopened", 0), "generator": task.share.generator, "at_ns": clock.now_ns(),
    })  # fmt: skip


def descriptors() -> int | None:
    """Files and connections that a process may have open, at most; None where nothing limits them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard
