"""Every protocol, one page. A seam has one to three methods; what crosses it is frozen, or an Exchange in flight.

`Made as` says how a plugin is called into being; `endpoint`, `dataset` and `timing` are those groups of the experiment.
One whose class has an `Options` model gets `options=` besides: what `<group>.options` says, checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # a launch reads this page before anything else; numpy and Arrow would be a fifth of it
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from aiperf.results import Outlook, Pulse, Slo, Summary
    from aiperf.spool import Exchange
    from aiperf.workload import Lengths, Schedule, Turn

Callback = Callable[[], None]


class Loop(Protocol):
    """Runs callbacks at absolute CLOCK_MONOTONIC times. A real one and a virtual one (tests, rehearsals) behave alike.

    `idle`, if set, is called with the nanoseconds in which nothing is due, and says whether it found work; `idle_ns` is
    the time that was spent waiting.
    """

    idle: Callable[[int], bool] | None
    idle_ns: int

    def monotonic_ns(self) -> int:
        """The clock of due times."""

    def now_ns(self) -> int:
        """The clock of stamps."""

    def at(self, due_ns: int, callback: Callback, *, exact: bool = False) -> None:
        """Call once when `due_ns` has come, before anything else that is ready; `exact`: as near to it as the clock allows."""

    def run(self, until: Callable[[], bool]) -> None:
        """Turn until `until` says so."""


class Sockets(Protocol):
    """The part of a real loop that a transport on sockets needs."""

    def watch(self, fd: int, handler: Readiness) -> None:
        """Hand readiness of a descriptor to `handler` until `forget`."""

    def want_write(self, fd: int, wanted: bool) -> None:
        """Report writability too, or no longer."""

    def forget(self, fd: int) -> None:
        """Stop watching; to be called before the descriptor is closed."""


class Readiness(Protocol):
    """Who is told that a descriptor is ready. `urgent`: a first token is awaited, serve me before the others."""

    urgent: bool

    def ready(self, mask: int, low_ns: int) -> None:
        """`low_ns` (CLOCK_REALTIME) is when the last look began that did not report this descriptor."""


class Transport(Protocol):
    """Carries bytes and stamps them. Whatever goes wrong with a request becomes its error class; nothing is raised.

    Made as `cls(endpoint, origins, hint=, sockets=)`.
    """

    def tell(self, flights: Flights) -> None:
        """Say from now on what lands to this load."""

    def send(self, exchange: Exchange, number: bytes, body: bytes) -> None:
        """Begin on a request; its reads are appended to the exchange, and `Flights.landed` is told when it is over."""

    def sweep(self) -> None:
        """Look at deadlines; called about fifty times a second."""

    def abandon(self, error: str, reason: str) -> None:
        """End whatever is in flight with this class and reason."""

    def close(self) -> None:
        """Close every connection."""


class Flights(Protocol):
    """What a transport tells the load."""

    def part(self, exchange: Exchange) -> None:
        """Enough has been read for a part of the spool."""

    def landed(self, exchange: Exchange) -> None:
        """The request is over, for better or worse."""


class Endpoint(Protocol):
    """What is said: bodies out, events in. Pure.

    Made as `cls(endpoint, model=, exact=, usage=)`.
    """

    token_hint: bytes
    """A regular expression that finds an event with a generated token; it may miss one, it must not find what is none."""

    def body(self, turn: Turn) -> bytes:
        """The request's body."""

    def answer(self, exchange: Answer) -> Said:
        """What an answer's bytes say; raises nothing, a malformed answer is an error class."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes of one request as they came, a body a read, and what HTTP said; `stamps` are when (ns, one a read), where known."""

    status: int | None
    content_type: str | None
    bodies: Sequence[bytes]
    complete: bool
    stamps: Sequence[int] = ()


