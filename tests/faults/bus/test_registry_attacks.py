"""Messages to the registry that once ended it: their member is dropped by name, the others do not notice."""

import os
from typing import Any

import msgspec
import pytest

from tests.support.bus.members import eventually, members, process
from tests.support.bus.stranger import Joined, connect, hello
from transports.bus.registry import wire

MEGABYTES = 3 * 1024 * 1024


def _raw(*message: Any) -> bytes:
    """Pack what no member of ours would send."""
    body = msgspec.msgpack.encode(list(message))
    return wire.HEADER.pack(len(body), 0) + body


ATTACKS: dict[str, list[bytes]] = {
    "Fetch of a member of megabytes": [_raw("Fetch", 1, "m" * MEGABYTES, 5)],
    "Evict of a member of megabytes": [_raw("Evict", "m" * MEGABYTES, 1.0)],
    "Unlink of a member of megabytes": [_raw("Unlink", "m" * MEGABYTES, 1)],
    "Register of newlines": [_raw("Register", 1, ["\n" * MEGABYTES])],
    "Register of one long name": [_raw("Register", 1, ["n" * MEGABYTES])],
    "Register of a name twice": [_raw("Register", 1, ["n", "n"]), _raw("Unregister", 2, ["n", "n"])],
    "Unregister that fills a message": [_raw("Unregister", 1, ["n" * (wire.MESSAGE_LIMIT - 22)])],
    "Unregister of names of others": [_raw("Unregister", 1, ["x", "nobody's"])],
    "Subscribed to megabytes": [_raw("Subscribed", 1, {"p" * MEGABYTES: 1}, False)],
    "Bye and more": [wire.pack(wire.Bye()) + wire.pack(wire.Sync(1))],
    "Hello in a bus of megabytes": [_raw("Hello", wire.PROTOCOL, 1, "b" * MEGABYTES, "rings", "l", 1, {})],
    "integers without bound": [_raw("SegmentGone", 2**63), _raw("Gated", -(2**63)), _raw("Unlink", "@1", 2**64 - 1)],
    "infinite eviction": [_raw("Evict", "@1", float("inf"))],
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_registry_outlives(attack: str) -> None:
    async with members() as group, process(group.name) as host:
        bus = await group.join()
        await bus.register("x", lambda request: request.reply(1))
        evil = Joined(group.name)
        await eventually(lambda: evil.read() and evil.id)
        evil.sock.setblocking(True)
        for message in ATTACKS[attack]:
            try:
                evil.sock.sendall(message)
            except OSError:
                break  # it was dropped meanwhile
        await _works(group, bus, host.id)
        evil.close()
        await eventually(lambda: set(bus.members()) >= {host.id, bus.id} and evil.id not in bus.members())
        assert bus.locate("x") == bus.id


async def _works(group: Any, bus: Any, host: str) -> None:
    """A new member joins, and the registry is still where it was."""
    other = await group.join()
    assert (await other.ask("x", 1, within=5)).payload == 1
    assert bus._carrier._membership._host == host
    await other.leave()
    group.joined.remove(other)


async def test_registry_outlives_hello_and_bye_again_and_again() -> None:
    async with members(carrier="zmq") as group, process(group.name, carrier="zmq") as host:
        bus = await group.join()
        await bus.register("x", lambda request: request.reply(1))
        said = wire.pack(hello(bus=group.name, carrier="zmq", layout=0))
        for parts in ([said, wire.pack(wire.Bye()), said + wire.pack(wire.Bye())], [said + wire.pack(wire.Bye())] * 3):
            sock = connect(group.name)
            for part in parts:
                try:
                    sock.sendall(part)
                except OSError:
                    break
            sock.close()
        await _works(group, bus, host.id)


async def test_registry_outlives_a_bell_that_a_member_spoiled() -> None:
    """Every member of a shard may write to its bell."""
    async with members() as group, process(group.name) as host:
        bus = await group.join()
        await bus.register("x", lambda request: request.reply(1))
        evil = Joined(group.name)
        await eventually(lambda: evil.read() and evil.id)
        bell = next(fds[0] for message, fds in evil.received if isinstance(message, wire.Welcome))
        os.pwrite(bell, b"\xff" * 64, 0)
        evil.say(wire.Bye())
        await eventually(lambda: evil.id not in bus.members())
        assert bus._carrier._membership._host == host.id  # type: ignore[attr-defined]
        evil.close()


async def test_registry_whose_thread_ends_is_hosted_again() -> None:
    """By an error that nobody foresaw: the lock is free again, the next one hosts, and nobody is lost."""
    async with members() as group:
        first, second = await group.join(), await group.join()
        await second.register("x", lambda request: request.reply(2))
        lost: list[Any] = []
        second.watch(lost.append)
        server = first._carrier._membership._server  # type: ignore[attr-defined]

        def spoiled(now: float) -> None:
            raise ZeroDivisionError("unforeseen")

        server._tick = spoiled
        server._thread.join(0)
        await second.register("y", lambda request: request.reply(3))  # wakes the thread
        await eventually(lambda: not server._thread.is_alive())
        third = await group.join()
        assert (await third.ask("x", 1, within=5)).payload == 2
        assert (await third.ask("y", 1, within=5)).payload == 3
        assert set(third.members()) == {first.id, second.id, third.id}
        assert [change for change in lost if type(change).__name__ == "MemberLost"] == []
