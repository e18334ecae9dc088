"""The bus over tcp: with keys, without them on loopback only, and with members that die."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import zmq

from tests.support.bus.members import Members, eventually, members
from transports.bus import BusOptions, Curve, JoinFailed, PeerLost, Policy, Request, SubscribeOptions


def endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def keys(count: int) -> list[tuple[str, str]]:
    return [(public.decode(), secret.decode()) for public, secret in (zmq.curve_keypair() for _ in range(count))]


@pytest.fixture
async def group() -> AsyncIterator[Members]:
    async with members(endpoint=endpoint()) as group:
        yield group


async def test_everything_works_over_tcp(group: Members) -> None:
    a, b = await group.join("a"), await group.join("b")
    assert a.carrier == "zmq"
    assert "endpoint" in a.status().why
    remaining: list[float] = []

    def serve(request: Request) -> None:
        remaining.append(request.remaining())
        request.reply(request.payload)

    await b.register("x", serve)
    await a.wait_for("x")
    assert (await a.ask("x", b"y" * 200_000, within=3)).payload == b"y" * 200_000
    assert 2 < remaining[0] <= 3
    numbers: list[int] = []
    await b.subscribe("t", lambda m: numbers.append(m.payload), SubscribeOptions(policy=Policy.RELIABLE))
    for n in range(500):
        receipt = await a.publish("t", n)
    assert (await receipt.settled(within=5)).seen == 1
    assert numbers == list(range(500))
    await b.register("slow", lambda request: None)
    await a.wait_for("slow")
    pending = asyncio.create_task(a.ask("slow", 1))
    await asyncio.sleep(0.05)
    await b.leave()
    with pytest.raises(PeerLost):
        await pending


async def test_curve_keys_decide_who_comes_in() -> None:
    (server, first, second, stranger) = keys(4)
    allowed = frozenset({server[0], first[0], second[0]})

    def curve(pair: tuple[str, str]) -> Curve:
        return Curve(public=pair[0], secret=pair[1], server=server[0], allowed=allowed)

    assert server[1] not in repr(BusOptions(curve=curve(server)))
    async with members(endpoint=endpoint()) as group:
        host = await group.join("host", curve=curve(server))
        member = await group.join("member", curve=curve(first))
        seen: list[Any] = []
        await member.subscribe("t", lambda m: seen.append(m.payload))
        assert (await host.publish("t", 1).settled(within=5)).seen == 1
        await member.register("x", lambda request: request.reply(request.payload))
        await host.wait_for("x")
        assert (await host.ask("x", 2)).payload == 2
        for options in ({"curve": curve(stranger)}, {}):
            with pytest.raises(JoinFailed):
                await group.join("stranger", create=False, join_within=1.0, **options)
        assert len(host.members()) == 2


@pytest.mark.parametrize("where", ["tcp://10.1.2.3:5555", "tcp://0.0.0.0:5555", "ipc:///tmp/x", "tcp://127.0.0.1"])
async def test_endpoints_that_are_refused(where: str) -> None:
    async with members(endpoint=where) as group:
        with pytest.raises(JoinFailed, match=r"loopback|HOST:PORT"):
            await group.join()


async def test_registry_moves_to_another_member(group: Members) -> None:
    host, a, b = await group.join("host"), await group.join("a"), await group.join("b")
    await b.register("x", lambda request: request.reply(request.payload))
    await a.wait_for("x")
    assert (await a.ask("x", 1)).payload == 1
    await host.leave()
    assert (await a.ask("x", 2)).payload == 2
    await eventually(lambda: host.id not in a.members() and host.id not in b.members(), within=10)
    late = await group.join("late")
    await late.wait_for("x", within=10)
    assert (await late.ask("x", 3)).payload == 3
