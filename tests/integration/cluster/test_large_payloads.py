"""Payloads above the server's `max_payload` between two nodes: in pieces, whole, in order, and bounded."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.cluster.large_cast import Store, content, digest
from tests.support.cluster.nodes import FAST, new_name, until
from tests.support.cluster.server import NatsServer
from three_mode import Orchestrator
from three_mode.agents import AgentRef, OrchestratorOptions
from three_mode.cluster import Cluster, NodeTiming
from three_mode.errors import (
    BadCall,
    DeadlineExceeded,
    HandlerFailed,
    NoSuchAgent,
    Overloaded,
    PeerLost,
    ThreeModeError,
)
from transports.bus import BusOptions

MIB = 1024 * 1024
LIMIT = 12 * MIB  # of the bus of these tests


class Pair(NamedTuple):
    """Two nodes; `store` is at the other one, `home` at this one."""

    here: Orchestrator
    there: Orchestrator
    store: AgentRef
    home: AgentRef


def limited(url: str, cluster: str, name: str, timing: NodeTiming | None = None) -> Orchestrator:
    options = OrchestratorOptions(bus=BusOptions(payload_limit=LIMIT, outbox_bytes=8 * LIMIT))
    nodes = Cluster(url, name=cluster, node=name, timing=timing or NodeTiming())
    return Orchestrator(0, f"{cluster}-{name}", cluster=nodes, options=options)


@pytest.fixture(params=[64 * 1024, MIB])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Pair, int]]:
    cluster, room = new_name(), int(request.param)
    (tmp_path / "server.conf").write_text(f"max_payload: {room}")
    async with NatsServer("-c", str(tmp_path / "server.conf")) as server:
        async with limited(server.url, cluster, "a") as here, limited(server.url, cluster, "b") as there:
            await there.spawn(Store, 1, name="store")
            await here.spawn(Store, 1, name="home")
            await here.bus.wait_for(["store/0"], within=60)
            yield Pair(here, there, here.ref("store/0"), here.ref("home/0")), room


async def test_payloads_of_all_sizes_arrive_whole_by_each_verb(pair: tuple[Pair, int]) -> None:
    two, room = pair
    sizes = [1, room - 1, room, room + 1, 10_000_000, LIMIT - 200]
    for size in sizes:
        assert await two.store.ask(Store.put, content(size), within=120) == digest(content(size))
        assert await two.store.ask(Store.give, size, within=120) == content(size)
    async with two.store.stream(Store.parts, sizes, within=120) as parts:
        assert [digest(part) async for part in parts] == [digest(content(size)) for size in sizes]
    for size in [*sizes, 1]:
        await two.store.tell(Store.take, content(size))
    for size in [*sizes, 1]:
        seen = await two.here.broadcast("files.new", content(size)).settled(within=120)
        assert (seen.seen, seen.complete) == (2, True)
    got, heard = await two.store.ask(Store.state, within=120)
    assert got == heard == [digest(content(size)) for size in [*sizes, 1]]
    with pytest.raises(HandlerFailed, match="xxx"):
        await two.store.ask(Store.fails, 3 * room, within=120)


async def test_above_the_limit_of_the_bus_errors_are_those_of_one_machine(pair: tuple[Pair, int]) -> None:
    two, _ = pair
    texts = set()
    for agent in (two.home, two.store):
        for asked in (agent.ask(Store.put, bytes(LIMIT + 1), within=60), agent.ask(Store.give, LIMIT + 1, within=60)):
            with pytest.raises(ThreeModeError) as failed:
                await asked
            texts.add((type(failed.value), str(failed.value).replace("home/0", "store/0")))
    assert len(texts) == 2, texts
    with pytest.raises(BadCall, match="payload_limit"):
        await two.store.tell(Store.take, bytes(LIMIT + 1))


async def test_small_messages_pass_a_large_one_and_a_cancelled_one_leaves_nothing(pair: tuple[Pair, int]) -> None:
    two, _ = pair
    large = asyncio.create_task(two.store.ask(Store.put, content(LIMIT - 200), within=120))
    await asyncio.sleep(0.05)
    assert await two.store.ask("ping", within=60) == 1
    assert await two.home.ask(Store.ping, within=60) == 1
    assert await large == digest(content(LIMIT - 200))
    cancelled = asyncio.create_task(two.store.ask(Store.put, content(LIMIT - 200), within=120))
    await asyncio.sleep(0.02)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    cores = [orc._gateway.core.large for orc in (two.here, two.there)]
    await until(lambda: not any(core.waiting or core.under_way or core.incomplete for core in cores))
    assert await two.store.ask(Store.put, content(MIB), within=60) == digest(content(MIB))


async def test_a_server_that_is_killed_among_pieces_ends_every_wait_and_leaves_no_half() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with (
            limited(server.url, cluster, "a", FAST) as here,
            limited(server.url, cluster, "b", FAST) as there,
        ):
            await there.spawn(Store, 1, name="store")
            await here.bus.wait_for(["store/0"], within=60)
            store, data = here.ref("store/0"), content(10 * MIB)
            asked = [asyncio.create_task(store.ask(Store.put, data, within=30)) for _ in range(4)]
            for _ in range(3):
                await store.tell(Store.take, data)
            await asyncio.sleep(0.3)
            server.kill()
            done = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 120)
            ended = (PeerLost, DeadlineExceeded, NoSuchAgent, Overloaded)
            assert all(isinstance(one, ended) or one == digest(data) for one in done), done
            await server.start()
            await here.bus.wait_for(["store/0"], within=60)
            assert await store.ask(Store.put, data, within=60) == digest(data)
            got, _ = await store.ask(Store.state, within=60)
            told = [letter for letter in await here.dead_letters() if letter.handler == "take"]
            assert set(got) <= {digest(data)}
            assert len(got) + len(told) >= 3
            cores = [orc._gateway.core.large for orc in (here, there)]
            await until(lambda: not any(core.waiting or core.incomplete for core in cores))
