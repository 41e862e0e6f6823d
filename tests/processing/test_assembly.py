import msgspec
from hypothesis import given
from hypothesis import strategies as st
from spooled import OFFSET, START, writer

from aiperf.processing.assembly import LOST_PART, Assembly, Follower
from aiperf.spool import Exchange, Frame


def parts_of(number, sizes, **head):
    """Parts with `sizes` reads; each read's body names the request and the read, each part's first read is marked."""
    read, parts = 0, []
    for i, size in enumerate(sizes):
        names = range(read, read + size)
        parts.append(
            Exchange(
                number,
                due=number,
                part=i,
                last=i == len(sizes) - 1,
                status=200 if i else None,
                stamps=[START + n for n in names],
                bodies=[b"%d.%d" % (number, n) for n in names],
                marks=[0, i, 100 + read] if size else [],
                **head,
            )
        )
        read += size
    return parts


def completed(assembly, frames):
    return [whole for frame in frames for whole in assembly.complete(frame, 0)]


REQUESTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=6)


@given(REQUESTS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_parts_that_come_mixed_are_put_together(requests, random, shards):
    """Parts of one request keep their order; those of others come between."""
    queues = [parts_of(number, sizes) for number, sizes in enumerate(requests)]
    frames = []
    while any(queues):
        frames.append(Frame(OFFSET, [random.choice([q for q in queues if q]).pop(0)]))
    wholes = []
    for shard in range(shards):
        assembly = Assembly(shard, shards)
        found = completed(assembly, copies(frames))
        assert all(whole.exchange.request % shards == shard for whole in found)
        assert list(assembly.left()) == []
        wholes += found
    assert sorted(whole.exchange.request for whole in wholes) == list(range(len(requests)))
    for whole in wholes:
        number, sizes = whole.exchange.request, requests[whole.exchange.request]
        assert whole.exchange.bodies == [b"%d.%d" % (number, n) for n in range(sum(sizes))]
        assert whole.exchange.stamps == [START + n for n in range(sum(sizes))]
        firsts = [(sum(sizes[:i]), i) for i, size in enumerate(sizes) if size]
        assert whole.exchange.marks == [value for first, i in firsts for value in (first, i, 100 + first)]
        assert whole.exchange.status == (200 if len(sizes) > 1 else None)
        assert (whole.due_ns, whole.lost, whole.exchange.error) == (number + OFFSET, False, None)


def copies(frames):
    return msgspec.msgpack.decode(msgspec.msgpack.encode(frames), type=list[Frame])


def test_what_never_ended_is_left():
    assembly = Assembly(0, 1)
    first, second, _ = parts_of(1, [1, 1, 1])
    assert completed(assembly, [Frame(OFFSET, [first]), Frame(OFFSET + 5, [second])]) == []
    (left,) = assembly.left()
    assert (left.exchange.bodies, left.due_ns) == ([b"1.0", b"1.1"], 1 + OFFSET)
    assert list(assembly.known) == [1]
    assert list(assembly.left()) == []


def test_a_part_that_is_missing_is_no_silent_hole():
    for missing in (0, 1):
        parts = parts_of(1, [1, 1, 1])
        del parts[missing]
        (whole,) = completed(Assembly(0, 1), [Frame(0, parts)])
        assert (whole.exchange.error, whole.exchange.reason) == ("client", LOST_PART)


def test_one_request_a_phase_ties_the_plan_to_the_clock():
    assembly = Assembly(0, 1)
    rows = [Exchange(n, phase=n % 2, due=None if n == 1 else n, last=True) for n in range(5)]
    assert len(completed(assembly, [Frame(OFFSET, rows)])) == 5
    assert assembly.anchors == {0: (0, OFFSET), 1: (3, 3 + OFFSET)}


class TestFollower:
    def test_follows_a_spool_that_grows(self, tmp_path):
        follower = Follower(tmp_path / "a", 2)
        assert list(follower.frames()) == []
        assert follower.torn() == 0
        file = writer(tmp_path / "a", [10, 40, 20])
        for number in range(3):
            file.put(Exchange(number), last=True)
            file.cut()
        file.close()
        whole = (tmp_path / "a").read_bytes()
        (tmp_path / "a").write_bytes(whole[:-1])
        assert [row.request for frame in follower.frames() for row in frame.rows] == [0, 1]
        assert (follower.frames_read, follower.clock_step_ns, follower.damage) == (2, 30, None)
        assert follower.torn() > 0
        (tmp_path / "a").write_bytes(whole)
        assert [row.request for frame in follower.frames() for row in frame.rows] == [2]
        assert (follower.frames_read, follower.clock_step_ns, follower.torn()) == (3, 30, 0)

    def test_stops_at_damage_and_says_where(self, tmp_path):
        file = writer(tmp_path / "a")
        for number in range(2):
            file.put(Exchange(number), last=True)
            file.cut()
        file.close()
        broken = bytearray((tmp_path / "a").read_bytes())
        broken[-1] ^= 1
        (tmp_path / "a").write_bytes(broken)
        follower = Follower(tmp_path / "a", 0)
        assert [row.request for frame in follower.frames() for row in frame.rows] == [0]
        assert "is damaged" in follower.damage
        assert list(follower.frames()) == []
        assert follower.torn() == 0
