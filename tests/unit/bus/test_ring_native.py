"""The native ring, alone: what it promises and what it refuses."""

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.bus.rings import Bench, attend
from transports.bus.errors import BadFrame
from transports.bus.messages import Message
from transports.bus.rings.native import (
    DATA,
    HEADER,
    LARGE,
    PAGE,
    PAGE_BYTES,
    REFERENCE,
    RING,
    Pump,
    Segment,
    Writer,
)
from transports.bus.rings.segments import attach, make


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_records_come_out_as_they_went_in(bench: Bench) -> None:
    bodies = [bytes([n]) * n for n in range(50)]
    for n, body in enumerate(bodies):
        assert bench.put(body) == n + 1
    records = bench.pump.drain(1000)
    assert [record.body for record in records] == bodies
    assert [record.seq for record in records] == list(range(1, 51))
    assert all((r.flags, r.peer, r.topic, r.envelope) == (DATA, "w", "t", b"e") for r in records)
    assert not bench.pump.special


def test_drain_is_capped(bench: Bench) -> None:
    for _ in range(20):
        bench.put(b"x")
    assert len(bench.pump.drain(7)) == 7
    assert bench.pump.pending()
    assert len(bench.pump.drain(100)) == 13


def test_topics_nobody_wants_are_not_copied(bench: Bench) -> None:
    bench.routes["boring"] = None
    bench.routes["t"] = "route"
    for topic in (b"boring", b"t", b"boring", b"new"):
        bench.put(b"x", topic)
    records = bench.pump.drain(100)
    assert [(record.route, record.topic) for record in records] == [("route", "t"), (None, "new")]
    assert bench.pump.counters()[:2] == (2, 2)


def test_lapped_reader_gets_a_gap_and_goes_on(bench: Bench) -> None:
    for n in range(1000):
        bench.put(struct.pack("<q", n) * 10)
    records = bench.pump.drain(2000)
    what, _, first, last = records[0]
    assert (what, first) == (0, 1)
    numbers = [struct.unpack_from("<q", record.body)[0] for record in records[1:]]
    assert numbers == list(range(last, 1000))
    assert bench.pump.special
    ring, _, _, lost, gaps, last_gaps, *_ = bench.reader_page.entry(3)
    assert (ring, lost, gaps, last_gaps) == (bench.ring.uid, last, 1, [(1, last)])


def test_gated_writer_is_held_up_until_the_reader_moves() -> None:
    bench = Bench(pair=True)
    try:
        written = 0
        while bench.put(b"x" * 100):
            written += 1
        assert 20 < written < 40
        assert bench.writer.slowest() == (0, 0)
        assert len(bench.pump.drain(1)) == 1
        assert bench.put(b"x" * 100)
        assert bench.writer.ungate(0)
        for _ in range(100):
            assert bench.put(b"x" * 100)
    finally:
        bench.close()


def test_waiting_writer_is_woken_by_the_reader() -> None:
    bench = Bench(pair=True)
    try:
        while bench.put(b"x" * 100):
            pass
        writer_pump = Pump(bench.writer_page, bench.bell, 3, {}, Message)
        bench.rung()
        bench.pump.drain(1)
        assert not bench.rung()
        writer_pump.want_room(7, bench.ring.uid)
        bench.pump.drain(1)
        assert bench.rung()
        writer_pump.want_room(7, 0)
        bench.pump.drain(1)
        assert not bench.rung()
        writer_pump.close()
    finally:
        bench.close()


def test_sleeper_is_rung_once_per_sleep(bench: Bench) -> None:
    bench.put(b"x")
    assert not bench.rung()
    bench.pump.drain(10)
    assert bench.pump.park()
    bench.put(b"x")
    assert bench.rung()
    bench.put(b"x")
    assert not bench.rung()
    assert not bench.pump.park()  # there is more: it did not lie down
    bench.pump.drain(10)
    assert bench.pump.park()
    bench.put(b"x")
    assert bench.rung()


