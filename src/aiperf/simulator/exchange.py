"""What is known of a request for tokens that is being answered, and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiperf.clock import SECOND
from aiperf.config.simulator import Faults
from aiperf.simulator.connection import Connection, Request
from aiperf.simulator.draws import Fault
from aiperf.simulator.model import Ask
from aiperf.simulator.plan import Plan

Over = Callable[["Exchange", bool], None]
"""Is told of each request that is over, and whether its answer went out whole and good."""


@dataclass(slots=True, eq=False)
class Exchange:
    """What is known of a request under way. Stamps are CLOCK_REALTIME, taken just before the send; `tokens` are those sent, of each choice.

    `fault` is what is still to go wrong.
    """

    connection: Connection
    request: Request
    plan: Plan
    over: Over
    serial: int
    model: str
    faults: Faults
    status: int | None = None
    tokens: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    ask: Ask | None = None
    fault: Fault | None = field(init=False)

    def __post_init__(self) -> None:
        self.fault = self.plan.fault

    @property
    def generated(self) -> int:
        """Tokens of all choices."""
        return self.tokens * self.plan.choices

    @property
    def created_s(self) -> int:
        """What the answer says of its time."""
        return self.request.arrived_ns // SECOND

    def end(self, *, complete: bool, keep_alive: bool = True) -> None:
        """Log it and hand the connection back."""
        if self.connection.busy is self:
            self.over(self, complete)
            self.connection.done(keep_alive=keep_alive and self.request.keep_alive)

    def leave(self) -> None:
        """Log it as good, and close the connection unannounced."""
        if self.connection.busy is self:
            self.over(self, True)
            self.connection.leave()