@dataclass(slots=True)
class Said:
    """What the bytes of an answer say. Lists are parallel: an entry an event.

    `reads[i]` is the read that completed event i, `at_end[i]` whether the event's end was the last body byte of that
    read, `tokens[i]` the tokens that the server itself counted for the event (0: it did not say).
    """

    reads: list[int] = field(default_factory=list)
    at_end: list[bool] = field(default_factory=list)
    channels: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reason: str | None = None
    model: str | None = None
    error: str | None = None
    reason: str | None = None
    think_tags: bool = False
    text: str | None = None
    """What was generated, where the server did not count it (no usage); None where it did."""
    choices: int = 1
    """How many answers it holds: several to a batch of prompts, each of the length that was asked for."""
    plugin: Mapping[str, Any] | None = None
    """What an endpoint has to say besides; it becomes the column `plugin`, and finite numbers in it are summarised."""


SAYS = ("texts", "messages", "payload", "tools", "batches", "token_ids")
"""What turns may hold beside one text; an endpoint declares which of them it `takes`."""


class Source(Protocol):
    """Where conversations come from: turns by number, rendered when asked for and never kept.

    `notes` are sentences for a person; `says` are names of SAYS, what its turns hold.

    Made as `cls(dataset, seed=, wording=)`.
    """

    notes: tuple[str, ...]
    says: frozenset[str]

    def turn(self, conversation: int, *, warmup: bool) -> Turn:
        """The first turn of a conversation; a warm-up gets other text than the run."""

    def lengths(self, conversations: NDArray[np.int64]) -> Lengths:
        """The asked lengths of these conversations, without rendering them."""

    def due_ns(self) -> NDArray[np.int64] | None:
        """Recorded times of the rows from the first (ascending), if the data have them."""


class Loader(Protocol):
    """The rows of a data file: columns of numbers, and what is long read from the file when a row is rendered.

    Raises DataError for rows that cannot be used, with file, line, field and value. `notes` and `says` as in Source.

    Made as `cls(path, dataset, seed=, wording=)`.
    """

    notes: tuple[str, ...]
    says: frozenset[str]

    @staticmethod
    def claims(row: Mapping[str, Any]) -> bool:
        """Whether a file with this first row looks like one of this format; where `dataset.format` is unset one loader may say so."""

    def turn(self, row: int, *, warmup: bool) -> Turn:
        """A row, rendered now; a warm-up gets other text than the run where text is drawn."""

    def lengths(self, rows: NDArray[np.int64]) -> Lengths:
        """The asked lengths of these rows, without rendering them."""

    def due_ns(self) -> NDArray[np.int64] | None:
        """Recorded times of the rows (ascending, one a row), if the data have them."""

    def __len__(self) -> int:
        """How many rows there are."""