def test_late_reader_starts_at_the_end_or_replays(bench: Bench) -> None:
    for n in range(5):
        bench.put(bytes([n]))
    fd, page = make(PAGE, PAGE_BYTES)
    late = Pump(page, bench.bell, 8, {}, Message)
    late.listen(True)
    late.writer("w", bench.ring, 3, False)
    assert late.drain(10) == []
    assert [record.body for record in late.replay(3)] == [bytes([n]) for n in range(5)]
    bench.put(b"new")
    assert [(record.seq, record.body) for record in late.drain(10)] == [(6, b"new")]
    late.close()
    os.close(fd)


def test_record_beyond_the_limit_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        bench.put(b"x" * 2000)


@pytest.mark.parametrize("kind", [RING, PAGE, LARGE])
def test_readers_are_read_only_by_rule_of_the_kernel(kind: int) -> None:
    fd, _segment = make(kind, PAGE_BYTES if kind == PAGE else 4096)
    with pytest.raises(PermissionError):
        mmap.mmap(fd, 4096)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    mmap.mmap(fd, 4096, prot=mmap.PROT_READ).close()
    other = attach(fd, kind)
    with pytest.raises(ValueError, match="read-only"):
        Writer(other) if kind == RING else other.fill(b"x") if kind == LARGE else Pump(other, other, 0, {}, Message)
    os.close(fd)


