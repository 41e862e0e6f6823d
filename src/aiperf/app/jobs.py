"""What runs in workers: a load generator, made of the parts that the registry names."""

import gc
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiperf import clock
from aiperf.config.endpoint import Endpoint as Options
from aiperf.errors import AiperfError
from aiperf.load.generator import Generator, LoadPlan
from aiperf.load.loop import EpollLoop
from aiperf.plugin.plugins import get_class, get_entry
from aiperf.seams import Channel, Endpoint, Source
from aiperf.spool import SpoolWriter
from aiperf.transports.origin import origins
from aiperf.workload import Phase, Request, Schedule


@dataclass(frozen=True, slots=True)
class Target:
    """The server as the probe has found it: its options, addresses, model, and what it can be asked for."""

    options: Options
    urls: tuple[str, ...]
    model: str
    path: str
    exact: bool
    usage: bool = True


@dataclass(frozen=True, slots=True)
class LoadTask:
    """What a load generator is asked to do; `run` stands before the number in `X-Request-ID`."""

    target: Target
    source: Source
    schedule: Schedule
    stop_ns: int | None
    spool: Path
    run: str
    spin_ns: int
    generator: int = 0


def speaker(target: Target) -> Endpoint:
    """The endpoint that speaks to a target."""
    made: Endpoint = get_class("endpoint", target.options.type)(target.options, model=target.model, exact=target.exact, usage=target.usage)
    return made


def path_of(options: Options) -> str:
    """The API's path: the experiment's, or the endpoint type's own."""
    return options.path if options.path is not None else str(get_entry("endpoint", options.type).metadata["endpoint_path"])


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
            return Request(conversation, b"", 0, None, refused=str(exc))


def generate(channel: Channel, task: LoadTask) -> None:
    """Play the task; tells pulses, and in the end how it went."""
    target, options = task.target, task.target.options
    endpoint = speaker(target)
    _allow_descriptors()
    loop = EpollLoop(task.spin_ns)
    spool = SpoolWriter(task.spool)
    plan = LoadPlan(task.schedule, Render(task.source, endpoint), len(target.urls), task.stop_ns, task.generator)
    where = origins(options, target.urls, path=target.path, run=task.run)
    hint = endpoint.token_hint if options.streaming else None
    transport = get_class("transport", options.transport)(options, where, hint=hint, sockets=loop)
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
        loop.close()
    channel.tell({**said, **_spooled(spool), "reopened": transport.reopened, "generator": task.generator, "at_ns": clock.now_ns()})


def descriptors() -> int | None:
    """Files and connections that a process may have open, at most; None where nothing limits them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard


def _allow_descriptors() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _spooled(spool: SpoolWriter) -> dict[str, Any]:
    return {
        "parts": spool.parts,
        "spool_waits": spool.waits,
        "lost_frames": spool.lost,
        "spool_failure": None if spool.failure is None else str(spool.failure),
    }
