"""Whoever talks nonsense to the registry's socket is dropped with a counter, and harms nobody."""

import array
import asyncio
import gc
import os
import random
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.support.bus.members import eventually, members
from tests.support.bus.stranger import Stranger, connect, hello
from transports.bus import Bus, BusOptions, JoinFailed, PeerLost, VersionMismatch
from transports.bus.errors import BadFrame
from transports.bus.events import MemberInfo
from transports.bus.registry import wire
from transports.bus.registry.election import RegistryPaths, check_bus_name, running_buses, runtime_directory
from transports.bus.registry.places import Places
from transports.bus.rings.carrier import RingsCarrier
from transports.bus.rings.native import PAGE, PAGE_BYTES, RING
from transports.bus.rings.segments import make

NONSENSE = {
    "garbage": os.urandom(5000),
    "a giant length": struct.pack("<IB", 0xFFFFFFFF, 0),
    "descriptors that are not there": struct.pack("<IB", 3, 5) + b"abc",
    "not msgpack": struct.pack("<IB", 3, 0) + b"\xc1\xc1\xc1",
    "a message before Hello": wire.pack(wire.Sync(1)),
    "no descriptors": wire.pack(hello()),
    "a message of the registry": wire.pack(wire.Done(1)),
    "a message nested beyond all measure": struct.pack("<IB", 5009, 0)
    + b"\x93\xa4Sync\x01"
    + b"\x91" * 5000
    + b"\xc0" * 2,
    "a label of megabytes": wire.pack(hello(label="x" * 3_000_000)),
    "half a frame": wire.pack(hello())[:7],
    "http": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("what", NONSENSE)
async def test_nonsense_is_dropped(what: str) -> None:
    async with members() as group:
        bus = await group.join()
        sock = connect(group.name)
        sock.sendall(NONSENSE[what])
        if what == "half a frame":
            sock.close()
        else:
            received = await asyncio.to_thread(sock.recv, 65536)
            while received:
                received = await asyncio.to_thread(sock.recv, 65536)
            assert bus.status().counters["registry_dropped"] == 1
            sock.close()
        other = await group.join()
        assert set(other.members()) == {bus.id, other.id}


async def test_fuzzed_messages_harm_nobody() -> None:
    """Valid messages with bytes flipped, cut and repeated, with descriptors that are none of ours."""
    seed = random.Random(7)
    valid = [
        hello(),
        wire.Register(1, ("a", "b")),
        wire.Subscribed(2, {"t": 1}, True),
        wire.LinkTo(3, "@1", 5),
        wire.RingMade(4),
        wire.Fetch(5, "@1", 0),
        wire.Evict("@1", 1.0),
        wire.SegmentMade(9),
        wire.Gated(1),
        wire.Bye(),
    ]
    async with members() as group:
        bus = await group.join()
        await bus.register("x", lambda request: request.reply(1))
        for _ in range(200):
            sock = connect(group.name)
            raw = bytearray(b"".join(wire.pack(seed.choice(valid)) for _ in range(seed.randint(1, 4))))
            for _ in range(seed.randint(0, 3)):
                raw[seed.randrange(len(raw))] = seed.randrange(256)
            fds = [os.memfd_create("junk") for _ in range(seed.randint(0, 5))]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            sock.sendmsg([bytes(raw[: seed.randint(1, len(raw))])], rights)
            for fd in fds:
                os.close(fd)
            sock.close()
        await asyncio.sleep(0.1)
        other = await group.join()
        assert (await other.ask("x", 1)).payload == 1
        assert group.errors == []


async def test_registry_leaks_no_descriptors() -> None:
    async with members() as group:
        await group.join()
        await (await group.join()).leave()
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            bus = await Bus.join(group.name)
            await bus.subscribe("t", lambda m: None)
            await bus.publish("t", b"x" * 100_000).settled(within=2)
            await bus.leave()
        del bus
        gc.collect()
        await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_who_says_hello_again_and_again_is_no_member() -> None:
    """Also while those who were here before choose their places first."""
    async with members() as group:
        paths = RegistryPaths.of(group.name)
        paths.socket.touch()  # as a registry that died leaves it
        paths.lock.touch()
        before = Places(paths.lock)
        before.take(MemberInfo("@late", "", os.getpid(), 5))  # newcomers wait for it
        joins = asyncio.create_task(group.join())
        await eventually(lambda: group.name in running_buses())
        sock = connect(group.name)
        layout = RingsCarrier.layout
        for _ in range(4):
            fds = [os.memfd_create("junk") for _ in range(3)]
            message = wire.pack(hello(bus=group.name, layout=layout), 3)
            sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
            for fd in fds:
                os.close(fd)
        before.free(5)
        before.close()
        bus = await joins
        sock.close()
        other = await group.join()
        await eventually(lambda: set(bus.members()) == set(other.members()) == {bus.id, other.id})


@pytest.mark.parametrize("bad", ["ring", "page", "pidfd"])
async def test_a_stranger_with_bad_descriptors_comes_and_goes(bad: str) -> None:
    """What it hands over is refused, is closed once, and keeps nobody from hearing that it has gone."""
    async with members(carrier="rings") as group:
        bus = await group.join()
        await bus.register("x", lambda request: request.reply(1))
        page, _page = make(PAGE, PAGE_BYTES)
        ring, _ring = make(RING, 1 << 16)
        bell, pidfd, junk = os.eventfd(0), os.pidfd_open(os.getpid()), os.memfd_create("junk")
        stranger = Stranger(group.name, junk if bad == "page" else page, bell, junk if bad == "pidfd" else pidfd)
        await eventually(lambda: len(bus.members()) == 2)
        before = set(os.listdir("/proc/self/fd"))
        (evil,) = set(bus.members()) - {bus.id}
        stranger.say(wire.LinkTo(1, bus.id, 77), junk if bad == "ring" else ring)
        await eventually(lambda: group.errors)
        assert isinstance(group.errors[0][1], BadFrame)
        if bad != "ring":
            with pytest.raises(PeerLost):
                await bus.ask(evil, 1, within=5)
        others = [os.memfd_create("other") for _ in range(8)]
        stranger.sock.close()
        await eventually(lambda: evil not in bus.members())
        for fd in others:
            os.close(fd)  # is still open
        assert set(os.listdir("/proc/self/fd")) <= before
        for fd in (page, ring, bell, pidfd, junk):
            os.close(fd)
        other = await group.join()
        assert (await other.ask("x", 1)).payload == 1


@pytest.mark.parametrize("bad", ["pub", "pull"])
async def test_a_stranger_whom_nobody_can_reach_keeps_nobody_from_the_others(bad: str) -> None:
    async with members(carrier="zmq") as group:
        a = await group.join()
        sock = connect(group.name)
        endpoints = {"pub": "ipc:///tmp/nobody-p", "pull": "ipc:///tmp/nobody-d", bad: "nowhere at all"}
        sock.sendall(wire.pack(hello(bus=group.name, layout=0, carrier="zmq", endpoints=endpoints)))
        await eventually(lambda: len(a.members()) == 2)
        (evil,) = set(a.members()) - {a.id}
        b = await group.join()
        await b.register("x", lambda request: request.reply(1))
        await a.wait_for("x")
        assert (await a.ask("x", 1, within=5)).payload == 1
        assert any(isinstance(error, BadFrame) for _, error in group.errors)
        with pytest.raises(PeerLost):
            a.send(evil, 1)
        seen: list[Any] = []
        await b.subscribe("t", lambda message: seen.append(message.payload))
        a.publish("t", 1)
        await eventually(lambda: seen == [1])
        sock.close()
        await eventually(lambda: set(a.members()) == set(b.members()) == {a.id, b.id})


async def test_a_label_that_is_too_long_is_refused() -> None:
    with pytest.raises(JoinFailed, match="at most 255"):
        await Bus.join("x", BusOptions(label="x" * 256))


async def test_a_name_that_is_refused_leaks_no_descriptors() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(JoinFailed):
            await Bus.join("no name of a bus")
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_hostile_ring_of_a_member_is_told_and_dropped() -> None:
    """A member that announces segments that are none: its messages are refused, the others go on."""
    async with members() as group:
        a, b = await group.join(), await group.join()
        junk = os.memfd_create("junk")
        a._carrier._membership.send(wire.RingMade(77), [junk])  # type: ignore[attr-defined]
        os.close(junk)
        await eventually(lambda: group.errors)
        assert isinstance(group.errors[0][1], BadFrame)
        seen: list[Any] = []
        await a.subscribe("t", seen.append)
        assert (await b.publish("t", 1).settled(within=5)).seen == 1


async def test_another_version_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async with members() as group:
        await group.join()
        monkeypatch.setattr("transports.bus.rings.carrier.RingsCarrier.layout", 99)
        with pytest.raises(VersionMismatch, match="one version"):
            await group.join()


async def test_directory_is_private_and_names_are_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert runtime_directory().stat().st_mode & 0o777 == 0o700
    for bad in ("", "../x", "a/b", ".hidden", "x" * 65):
        with pytest.raises(JoinFailed):
            check_bus_name(bad)
    async with members() as group:
        await group.join()
        assert group.name in running_buses()
    assert group.name not in running_buses()
    (tmp_path / "three-mode").mkdir(mode=0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(JoinFailed, match="0700"):
        await Bus.join("any", BusOptions())
