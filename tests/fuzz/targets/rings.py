"""Rings, control pages and large payloads whose owner writes what it likes, at any time: the native part reads them.

The bounds of every loop and copy are those of `transports/bus/native`. A soak run builds it with the address and
undefined-behaviour sanitizers and with the fuzzer's own marks, so that new ways through the C count as well.
"""

import os
import struct
from collections.abc import Callable
from contextlib import ExitStack

from tests.fuzz.pieces import parts
from tests.fuzz.target import Target
from transports.bus.errors import BadFrame
from transports.bus.messages import Message
from transports.bus.rings.native import (
    BELL,
    DATA,
    HEADER,
    LARGE,
    PAGE,
    PAGE_BYTES,
    RING,
    Pump,
    Segment,
    Writer,
)
from transports.bus.rings.receipts import verdict
from transports.bus.rings.segments import attach, make

CAPACITY = 4096
RECORD = 32  # bytes of the smallest record
SLOT, OWN = 3, 7
OLDEST, TAIL = 64, 128
_KINDS = (RING, PAGE, BELL, LARGE)


class Bench:
    """A ring that is written to as bytes, and a pump that reads it, as other members have them."""

    def __init__(self, pair: bool) -> None:
        self._fds = ExitStack()
        self.pair = pair
        self.ring_fd, self.ring = self._make(RING, CAPACITY)
        self.page_fd, self.page = self._make(PAGE, PAGE_BYTES)
        self.peer_fd, self.peer = self._make(PAGE, PAGE_BYTES)
        _, bell = self._make(BELL, 0)
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._fds.callback(os.close, self.event)
        self.pump = Pump(self.page, bell, OWN, {"unwanted": None, "wanted": "route"}, Message)
        self.pump.listen(True)
        self.attach(self.ring)

    def _make(self, kind: int, capacity: int) -> tuple[int, Segment]:
        fd, segment = make(kind, capacity)
        self._fds.callback(os.close, fd)
        return fd, segment

    def attach(self, ring: Segment, from_start: bool = True) -> None:
        if self.pair:
            self.pump.pair("w", ring, SLOT, self.peer, self.event)
        else:
            self.pump.writer("w", ring, SLOT, from_start)

    def drain(self) -> None:
        """Everything that can be drained: never more than the ring holds, and what broke is told once."""
        messages = self.pump.drain(10_000)
        assert len(messages) <= 2 * (CAPACITY // RECORD + 1)
        broken = 0
        for message in messages:
            if type(message) is tuple:
                what, token, first, last = message
                assert token == "w"
                assert what in (-1, 0)
                assert first <= last
                broken += what == -1
            else:
                assert len(message.body) <= CAPACITY
                assert len(message.topic) < 256
        assert broken <= 1
        if broken:
            assert self.pump.drain(10_000) == []
        self.pump.handled()

    def close(self) -> None:
        self.pump.close()
        self._fds.close()


def _mapped(segment: Segment, fd: int) -> Callable[[int, bytes], None]:
    """A way to write to memory that the kernel lets its owner alone write to."""
    address = _address_of(fd)

    def write(at: int, data: bytes) -> None:
        import ctypes

        ctypes.memmove(address + at, data, len(data))

    assert segment.uid
    return write


def _address_of(fd: int) -> int:
    inode = os.fstat(fd).st_ino
    with open("/proc/self/maps") as maps:
        for line in maps:
            where, access, _, _, number, *_ = line.split(maxsplit=5)
            if access.startswith("rw-s") and int(number) == inode:
                return int(where.split("-")[0], 16)
    raise AssertionError("the segment is not mapped")


_benches: dict[bool, tuple[Bench, Callable[[int, bytes], None]]] = {}


def _bench(pair: bool) -> tuple[Bench, Callable[[int, bytes], None]]:
    """One for each kind, used again: the pages of a ring are asked for once."""
    if pair not in _benches:
        bench = Bench(pair)
        Writer(bench.ring).put(b"", b"", bytes(CAPACITY // 4 - RECORD), DATA)
        for _ in range(4):  # its pages are there now: a store cannot fail
            Writer(bench.ring)
        _benches[pair] = bench, _mapped(bench.ring, bench.ring_fd)
    return _benches[pair]


def records(data: bytes) -> None:
    """The first byte: a pair, or broadcasts, read from the start or from now on. Then writes to the ring, each
    followed by what a reader does: oldest and tail in 16 bytes, the place in two, and the bytes there."""
    if not data:
        return
    pair, from_start = bool(data[0] & 1), bool(data[0] & 2)
    bench, write = _bench(pair)
    os.posix_fallocate(bench.ring_fd, 0, HEADER + CAPACITY)
    write(OLDEST, bytes(8))
    write(TAIL, bytes(8))
    write(HEADER, bytes(CAPACITY))
    bench.pump.detach(SLOT, pair)
    bench.attach(bench.ring)
    for number, part in enumerate(parts(data[1:], 8)):
        if len(part) < 10:
            continue
        oldest, tail, at = struct.unpack_from("<IIH", part)
        body = part[10:]
        place = at % CAPACITY
        write(HEADER + place, body[: CAPACITY - place])
        write(OLDEST, struct.pack("<Q", oldest))
        write(TAIL, struct.pack("<Q", tail))
        if not from_start and not pair and number == 0:
            bench.pump.detach(SLOT, False)
            bench.attach(bench.ring, False)
        if not pair:
            for message in bench.pump.replay(SLOT):
                assert len(message.body) <= CAPACITY
        bench.drain()
        bench.pump.park()
        bench.pump.unpark()
        position, _, _, _ = bench.pump.state(SLOT, pair) or (0, 0, 0, 0)
        assert position % 8 == 0


def written(data: bytes) -> None:
    """What a writer puts, a reader takes: bodies of any bytes and lengths, lapped or not."""
    bench = Bench(False)
    try:
        writer = Writer(bench.ring)
        expected: list[bytes] = []
        seen = 0
        for part in parts(data, 64):
            if len(part) > CAPACITY // 4 - RECORD - 8:
                continue
            assert writer.put(b"wanted", b"e", part, DATA) == len(expected) + 1
            expected.append(part)
            if part[:1] == b"d":
                seen = _taken(bench, expected, seen)
        assert _taken(bench, expected, seen) == len(expected)
    finally:
        bench.close()


def _taken(bench: Bench, expected: list[bytes], seen: int) -> int:
    for message in bench.pump.drain(10_000):
        if type(message) is tuple:
            what, _, first, last = message
            assert (what, first) == (0, seen + 1)
            seen = last
        else:
            assert (message.seq, message.body) == (seen + 1, expected[seen])
            seen += 1
    return seen


def pages(data: bytes) -> None:
    """A segment of each kind with any header and content: attached or refused, and read."""
    if len(data) < 2:
        return
    kind, seals, content = _KINDS[data[0] % 4], data[0] & 4, data[1:]
    size = HEADER + (PAGE_BYTES if kind == PAGE else CAPACITY)
    with ExitStack() as stack:
        fd = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        stack.callback(os.close, fd)
        os.ftruncate(fd, size)
        header = struct.pack("<QIIQQI", 0x535542454D334854, 1, kind, size - HEADER, 77, SLOT)
        os.pwrite(fd, header if data[0] & 8 else content[:44], 0)
        os.pwrite(fd, content[44:1500], 44 if data[0] & 16 else HEADER - 64)
        if not seals:
            import fcntl

            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        try:
            segment = attach(fd, kind)
        except BadFrame as error:
            if data[0] & 8 and not data[0] & 16 and not seals:
                raise AssertionError("a sound header is refused") from error
            return
        _read(kind, segment, content)


def _read(kind: int, segment: Segment, content: bytes) -> None:
    if kind == PAGE:
        for slot in (0, 1, SLOT, OWN):
            entry = segment.entry(slot)
            assert len(entry[5]) <= 2
            assert verdict(segment, slot, entry[0], int.from_bytes(content[:3], "little")) in (
                "seen",
                "lost",
                "lagging",
            )
        _gated(segment)
    elif kind == LARGE:
        length = int.from_bytes(content[:2], "little")
        generation = int.from_bytes(content[2:3], "little")
        try:
            payload = segment.copy(generation, length)
        except ValueError:
            assert length > segment.capacity
        else:
            assert payload is None or len(payload) == length
    elif kind == RING:
        bench, _ = _bench(False)
        bench.pump.writer("other", segment, SLOT + 1, False)
        try:
            bench.pump.drain(1000)
            bench.pump.replay(SLOT + 1)
        finally:
            bench.pump.detach(SLOT + 1, False)


def _gated(page: Segment) -> None:
    """A writer that waits for the owner of that page: it never writes over what it may not, and it may always end."""
    bench = Bench(False)
    try:
        writer = Writer(bench.ring)
        writer.gate(0, page, 1, False)
        writer.gate(1, page, 0, True)
        writer.member(0, bench.event, page)
        for _ in range(40):
            writer.put(b"wanted", b"e", bytes(200), DATA)
        writer.slowest()
        assert len(bench.pump.drain(100)) <= 100
        for gate in (0, 1):
            assert writer.ungate(gate)
        assert writer.put(b"wanted", b"e", b"x", DATA)
    finally:
        bench.close()


TARGETS = (
    Target(name="ring_records", run=records, longest=6000),
    Target(name="ring_written", run=written),
    Target(name="ring_pages", run=pages),
)