def raw_segment(header: bytes, size: int = 8192, seal: bool = True) -> int:
    fd = os.memfd_create("raw", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    os.pwrite(fd, header, 0)
    if seal:
        fcntl.fcntl(fd, 1033, 0x2 | 0x4)
    return fd


MAGIC = 0x535542454D334854


@pytest.mark.parametrize(
    ("header", "size", "seal", "said"),
    [
        (b"", 100, True, "100 bytes"),
        (b"", 8192, True, "magic"),
        (struct.pack("<QIIQQI", MAGIC, 99, RING, 4096, 1, 0), 8192, True, "layout 99"),
        (struct.pack("<QIIQQI", MAGIC, 1, PAGE, 4096, 1, 0), 8192, True, "expected a ring"),
        (struct.pack("<QIIQQI", MAGIC, 1, RING, 1 << 40, 1, 0), 8192, True, "contradicts"),
        (struct.pack("<QIIQQI", MAGIC, 1, RING, 4095, 1, 0), 8192, True, "contradicts"),
        (struct.pack("<QIIQQI", MAGIC, 1, RING, 4096, 1, 5000), 8192, True, "contradicts"),
        (struct.pack("<QIIQQI", MAGIC, 1, RING, 4096, 1, 0), 8192, False, "shrink"),
    ],
)
def test_foreign_segments_are_refused_with_the_reason(header: bytes, size: int, seal: bool, said: str) -> None:
    fd = raw_segment(header, size, seal)
    with pytest.raises(BadFrame, match=said):
        attach(fd, RING)
    os.close(fd)


def test_large_payload_is_copied_or_known_to_be_gone() -> None:
    fd, segment = make(LARGE, 1 << 16)
    reader = attach(fd, LARGE)
    generation = segment.fill(b"first")
    assert reader.copy(generation, 5) == b"first"
    later = segment.fill(b"other")
    assert reader.copy(generation, 5) is None
    assert reader.copy(later, 5) == b"other"
    with pytest.raises(ValueError, match="beyond"):
        reader.copy(later, 1 << 20)
    with pytest.raises(ValueError, match="larger"):
        segment.fill(b"x" * ((1 << 16) + 1))
    os.close(fd)


def test_a_segment_takes_the_pages_that_its_largest_payload_needs_and_keeps_them() -> None:
    def taken(fd: int) -> int:
        return os.fstat(fd).st_blocks * 512 - HEADER

    fd, segment = make(LARGE, 1 << 20)
    reader = attach(fd, LARGE)
    assert taken(fd) == 0
    for size, pages in ((10, 1), (5 * 4096, 5), (4096, 5), (5 * 4096 + 1, 6), (1 << 20, 256), (0, 256)):
        payload = os.urandom(size)
        assert reader.copy(segment.fill(payload), size) == payload
        assert taken(fd) == pages * 4096
    os.close(fd)


@pytest.mark.parametrize(
    ("size", "flags", "topic", "seq", "envelope", "body"),
    [
        (0, DATA, 0, 1, 0, 0),
        (7, DATA, 0, 1, 0, 0),
        (1 << 30, DATA, 0, 1, 0, 0),
        (40, 0, 0, 1, 0, 0),
        (40, DATA, 0, 1, 0xFFFFFFFF, 0),
        (40, DATA, 0xFFFF, 1, 0, 0),
        (40, REFERENCE, 0, 1, 0, 0xFFFFFFF0),
        (40, DATA, 4, 0, 0, 0),
    ],
)
def test_ring_full_of_lies_is_dropped_with_a_counter(
    size: int, flags: int, topic: int, seq: int, envelope: int, body: int
) -> None:
    """A ring whose owner writes what it likes: the reader says so once, and reads no further."""
    record = struct.pack("<IHHQIIQ", size, flags, topic, seq, envelope, body, 0) + b"\xff" * 64
    header = struct.pack("<QIIQQI", MAGIC, 1, RING, 4096, 1, 0)
    fd = raw_segment(header)
    os.pwrite(fd, struct.pack("<Q", 96), 128)
    os.pwrite(fd, record, HEADER)
    bench = Bench()
    bench.pump.writer("liar", attach(fd, RING), 9, True)
    records = bench.pump.drain(10)
    assert [(record[0], record[1]) for record in records] == [(-1, "liar")]
    assert bench.pump.drain(10) == []
    bench.put(b"still here")
    assert [record.body for record in bench.pump.drain(10)] == [b"still here"]
    bench.close()
    os.close(fd)


def test_arguments_are_checked(bench: Bench) -> None:
    with pytest.raises(TypeError):
        bench.writer.put("t", b"", b"", DATA)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        bench.writer.put(b"t", b"", b"")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="slot"):
        bench.pump.writer("w", bench.ring, 5000, True)
    with pytest.raises(ValueError, match="ring segment"):
        bench.pump.writer("w", bench.bell, 1, True)
    with pytest.raises(TypeError):
        Segment()  # type: ignore[call-arg]
    fd = os.memfd_create("x")
    os.ftruncate(fd, 1 << 16)
    with pytest.raises(ValueError, match="power of two"):
        Segment.make(fd, RING, 5000, 1, 0)
    os.close(fd)


def test_lingering_finds_what_comes_and_gives_up_in_time(bench: Bench) -> None:
    started = time.monotonic()
    found = bench.pump.linger(2_000_000)
    assert found is None or (found is False and time.monotonic() - started >= 0.002)  # None: the core is wanted
    bench.put(b"x")
    assert bench.pump.linger(10_000_000_000) is True
    assert len(bench.pump.drain(10)) == 1


def test_what_comes_while_it_lingers_is_found(bench: Bench) -> None:
    """From another thread: the interpreter is free meanwhile."""
    later = threading.Timer(0.02, bench.put, [b"x"])
    later.start()
    deadline = time.monotonic() + 10
    while bench.pump.linger(5_000_000) is not True and time.monotonic() < deadline:
        pass
    later.join()
    assert [record.body for record in bench.pump.drain(10)] == [b"x"]


def test_a_page_says_how_long_its_owner_spins(bench: Bench) -> None:
    attend(bench.pump, spin=20_000_000)
    assert bench.reader_page.spin == 20_000_000
    assert bench.writer_page.spin == 0
    with pytest.raises(ValueError, match="page segment"):
        bench.ring.spin  # noqa: B018
