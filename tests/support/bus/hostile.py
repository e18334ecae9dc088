"""A member that writes to its shared memory whatever it likes, and what its readers make of that.

Each attack is a process of its own, `python -m tests.support.bus.hostile NAME`: one that is not withstood ends it by a
signal, or does not end at all. Where the memory changes while it is read, a child of that process changes it.
"""

import asyncio
import contextlib
import fcntl
import mmap
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from transports.bus import Bus, BusOptions
from transports.bus.messages import Message
from transports.bus.rings.native import (
    BELL,
    DATA,
    HEADER,
    PAGE,
    PAGE_BYTES,
    RING,
    Pump,
    Segment,
    Writer,
    is_doorbell,
    ring,
)
from transports.bus.rings.segments import attach, make

MAGIC = 0x535542454D334854
_OLDEST, _TAIL = 64, 128
_SHRINK, _GROW = 0x2, 0x4
_WRITERS_SLOT, _READERS_SLOT = 9, 7
_RACING = 0.7  # seconds
_IN_TIME = 2.0  # seconds for what takes milliseconds


class Memory:
    """A segment that nobody of ours made, and that its maker goes on writing to."""

    def __init__(self, kind: int = RING, capacity: int = 4096) -> None:
        self.fd = os.memfd_create("hostile", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        self.capacity = capacity
        os.ftruncate(self.fd, HEADER + capacity)
        self.bytes = mmap.mmap(self.fd, HEADER + capacity)
        self.write(0, struct.pack("<QIIQQI", MAGIC, 1, kind, capacity, 1, 0))
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SHRINK | _GROW)

    def write(self, offset: int, what: bytes) -> None:
        self.bytes[offset : offset + len(what)] = what

    def number(self, offset: int, value: int) -> None:
        self.write(offset, struct.pack("<Q", value))

    def spans(self, oldest: int, tail: int) -> None:
        self.number(_OLDEST, oldest)
        self.number(_TAIL, tail)

    def record(self, position: int, seq: int, size: int = 40, flags: int = DATA, body: int = 4) -> None:
        header = struct.pack("<IHHQIIQ", size, flags, 0 if flags == 1 else 1, seq, 0, body, 0)
        at = HEADER + position % self.capacity
        self.write(at, (header + b"t" + bytes(7))[: HEADER + self.capacity - at])


class Reader:
    """Another member's pump."""

    def __init__(self, payload_limit: int = 1 << 30) -> None:
        (first, page), (second, bell) = make(PAGE, PAGE_BYTES), make(BELL, 0)
        os.close(first)
        os.close(second)
        self.pump = Pump(page, bell, _READERS_SLOT, {}, Message, payload_limit)
        self.pump.listen(True)

    def reads(self, ring: Segment, from_start: bool = True) -> None:
        self.pump.detach(_WRITERS_SLOT, False)
        self.pump.writer("liar", ring, _WRITERS_SLOT, from_start)

    def told(self) -> list[Any]:
        """What the ring's readers are told until it is empty; each step in time."""
        all_told: list[Any] = []
        for _ in range(300):
            with in_time():
                told = self.pump.drain(100)
            if not told:
                break
            all_told += told
        return all_told

    def drops(self) -> None:
        """The writer is named, once, and read no further."""
        assert [record[:2] for record in self.told() if type(record) is tuple] == [(-1, "liar")]
        assert self.told() == []
        assert not self.pump.pending()


@contextlib.contextmanager
def in_time(within: float = _IN_TIME) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < within


