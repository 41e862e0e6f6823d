import itertools
import struct
import threading
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf import spool
from aiperf.errors import MeasureError, SpoolError
from aiperf.spool import Exchange, SpoolReader, SpoolWriter

STAMPS = st.integers(-(2**63), 2**63 - 1)
MAYBE = st.none() | STAMPS
READS = st.lists(st.tuples(STAMPS, st.binary(max_size=200)), max_size=4)
PARTS = st.lists(
    st.builds(
        lambda request, due, sent, error, reads, marks: Exchange(
            request, due=due, sent=sent, error=error, stamps=[at for at, _ in reads], bodies=[body for _, body in reads], marks=marks
        ),
        st.integers(0, 2**40),
        MAYBE,
        MAYBE,
        st.none() | st.text(max_size=5),
        READS,
        st.lists(STAMPS, max_size=3),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples of a property; each takes a number of its own."""
    path = tmp_path_factory.mktemp("spool")
    numbers = iter(range(10**9))
    return lambda: path / f"{next(numbers)}.spool"


def written(path, parts, *, frame_of=1, offsets=None):
    """Write parts, a frame every `frame_of`; gives them as they must be read back."""
    offsets = iter(offsets or range(10**6))
    writer = SpoolWriter(path, offset=lambda: next(offsets), now=lambda: 0)
    expected = []
    for i, part in enumerate(parts):
        expected.append((part.request, part.due, part.sent, part.error, part.part, list(part.stamps), list(part.bodies), list(part.marks)))
        writer.put(part, last=True)
        if i % frame_of == frame_of - 1:
            writer.cut()
    writer.close()
    return expected


def rows(frames):
    return [(r.request, r.due, r.sent, r.error, r.part, r.stamps, r.bodies, r.marks) for frame in frames for r in frame.rows]


def frame_starts(data):
    starts, at = [], 0
    while at < len(data):
        starts.append(at)
        at += 8 + struct.unpack_from("<I", data, at)[0]
    return starts


@given(parts=PARTS, frame_of=st.integers(1, 4))
def test_what_was_written_is_read_back(folder, parts, frame_of):
    path = folder()
    expected = written(path, parts, frame_of=frame_of)
    reader = SpoolReader(path)
    frames = list(reader.frames())
    assert rows(frames) == expected
    assert [frame.offset for frame in frames] == list(range(len(frames)))
    assert reader.torn() == 0
    assert list(reader.frames()) == []


@given(parts=PARTS.filter(bool), data=st.data())
def test_a_torn_tail_is_cut_off_and_the_rest_is_read_when_it_comes(folder, parts, data):
    path = folder()
    expected = written(path, parts)
    whole = path.read_bytes()
    starts = [*frame_starts(whole), len(whole)]
    end = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:end])
    reader = SpoolReader(path)
    complete = sum(at <= end for at in starts) - 1
    assert rows(reader.frames()) == expected[:complete]
    assert reader.torn() == end - starts[complete]
    path.write_bytes(whole)
    assert rows(reader.frames()) == expected[complete:]


@given(parts=PARTS.filter(bool), data=st.data())
def test_a_flipped_bit_is_never_handed_out(folder, parts, data):
    path = folder()
    expected = written(path, parts)
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    frame = max(start for start in frame_starts(whole) if start <= at)
    before = frame_starts(whole).index(frame)
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole)
    reader, found = SpoolReader(path), []
    longer = struct.unpack_from("<I", whole, frame)[0] > len(whole) - frame - 8
    if longer and struct.unpack_from("<I", whole, frame)[0] <= 1 << 30:  # a length past the end cannot be told from a torn tail
        found.extend(reader.frames())
        assert reader.torn() == len(whole) - frame
    else:
        with pytest.raises(SpoolError, match=f"frame at byte {frame} is damaged; {frame} bytes"):
            found.extend(reader.frames())
    assert rows(found) == expected[:before]


@pytest.mark.parametrize("tail", [bytes(64), bytes(8), struct.pack("<II", 3, zlib.crc32(b"abc")) + b"abc", b"\xff" * 64])
def test_a_tail_of_what_no_writer_writes_is_damage(tmp_path, tail):
    path = tmp_path / "a.spool"
    expected = written(path, [Exchange(1)])
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(tail)
    reader, found = SpoolReader(path), []
    with pytest.raises(SpoolError, match=f"byte {size} is damaged"):
        found.extend(reader.frames())
    assert rows(found) == expected


class TestParts:
    def test_carry_what_came_since_the_last_one(self, tmp_path):
        writer = SpoolWriter(tmp_path / "a", offset=lambda: 7, now=lambda: 0)
        exchange = Exchange(3, due=1, stamps=[10], bodies=[b"a"], marks=[0, spool.DRAINED, 5])
        writer.put(exchange, last=False)
        assert (exchange.stamps, exchange.bodies, exchange.marks) == ([], [], [])
        exchange.status = 200
        exchange.stamps.append(11)
        exchange.bodies.append(b"b")
        writer.put(exchange, last=True)
        writer.close()
        (frame,) = SpoolReader(tmp_path / "a").frames()
        assert frame.offset == 7
        assert [(r.part, r.last, r.status, r.stamps, r.bodies, r.marks) for r in frame.rows] == [
            (0, False, None, [10], [b"a"], [0, spool.DRAINED, 5]),
            (1, True, 200, [11], [b"b"], []),
        ]

    def test_are_cut_into_frames_by_size_and_by_age(self, tmp_path):
        clock = iter([0, spool.FRAME_NS - 1, spool.FRAME_NS, spool.FRAME_NS])
        writer = SpoolWriter(tmp_path / "a", offset=lambda: 0, now=lambda: next(clock))
        writer.put(Exchange(1), last=True)
        writer.tick()
        writer.put(Exchange(2), last=True)
        writer.tick()
        writer.put(Exchange(3, bodies=[bytes(spool.FRAME_BYTES)], stamps=[1]), last=True)
        writer.close()
        assert [[r.request for r in frame.rows] for frame in SpoolReader(tmp_path / "a").frames()] == [[1, 2], [3]]


def test_a_spool_is_never_overwritten(tmp_path):
    SpoolWriter(tmp_path / "a").close()
    with pytest.raises(FileExistsError):
        SpoolWriter(tmp_path / "a")


def test_a_file_that_cannot_be_made_is_named(tmp_path):
    with pytest.raises(MeasureError, match=r"nowhere/a: cannot be written \(No such file or directory\)"):
        SpoolWriter(tmp_path / "nowhere" / "a")


def test_a_disk_that_fails_is_kept_and_counted(tmp_path):
    writer = SpoolWriter(tmp_path / "a")
    writer._file.close()
    writer._file = (tmp_path / "a").open("rb", buffering=0)  # a file that refuses to be written, as a full disk does
    for _ in range(3):
        writer.put(Exchange(1), last=True)
        writer.cut()
    writer.close()
    assert isinstance(writer.failure, OSError)
    assert writer.lost == 3


@pytest.mark.parametrize(("now", "is_counted"), [(itertools.count().__next__, True), (lambda: 0, False)])
def test_a_wait_for_the_disk_counts_where_it_takes_time(folder, monkeypatch, now, is_counted):
    framed, looks, is_free = spool._framed, itertools.count(1), threading.Event()

    def look():
        if next(looks) == 4:  # the thread and its queue hold a frame each, so that the third waited before this
            is_free.set()
        return now()

    monkeypatch.setattr(spool, "_QUEUE", 1)
    monkeypatch.setattr(spool, "_framed", lambda frame, compress: is_free.wait() and framed(frame, compress))
    writer = SpoolWriter(folder(), now=look)
    for number in range(6):
        writer.put(Exchange(number), last=True)
        writer.cut()
    writer.close()
    assert (writer.waits > 0) is is_counted
