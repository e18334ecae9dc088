"""Bounds at the registry, and processes that may open few files: each is named, and nobody else is harmed."""

import asyncio
import json
import os
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.bus.members import eventually, members, process
from tests.support.bus.stranger import Joined, connect
from transports.bus import JoinFailed, MemberLost, Overloaded, TooLarge
from transports.bus.registry import wire
from transports.bus.registry.channel import QUEUE_FDS
from transports.bus.rings import large
from transports.bus.rings.native import LARGE, RING
from transports.bus.rings.segments import make


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_member_with_too_many_segments_is_dropped_by_name() -> None:
    async with members() as group, process(group.name) as host:
        bus = await group.join()
        evil = Joined(group.name)
        await eventually(lambda: evil.read() and evil.id)
        evil.sock.setblocking(True)
        fd, _segment = make(LARGE, 65536)
        try:
            for uid in range(10 * wire.SEGMENTS_LIMIT):
                evil.say(wire.SegmentMade(uid), fd)
        except OSError:
            pass
        await eventually(lambda: evil.id not in bus.members(), 20)
        evil.sock.setblocking(False)
        assert open_files(host.process.pid) < 100
        evil.read()
        refused = [message for message, _ in evil.received if isinstance(message, wire.RequestRefused)]
        assert [message.code for message in refused] == [Overloaded.code]
        assert "segments" in refused[0].text
        evil.close()
        os.close(fd)
        await group.join()


async def test_pool_of_many_small_segments_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "SEGMENTS", 8)
    announced: list[int] = []
    gone: list[int] = []
    pool = large.SegmentPool(1 << 30, lambda uid, fd: announced.append(uid), gone.append)
    out = [pool.take(1000, waits=True) for _ in range(8)]
    assert all(out)
    assert pool.take(1000, waits=True) is None
    assert pool.take(1000, waits=False) is not None  # a ring that has none cannot wait for its readers
    pool.give(out[0])
    assert pool.take(1 << 20, waits=True) is None
    pool.give(out[1])
    assert pool.take(1 << 20, waits=True) is not None
    assert len(announced) - len(gone) <= 9
    pool.close()


async def test_descriptors_that_wait_for_a_stopped_member_are_bounded() -> None:
    async with members() as group, process(group.name) as host, process(group.name) as stopped:
        bus = await group.join()
        evil = Joined(group.name)
        await eventually(lambda: evil.read() and evil.id)
        stopped.signal(signal.SIGSTOP)
        await stopped.stopped()
        evil.sock.setblocking(True)
        ring, _ring = make(RING, 65536)
        for token in range(1, 4001):
            evil.say(wire.LinkTo(token, stopped.id, 7), ring)
            if not token % 50:
                evil.sock.setblocking(False)
                await eventually(lambda token=token: evil.answer(token), 20)  # type: ignore[misc]
                evil.forget()
                evil.sock.setblocking(True)
        assert open_files(host.process.pid) < QUEUE_FDS + 100
        stopped.signal(signal.SIGCONT)
        await eventually(lambda: stopped.id in bus.members(), 10)
        evil.close()
        os.close(ring)


async def test_half_messages_before_hello_take_little_memory() -> None:
    async with members() as group, process(group.name) as host:
        bus = await group.join()
        before = resident(host.process.pid)
        socks = []
        for _ in range(100):
            sock = connect(group.name)
            with_header = struct.pack("<IB", wire.MESSAGE_LIMIT, 0) + bytes(1 << 20)
            try:
                sock.sendall(with_header)
            except OSError:
                pass
            socks.append(sock)
        other = await group.join()
        assert set(other.members()) == {host.id, bus.id, other.id}
        assert resident(host.process.pid) - before < 20 << 20
        for sock in socks:
            sock.close()


def resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


async def test_member_with_megabytes_of_names_returns_after_the_registry_moved() -> None:
    async with members() as group, process(group.name) as host:
        big, small = await group.join(), await group.join()
        names = [f"{n:05}" + "n" * 240 for n in range(20_000)]
        with pytest.raises(TooLarge):
            await big.register(names, lambda request: request.reply(1))
        assert not big.names()
        for start in range(0, len(names), 5000):
            await big.register(names[start : start + 5000], lambda request: request.reply(1))
        lost: list[Any] = []
        small.watch(lambda change: lost.append(change) if isinstance(change, MemberLost) else None)
        host.signal(signal.SIGKILL)
        await host.ended()
        late = await group.join()
        await late.wait_for(names, within=15)
        assert (await late.ask(names[-1], 1)).payload == 1
        await eventually(lambda: [change.member.id for change in lost] == [host.id])
        await big.unregister(names)
        await eventually(lambda: not late.names(), 15)


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
@pytest.mark.parametrize("limit", [16, 24, 32, 40, 48, 64, 96, 256])
async def test_process_with_few_files(carrier: str, limit: int) -> None:
    async with members(carrier=carrier) as group:
        buses = [await group.join() for _ in range(3)]
        for bus in buses:
            bus.serve(lambda request: request.reply(len(request.payload) if request.payload != 1 else 1))
        await buses[0].subscribe("t", lambda message: None)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.support.bus.few_files", group.name, carrier, str(limit)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == 0, err.decode()[-2000:]
        told = json.loads(out.splitlines()[-1])
        assert told["raw"] == []
        assert told["joined"] or "RLIMIT_NOFILE" in told["named"][0]
        if told["joined"]:
            assert told["recovered"]
        assert buses[0].status().counters["registry_dropped"] == 0
        await eventually(lambda: len(buses[0].members()) == 3, 10)
        assert (await buses[0].ask(buses[1].id, 1, within=5)).payload == 1


async def test_registry_in_a_process_out_of_files_drops_no_member() -> None:
    """It refuses by name, all members stay, and what waited goes on once it may open files again."""
    async with members() as group, process(group.name) as host:
        errors: list[BaseException] = []
        a, b = [await group.join(on_error=lambda _, error: errors.append(error)) for _ in range(2)]
        lost: list[Any] = []
        a.watch(lambda change: lost.append(change) if isinstance(change, MemberLost) else None)
        await b.register("x", lambda request: request.reply(len(request.payload)))
        await a.ask("x", b"", within=5)
        pid = host.process.pid
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files(pid) + 2, 4096))
        asking = [asyncio.create_task(a.ask("x", bytes(70_000 << n), within=30)) for n in range(6)]
        await eventually(lambda: errors, 10)
        assert all(isinstance(error, Overloaded) for error in errors)
        assert "RLIMIT_NOFILE" in str(errors[0])
        with pytest.raises(JoinFailed, match=r"RLIMIT_NOFILE|did not answer"):
            await group.join(join_within=0.5)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (4096, 4096))
        assert [(await answer).payload for answer in asking] == [70_000 << n for n in range(6)]
        assert lost == []
        await group.join()


async def test_member_whose_files_run_out_while_it_looks_for_the_next_registry() -> None:
    async with members() as group, process(group.name) as host, process(group.name) as few:
        a = await group.join()
        pid = few.process.pid
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files(pid), 4096))
        a_is_back = a._carrier._membership  # type: ignore[attr-defined]
        few.signal(signal.SIGSTOP)
        await few.stopped()
        host.signal(signal.SIGKILL)
        await host.ended()
        await eventually(lambda: a_is_back._server is not None)
        few.signal(signal.SIGCONT)
        await asyncio.sleep(0.5)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (4096, 4096))
        await eventually(lambda: few.id in a.members(), 10)
        await few.do("register", "few")
        assert (await a.ask("few", 7, within=5)).payload == 7