@contextlib.contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Another process does that again and again."""
    parent, child = os.getpid(), os.fork()
    if child == 0:
        try:
            while os.getppid() == parent:
                work()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def at_the_edge(memory: Memory) -> Segment:
    """Mapped with nothing behind it, so that one byte too many is one too many."""
    guard = mmap.mmap(-1, 64 << 20, prot=mmap.PROT_READ)
    segment = attach(memory.fd, RING)
    del guard
    return segment


# --- H2: positions, sizes and capacities ---
def positions_between_records() -> None:
    """The last bytes of a ring, read from a position that is no multiple of 8, lie behind it."""
    memory = Memory(capacity=64 << 20)
    segment = at_the_edge(memory)
    for oldest, tail in ((memory.capacity - 4, memory.capacity + 36), (memory.capacity, memory.capacity + 36)):
        memory.spans(oldest, tail)
        for from_start in (False, True):
            reader = Reader()
            reader.reads(segment, from_start)
            reader.drops()
    memory.spans(memory.capacity - 4, 2 * memory.capacity - 4)  # lapped while it was read
    reader = Reader()
    memory.record(0, 1)
    reader.reads(segment)
    reader.drops()


def a_capacity_that_grows_after_it_was_checked() -> None:
    memory = Memory()
    ring = attach(memory.fd, RING)
    memory.number(16, 1 << 40)
    memory.spans(1 << 39, (1 << 39) + 64)
    reader = Reader()
    reader.reads(ring, from_start=False)
    assert ring.capacity == 4096
    reader.drops()


def a_kind_a_name_and_an_owner_that_change_after_they_were_checked() -> None:
    memory = Memory()
    segment = attach(memory.fd, RING)
    memory.write(12, struct.pack("<I", 77))
    memory.write(24, struct.pack("<QI", 5, 4_000_000))
    assert (segment.uid, segment.owner) == (1, 0)
    Reader().reads(segment)


def a_bell_whose_header_a_member_of_its_shard_overwrote() -> None:
    """It stays the bell of the others, and of those who join."""
    fd, bell = make(BELL, 0)
    with mmap.mmap(fd, HEADER) as memory:
        memory[:44] = b"\xff" * 44
    for segment in (bell, attach(fd, BELL, writable=True)):
        segment.forget_sleeper(3)
        Pump(make(PAGE, PAGE_BYTES)[1], segment, 0, {}, Message).close()


def a_span_that_no_ring_has() -> None:
    """`replay` looked for its end with the GIL held."""
    memory = Memory()
    ring = attach(memory.fd, RING)
    for oldest, tail in ((0, 1 << 40), (1 << 40, 64), (64, 0), (0, (1 << 64) - 8), ((1 << 64) - 8, 8)):
        memory.spans(oldest, tail)
        reader = Reader()
        with in_time():
            reader.reads(ring, from_start=False)
            assert reader.pump.replay(_WRITERS_SLOT) == []
        reader.drops()


def a_size_that_changes_between_two_looks() -> None:
    memory = Memory()
    for n in range(100):
        memory.record(40 * n, n + 1)
    memory.spans(0, 4000)
    ring = attach(memory.fd, RING)
    sizes = [HEADER + 40 * n for n in range(100)]

    def change() -> None:
        for size in (40, 0, 40, 44, 40, 1 << 31):
            for at in sizes:
                memory.write(at, struct.pack("<I", size))

    with meanwhile(change):
        until = time.monotonic() + _RACING
        while time.monotonic() < until:
            for from_start in (False, True):
                reader = Reader()
                with in_time():
                    reader.reads(ring, from_start)
                    reader.pump.replay(_WRITERS_SLOT)
                reader.told()


def a_writer_that_laps_for_ever() -> None:
    """At each look it is elsewhere; the others get their turn all the same."""
    memory = Memory()
    ring = attach(memory.fd, RING)
    at = [0]

    def lap() -> None:
        at[0] += 8192
        memory.spans(at[0], at[0])
        memory.spans(at[0] + 4096, at[0] + 4096)

    reader = Reader()
    with meanwhile(lap):
        reader.reads(ring)
        until = time.monotonic() + _RACING
        while time.monotonic() < until:
            with in_time():
                reader.pump.drain(10)
                reader.pump.replay(_WRITERS_SLOT)


def numbers_that_cannot_be() -> None:
    """A gap of more messages than the ring can ever have held."""
    for seq in (2, 1 << 40, (1 << 64) - 1):
        memory = Memory()
        memory.record(0, seq)
        memory.spans(0, 40)
        for from_start in (True, False):
            reader = Reader()
            reader.reads(attach(memory.fd, RING), from_start)
            reader.drops()
            assert reader.pump.counters()[2] == 0


def padding_where_none_belongs() -> None:
    memory = Memory(capacity=1 << 20)
    for position in range(0, 1 << 20, 8):
        memory.write(HEADER + position, struct.pack("<IHH", 8, 1, 0))
    memory.spans(0, 1 << 20)
    for from_start in (True, False):
        reader = Reader()
        with in_time():
            reader.reads(attach(memory.fd, RING), from_start)
        reader.drops()


def its_own_ring_overwritten_under_a_writer() -> None:
    """Whatever did that in its process: it says so, instead of looking for the end of a record of no bytes."""
    fd, ring = make_unsealed()
    writer = Writer(ring)
    for size in (0, 13, 1 << 31):
        with mmap.mmap(fd, HEADER + 4096) as memory, in_time():
            said = ""
            for _ in range(200):
                try:
                    writer.put(b"t", b"e", b"x" * 100, DATA)
                except RuntimeError as error:
                    said = str(error)
                for at in range(HEADER, HEADER + 4096, 136):
                    memory[at : at + 4] = struct.pack("<I", size)
            assert "overwritten" in said


def make_unsealed() -> tuple[int, Segment]:
    fd = os.memfd_create("ring")
    os.ftruncate(fd, HEADER + 4096)
    return fd, Segment.make(fd, RING, 4096, 1, 0)


# --- H4: memory ---
def a_record_larger_than_any_payload() -> None:
    """Of a sparse file: its maker pays nothing for it."""
    memory = Memory(capacity=16 << 30)
    memory.record(0, 1, size=(3 << 30) + 40, body=3 << 30)
    memory.spans(0, 4 << 30)
    reader = Reader(payload_limit=1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader.reads(attach(memory.fd, RING))
    reader.drops()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


# --- H3: doorbells ---
def _full_pipe() -> int:
    ours, theirs = os.pipe()
    os.dup2(ours, 200)  # stays open
    os.set_blocking(theirs, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(theirs, bytes(65536))
    os.set_blocking(theirs, True)
    return theirs


def _full_eventfd() -> int:
    fd = os.eventfd((1 << 31), os.EFD_NONBLOCK)
    os.eventfd_write(fd, (1 << 64) - 2 - (1 << 31))
    os.set_blocking(fd, True)
    return fd


def doorbells_that_block() -> None:
    for doorbell in (_full_pipe(), _full_eventfd(), os.memfd_create("none"), 999):
        (_, page), (_, bell), (_, other) = make(PAGE, PAGE_BYTES), make(BELL, 0), make(PAGE, PAGE_BYTES)
        _, ring = make(RING, 65536)
        reader = Pump(page, bell, _READERS_SLOT, {}, Message)
        reader.listen(True)
        writer = Writer(ring)
        writer.shard(0, doorbell, bell, 0)
        writer.member(1, doorbell, page)
        waiting = Pump(other, bell, _WRITERS_SLOT, {}, Message)
        waiting.want_room(_READERS_SLOT, ring.uid)
        reader.pair("w", ring, _WRITERS_SLOT, other, doorbell)
        with in_time():
            for _ in range(100):
                assert reader.park()
                assert writer.put(b"", b"e", b"x", DATA)
                reader.unpark()
                assert len(reader.drain(10)) == 1
        assert writer.counters()[3] > 0


def a_doorbell_that_changes_while_it_is_rung() -> None:
    """Full, empty, blocking, and all that again, while others ring it."""
    fd = os.eventfd(0, os.EFD_NONBLOCK)

    def change() -> None:
        os.set_blocking(fd, False)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(fd)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(fd, (1 << 64) - 2)
        os.set_blocking(fd, True)

    with meanwhile(change):
        until = time.monotonic() + _RACING
        while time.monotonic() < until:
            with in_time():
                for _ in range(100):
                    ring(fd)


def a_bus_whose_doorbells_are_full_and_block() -> None:
    """Whoever is of the shard may have done that to the eventfd of all."""
    asyncio.run(_doorbells_of_a_bus())


async def _doorbells_of_a_bus() -> None:
    name = f"hostile-{os.getpid()}"
    options = BusOptions(carrier="rings", linger=0.0)
    async with await Bus.join(name, options) as a, await Bus.join(name, options) as b:
        seen: list[int] = []
        await b.subscribe("t", lambda message: seen.append(message.payload))
        await b.register("x", lambda request: request.reply(request.payload))
        await a.wait_for("x")
        await a.publish("t", 0).settled(within=5)
        await a.ask("x", 0, within=5)
        for fd in _doorbells_here():
            os.set_blocking(fd, False)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(fd)
            os.eventfd_write(fd, (1 << 64) - 2)
            os.set_blocking(fd, True)
        for n in range(1, 100):
            a.publish("t", n)
            assert (await a.ask("x", n, within=5)).payload == n
        await a.publish("t", 100).settled(within=5)
        assert seen == list(range(101))


def _doorbells_here() -> list[int]:
    """Every eventfd of this process; a descriptor that is a copy shares what is done to it."""
    return [fd for fd in map(int, os.listdir("/proc/self/fd")) if is_doorbell(fd)]


ATTACKS = [
    positions_between_records,
    a_capacity_that_grows_after_it_was_checked,
    a_kind_a_name_and_an_owner_that_change_after_they_were_checked,
    a_bell_whose_header_a_member_of_its_shard_overwrote,
    a_span_that_no_ring_has,
    a_size_that_changes_between_two_looks,
    a_writer_that_laps_for_ever,
    numbers_that_cannot_be,
    padding_where_none_belongs,
    its_own_ring_overwritten_under_a_writer,
    a_record_larger_than_any_payload,
    doorbells_that_block,
    a_doorbell_that_changes_while_it_is_rung,
    a_bus_whose_doorbells_are_full_and_block,
]

if __name__ == "__main__":
    next(attack for attack in ATTACKS if attack.__name__ == sys.argv[1])()
