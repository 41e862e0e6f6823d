"""What the connections of a transport have in common."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiperf import clock
from aiperf.seams import Flights, Sockets
from aiperf.spool import Exchange

if TYPE_CHECKING:  # a connection has a home, and a home is told of connections
    from aiperf.transports.connection import Connection


@dataclass(slots=True)
class Home:
    """The loop, the load that is told, and the rules.

    `over` is told that a request is over on a connection, which may be idle now; `again` that one of which nothing was taken
    in (head and body) is to go out on a new connection.
    """

    sockets: Sockets
    hint: re.Pattern[bytes] | None
    most_bytes: int
    over: "Callable[[Connection, Exchange], None]"
    again: Callable[[Exchange, bytes, bytes], None]
    now: clock.Now = clock.now_ns
    flights: Flights = field(init=False)

    def is_token(self, piece: bytes) -> bool:
        """Whether there is an event with a token in bytes of a body."""
        return self.hint is not None and self.hint.search(piece) is not None
