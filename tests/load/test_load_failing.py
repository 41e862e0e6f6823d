"""Where nothing can be sent, time goes on: the load ends when it should, and says what happened."""

from pathlib import Path

import numpy as np
from virtual import SECOND, Played, constant

from aiperf.cluster.inline import InlineChannel
from aiperf.load.generator import Generator, LoadPlan
from aiperf.load.loop import EpollLoop
from aiperf.results import Pulse
from aiperf.seams import Flights
from aiperf.spool import Exchange, SpoolReader, SpoolWriter
from aiperf.workload import Phase, Request, Schedule


class Refusing:
    """Ends every request within `send`, as a transport without descriptors does."""

    flights: Flights

    def tell(self, flights: Flights) -> None:
        self.flights = flights

    def send(self, exchange: Exchange, number: bytes, body: bytes) -> None:
        exchange.started = exchange.end = exchange.ready
        exchange.error = "client"
        self.flights.landed(exchange)

    def sweep(self) -> None:
        pass

    def abandon(self, error: str, reason: str) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_closed_loop_whose_requests_all_fail_at_once_ends_after_its_duration(tmp_path: Path) -> None:
    loop, channel = EpollLoop(), InlineChannel()
    spool = SpoolWriter(tmp_path / "spool")
    schedule = Schedule((Phase("profiling", concurrency=3, duration_ns=SECOND // 10),), grace_ns=SECOND)
    plan = LoadPlan(schedule, lambda phase, place: Request(place, b"", 1, None), 1, None)
    began = loop.monotonic_ns()
    said = Generator(plan, loop, spool, channel).run(Refusing())
    took = loop.monotonic_ns() - began
    spool.close()
    loop.close()
    rows = [row for frame in SpoolReader(tmp_path / "spool").frames() for row in frame.rows]
    assert SECOND // 10 < took < 60 * SECOND
    assert [row.request for row in rows] == list(range(said["requests"]))
    assert {row.error for row in rows} == {"client"}
    assert len(rows) <= 3 * 2  # each slot rests a tenth of a second


def test_arrivals_that_wait_for_a_slot_are_in_the_pulse(tmp_path: Path) -> None:
    played = Played(tmp_path, constant(10, 20, concurrency=1), lambda _: SECOND)
    pulses = [message for message in played.channel.up if isinstance(message, Pulse)]
    at_two_seconds = next(pulse for pulse in pulses if pulse.at_ns - pulses[0].at_ns >= 2 * SECOND)
    assert (at_two_seconds.due, at_two_seconds.sent) == (20, 3)
    assert (pulses[-1].due, pulses[-1].sent, pulses[-1].done) == (20, 20, 20)


def test_the_grace_begins_when_the_run_ends_not_when_its_last_request_was_sent(tmp_path: Path) -> None:
    schedule = Schedule((Phase("profiling", due_ns=np.array([0]), duration_ns=10 * SECOND),), grace_ns=SECOND)
    played = Played(tmp_path, schedule, lambda _: 10 * SECOND)
    assert played.rows[0].error is None


def test_a_stop_in_the_warm_up_leaves_an_empty_window(tmp_path: Path) -> None:
    schedule = Schedule((Phase("warmup", concurrency=1, requests=100), Phase("profiling", concurrency=1, requests=5)), grace_ns=SECOND)
    played = Played(tmp_path, schedule, lambda _: SECOND, user_stop_ns=3 * SECOND)
    start, end = played.said["window"]
    assert start == end
    assert {row.phase for row in played.rows.values()} == {0}
