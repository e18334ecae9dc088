"""Places of members that the next registry has never heard of: nobody else gets them while their process lives.

Two members in one place would share a reader's state: messages would be missing without a gap, or come twice.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bus.child import body
from tests.support.bus.members import Members, Process, eventually, members, process
from transports.bus import Bus
from transports.bus.events import MemberInfo
from transports.bus.registry import places, server
from transports.bus.registry.election import RegistryPaths
from transports.bus.registry.lateness import Lateness
from transports.bus.registry.places import SLOTS, Places, read_places


def slots(bus: Bus) -> dict[str, int]:
    return {info.id: info.slot for info in bus._carrier._membership._member.directory.members.values()}


async def strangers_take_over(group: Members, host: Process, stopped: Process) -> tuple[Bus, Bus]:
    """The host dies while the only other member is stopped: two newcomers are all that the next registry knows."""
    stopped.signal(signal.SIGSTOP)
    await stopped.stopped()
    host.signal(signal.SIGKILL)
    await host.ended()
    return await group.join(), await group.join()


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
async def test_newcomers_leave_the_place_of_a_stopped_member(carrier: str) -> None:
    async with members(carrier=carrier) as group, process(group.name, carrier=carrier) as host:
        async with process(group.name, carrier=carrier) as stopped:
            await stopped.do("subscribe", "t", "reliable")
            first, second = await strangers_take_over(group, host, stopped)
            stopped.signal(signal.SIGCONT)
            await eventually(lambda: stopped.id in first.members() and stopped.id in second.members(), 20)
            assert len(set(slots(first).values())) == 3
            before = (await stopped.report())[0]
            for n in range(300):
                await first.publish("t", {"n": n, "data": b"", "crc": 0})
                await second.publish("t", {"n": n, "data": b"", "crc": 0})
            for _ in range(200):
                seen, torn, missing, _ = await stopped.report()
                if seen == before + 600:
                    break
            assert (seen - before, torn, missing) == (600, 0, 0)


async def test_place_of_a_member_that_is_given_up_stays_empty_while_its_process_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Lateness, "may_come_back", lambda *_: False)
    monkeypatch.setattr(server, "GRACE", 0.1)
    async with members() as group, process(group.name) as host, process(group.name) as stopped:
        first, second = await strangers_take_over(group, host, stopped)
        taken = slots(first)
        assert stopped.id not in taken
        lost = 1 - min(slot for slot in (0, 1) if slot in taken.values())
        assert lost not in taken.values()
        third = await group.join()
        assert len({*slots(third).values(), lost}) == 4
        old = stopped.id
        stopped.signal(signal.SIGCONT)
        await eventually(lambda: len(second.members()) == 4, 20)  # it is back, as another member
        assert old not in second.members()
        assert lost not in slots(second).values()
        stopped.signal(signal.SIGKILL)
        await stopped.ended()
        await eventually(lambda: len(second.members()) == 3, 20)

        for _ in range(50):  # until the registry has looked at that process again
            if lost in slots(await group.join()).values():
                return
            await asyncio.sleep(0.2)
        raise AssertionError("the slot stays taken by a process that has ended")


async def test_newcomers_wait_for_a_reliable_reader_that_is_late() -> None:
    """A writer that joined before it was back did not wait for it, and used its large payloads again."""
    async with members() as group, process(group.name) as host, process(group.name) as reader:
        await group.join()
        await reader.do("subscribe", "t", "reliable")
        reader.signal(signal.SIGSTOP)
        await reader.stopped()
        host.signal(signal.SIGKILL)
        await host.ended()
        joining = asyncio.ensure_future(group.join())
        await asyncio.wait([joining], timeout=1.8)
        assert not joining.done()
        reader.signal(signal.SIGCONT)
        writer = await joining
        for n in range(40):
            await writer.publish("t", body(n, 100_000))
        for _ in range(200):
            seen, torn, missing, _ = await reader.report()
            if seen == 40:
                break
        assert (seen, torn, missing) == (40, 0, 0)
        assert reader.count("Gap") == 0


async def test_newcomers_do_not_wait_for_members_that_are_back_or_dead() -> None:
    async with members() as group, process(group.name) as host, process(group.name) as dead:
        await group.join()
        for each in (dead, host):
            each.signal(signal.SIGKILL)
            await each.ended()
        async with asyncio.timeout(2.5):  # less than the time that newcomers wait for members that are late
            await group.join()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


@pytest.fixture
def table(tmp_path: Path, file: int) -> Iterator[Places]:
    made = Places(tmp_path / "lock")
    yield made
    made.close()


def test_places_are_read_back_for_processes_that_live(table: Places, file: int) -> None:
    me, other = MemberInfo("@00000001", "", os.getpid(), 3), MemberInfo("@00000002", "", os.getppid(), SLOTS - 1)
    table.take(me)
    table.take(other)
    table.take(MemberInfo("@00000003", "", 2**22 + 1, 7))  # no such process
    assert read_places(file) == [me, other]
    table.free(3)
    assert read_places(file) == [other]


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\0" * 10_000, os.urandom(50_000), b"\1" * (1 << 21)])
def test_garbage_in_the_lock_file_is_no_place(table: Places, file: int, content: bytes) -> None:
    os.pwrite(file, content, 0)
    assert all(0 <= info.slot < SLOTS for info in read_places(file))
    table.take(MemberInfo("@00000001", "", os.getpid(), 0))
    assert read_places(file)[0].id == "@00000001"


def test_process_that_has_the_number_of_a_dead_one_is_another(
    table: Places, file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "started", lambda _: 1)
    table.take(MemberInfo("@00000001", "", os.getpid(), 0))
    monkeypatch.undo()
    assert read_places(file) == []


async def test_places_are_gone_with_the_bus() -> None:
    async with members() as group:
        bus = await group.join()
        lock = RegistryPaths.of(group.name).lock
        assert [info.id for info in _read(lock)] == [bus.id]
        other = await group.join()
        assert [info.id for info in _read(lock)] == [bus.id, other.id]
        await other.leave()
        assert [info.id for info in _read(lock)] == [bus.id]
    assert not lock.exists()


def _read(path: Path) -> list[MemberInfo]:
    file = os.open(path, os.O_RDONLY)
    try:
        return read_places(file)
    finally:
        os.close(file)
