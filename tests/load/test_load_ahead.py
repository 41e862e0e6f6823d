"""The window of rendered requests: in order, bounded, and never in the way."""

from hypothesis import given
from hypothesis import strategies as st
from virtual import VirtualLoop

from aiperf.load.ahead import Ahead, Filler
from aiperf.load.pulse import place
from aiperf.workload import Request


def render(number: int) -> Request:
    return Request(number, b"x" * 100, 1, None)


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 1000), st.integers(1, 20), st.integers(0, 60) | st.none())
def test_requests_come_in_order_whatever_is_rendered_when(steps: list[bool], room: int, most: int, total: int | None) -> None:
    ahead, taken = Ahead(render, total, room_bytes=room, room_requests=most), 0
    for fill in steps:
        if fill:
            filled = ahead.fill()
            assert ahead.bytes <= max(100, room + 99)
            assert ahead.bytes <= most * 100
            assert not (filled and total is not None and ahead.bytes > (total - taken) * 100)
        elif total is None or taken < total:
            assert ahead.take().conversation == taken
            taken += 1


def test_nothing_is_rendered_into_a_due_time() -> None:
    ahead = Ahead(render, None)
    filler = Filler(VirtualLoop(), [ahead])
    assert not filler.idle(10_000)
    assert ahead.bytes == 0
    assert filler.idle(10_000_000)
    assert ahead.bytes == 100


def test_one_long_pause_does_not_end_all_rendering_ahead() -> None:
    loop = VirtualLoop()

    def slow(number: int) -> Request:
        loop.at(loop.monotonic_ns() + (50_000_000 if number == 0 else 10_000), lambda: None)
        loop.run(lambda: False)
        return render(number)

    ahead = Ahead(slow, None)
    filler = Filler(loop, [ahead])
    assert filler.idle(10_000_000)  # and the process is stopped in the middle of it
    assert not filler.idle(10_000_000)
    refused = next(i for i in range(1000) if filler.idle(10_000_000))
    assert 10 < refused < 500


@given(st.integers(1, 10**12))
def test_a_histogram_place_holds_its_duration_within_two_per_cent(ns: int) -> None:
    low = 1_000 * 1.02 ** place(ns)
    assert ns < low * 1.021
    assert ns >= low * 0.999 or ns < 1_000


@given(st.lists(st.booleans(), max_size=100), st.integers(1, 300), st.integers(1, 5), st.integers(0, 20))
def test_full_is_when_no_more_is_rendered(steps: list[bool], room: int, most: int, total: int) -> None:
    ahead, left = Ahead(render, total, room_bytes=room, room_requests=most), total
    for fill in steps:
        if fill:
            was = ahead.full
            assert ahead.fill() is not was
        elif left:
            ahead.take()
            left -= 1
