"""What is known of a request for tokens that is being answered, and what its answer goes out on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aiperf.clock import SECOND, Now
from aiperf.config.simulator import Simulator
from aiperf.simulator.ask import Ask
from aiperf.simulator.plan import Plan


class Line(Protocol):
    """What a request came on and its answer goes out on: a connection, or one in memory. `busy` is the exchange under way."""

    busy: Any

    def send(self, data: bytes) -> None:
        """Bytes of the answer."""

    def pour(self, spring: Callable[[], bytes]) -> None:
        """What `spring` gives, over and over, as fast as it is taken."""

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` in some time, unless the line is closed or turns to another request before."""

    def done(self, *, keep_alive: bool, unannounced: bool = False) -> None:
        """The answer has been handed over; `unannounced`: close, once it is written, what the client takes for kept."""

    def cork(self) -> None:
        """Hold back what is sent from now on, until the line is closed."""

    def leave_if_idle(self) -> None:
        """Close what the client takes for kept, unless it is in use."""

    def reset(self) -> None:
        """Break off."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has come whole. `arrived_ns` (CLOCK_REALTIME) is its last segment's stamp by the kernel, or the time it was read."""

    method: bytes
    path: bytes
    number: int | None
    body: bytes
    arrived_ns: int
    keep_alive: bool = True
    version: str = "1.1"


@dataclass(slots=True, eq=False)
class Exchange:
    """What is known of a request under way. Stamps are CLOCK_REALTIME, taken just before the send; `tokens` are those sent, of each choice.

    `over` is told once, when it has ended, and whether the answer went out whole and good. `fault` is what is still to go
    wrong; `offset_ns` is CLOCK_REALTIME minus CLOCK_MONOTONIC, which the ask's times are on.
    """

    line: Line
    request: Request
    plan: Plan
    over: Callable[["Exchange", bool], None]
    serial: int
    options: Simulator
    now: Now
    fault: str | None
    offset_ns: int = 0
    status: int | None = None
    tokens: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    ask: Ask | None = None

    @property
    def created_s(self) -> int:
        """What the answer says of its time."""
        return self.request.arrived_ns // SECOND

    def end(self, *, complete: bool, keep_alive: bool = True, unannounced: bool = False) -> None:
        """Log it and hand the line back."""
        if self.line.busy is self:
            self.over(self, complete)
            self.line.done(keep_alive=keep_alive and self.request.keep_alive, unannounced=unannounced)