class Sampler(Protocol):
    """Which row a conversation is. Pure and seeded: conversations are counted without end, rows end.

    Made as `cls(rows, seed=)`.
    """

    def rows(self, conversations: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of these conversations."""


class Tokenizer(Protocol):
    """Counts tokens as a server's model would."""

    @property
    def template_tokens(self) -> int | None:
        """What its chat template adds to the one message of a user; None if it has none, or not always as many."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without special tokens."""

    def vocabulary(self) -> Sequence[str]:
        """Every token as text, in the tokenizer's own spelling."""


class Arrivals(Protocol):
    """An arrival process: pure and seeded. The same seed gives the same times; longer arrays begin with shorter ones.

    Made as `cls(rate_per_s, seed=)`.
    """

    def offsets(self, count: int) -> NDArray[np.int64]:
        """The first `count` arrivals as int64 nanoseconds from the start, ascending."""

    def until(self, duration_ns: int) -> NDArray[np.int64]:
        """The arrivals before `duration_ns`."""


class Strategy(Protocol):
    """Decides when requests are due, before the start.

    Made as `cls(timing, seed=)`.
    """

    def schedule(self, recorded_ns: NDArray[np.int64] | None) -> Schedule:
        """The phases of the run; `recorded_ns` are the data's own times, if they have any."""


class Metric(Protocol):
    """A pure function on the columns of records: one value a row (a float64 array, or an Arrow list a row), null where there is none."""

    def __call__(self, records: pa.Table, /) -> pa.Array:
        """The column."""


class RunMetric(Protocol):
    """A pure function on the judged window of a run: one value, None where there is none."""

    def __call__(self, view: Any, /) -> float | None:
        """The value; `view` is a `metrics.view.RunView`."""


class Exporter(Protocol):
    """A function that writes a file beside summary.json."""

    def __call__(self, summary: Summary, trial: Path, /, *, name: str, records: Path) -> None:
        """`trial` is the folder of summary.json, `records` that of the Parquet files, `name` the experiment's."""


class Judge(Protocol):
    """Says which promises were kept."""

    def __call__(self, records: pa.Table, seconds: float) -> Sequence[Slo]:
        """The promises; `seconds` is the window's length."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work for a process of its own: a `module:function` that takes a Channel and the argument (pickled on the way).

    `cores` are those that it may run on (None: any), `log` is where its log lines go, and of which level.
    """

    name: str
    target: str
    argument: Any
    nice: int = 0
    cores: frozenset[int] | None = None
    log: tuple[Path, str] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What a worker said, or, with `ended`, that it is gone and why (`error` None: as it should)."""

    worker: str
    message: Any = None
    ended: bool = False
    error: str | None = None


class Channel(Protocol):
    """A worker's line to the parent. A worker whose parent is gone gets `closed` and must stop."""

    closed: bool

    def tell(self, message: object) -> None:
        """Send a message up; never blocks for long, never raises."""

    def told(self) -> list[Any]:
        """Messages from the parent that have come so far."""

    def fileno(self) -> int:
        """A descriptor that is readable when something has come, -1 if there is none."""


class Cluster(Protocol):
    """Where generators and processors live.

    Made as `cls(hatched)`.
    """

    def start(self, job: Job) -> None:
        """Start a worker under the job's name."""

    def tell(self, worker: str, message: object) -> None:
        """Send a message down; to a worker that is gone, nothing."""

    def wait(self, timeout_s: float, hear: Callable[[Event], None]) -> None:
        """Tell what happened since the last call, waiting for something if nothing did; one that works instead of waiting tells at once."""

    def end(self, worker: str) -> None:
        """Kill one worker, whatever it does; `wait` tells of it."""

    def close(self) -> None:
        """End what still runs."""


class StopRule(Protocol):
    """Says from the pulses when enough has been sent. What waits then is `unsent` for this reason; what is in flight has its grace."""

    def __call__(self, pulse: Pulse) -> str | None:
        """Why nothing new is to be sent, in a word; None: go on. Called for each pulse."""


class Precision(Protocol):
    """Judges from pulses whether what was asked for is known well enough; each is shown to it once, in the order in which they came."""

    def __call__(self, pulse: Pulse) -> bool:
        """Whether it is, with this pulse of the run."""


class Screen(Protocol):
    """What a person sees while it runs.

    Made as `cls(say)`.
    """

    def line(self, text: str) -> None:
        """Say something once."""

    def showing(self, outlook: Outlook) -> AbstractContextManager[None]:
        """The time in which pulses come; however it ends, the terminal is as it was."""

    def pulse(self, pulse: Pulse) -> None:
        """Take a generator's pulse; called for each."""


Response = tuple[int, Mapping[str, str], bytes]


class Fetch(Protocol):
    """A plain GET or POST for readiness, probes and telemetry; raises MeasureError with what was tried."""

    def __call__(self, url: str, body: bytes | None = None, *, timeout_s: float = 5.0) -> Response:
        """Status, headers (lower case) and body."""

    def watched(self, url: str, body: bytes, *, timeout_s: float) -> tuple[Response, bool]:
        """The same of a POST, and whether the server then closed a connection that it had promised to keep."""
