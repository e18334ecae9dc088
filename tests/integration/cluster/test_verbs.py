"""The verbs between two nodes, over a real server: ask, tell, stream, broadcast, gather, roles, and their errors."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import uvloop

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import new_name, node, until
from tests.support.cluster.server import NatsServer, on_each_server
from three_mode import Orchestrator
from three_mode.agents import AgentGroup, join
from three_mode.cluster import NodeTiming
from three_mode.errors import (
    BadCall,
    CallCycle,
    ConfigurationError,
    DeadlineExceeded,
    HandlerFailed,
    NoSuchAgent,
    Overloaded,
    RateLimit,
)


class Two(NamedTuple):
    """Two nodes; `here` has the group `home`, `there` has `scout`."""

    here: Orchestrator
    there: Orchestrator
    scouts: AgentGroup


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    cluster = new_name()
    async with NatsServer() as server:
        async with node(server.url, cluster, "a") as here, node(server.url, cluster, "b") as there:
            await there.spawn(Scout, 3, name="scout")
            await here.spawn(Scout, 1, name="home")
            await here.bus.wait_for([f"scout/{number}" for number in range(3)], within=30)
            await there.bus.wait_for(["home/0"], within=30)
            yield Two(here, there, here.group("scout"))


@on_each_server
async def test_ask_answers_and_the_time_that_remains_travels(two: Two) -> None:
    assert [await scout.ask(Scout.add, 4, within=20) for scout in two.scouts] == [5, 5, 5]
    assert await two.scouts[1].ask("who", within=20) == "scout/1"
    assert 0.0 < await two.scouts[0].ask(Scout.remains, within=7.0) < 7.0
    assert await two.there.ref("home/0").ask(Scout.add, 1, within=20) == 2


def test_nodes_on_uvloop_whose_timers_are_due_at_once() -> None:
    async def main() -> list[int]:
        cluster, hasty = new_name(), NodeTiming(heartbeat=0.0005, suspected_after=5.0, lost_after=10.0)
        async with NatsServer() as server:
            async with (
                node(server.url, cluster, "a", timing=hasty) as here,
                node(server.url, cluster, "b", timing=hasty) as there,
            ):
                await there.spawn(Scout, 1, name="scout")
                await here.bus.wait_for(["scout/0"], within=30)
                return [await here.ref("scout/0").ask(Scout.add, number, within=20) for number in range(500)]

    assert uvloop.run(main()) == list(range(1, 501))


async def test_errors_of_the_other_node_are_those_of_one_machine(two: Two) -> None:
    scout = two.scouts[0]
    with pytest.raises(HandlerFailed, match=r"scout/0.fail raised KeyError: 'it'") as failed:
        await scout.ask(Scout.fail, "it", within=20)
    assert failed.value.traceback is not None
    assert "cluster_cast.py" in failed.value.traceback
    with pytest.raises(RateLimit) as limited:
        await scout.ask(Scout.fail, "limit", within=20)
    assert limited.value.retry_after == 3.0
    with pytest.raises(NoSuchAgent, match="scout/0 has no handler 'nothing'"):
        await scout.ask("nothing", within=20)
    with pytest.raises(NoSuchAgent, match="scout/9"):
        await two.here.ref("scout/9").ask(Scout.add, 1, within=20)
    with pytest.raises(BadCall) as bad:
        await scout.ask("add", "text", within=20)
    assert bad.value.argument == "number"


@on_each_server
async def test_a_deadline_ends_the_call_at_both_nodes(two: Two) -> None:
    scout, begun = two.scouts[0], time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await scout.ask(Scout.wait, 60.0, within=0.5)
    assert time.monotonic() - begun < 15.0
    await _state(two, left=1)


async def test_a_cancelled_ask_cancels_the_handler_at_the_other_node(two: Two) -> None:
    asking = asyncio.create_task(two.scouts[0].ask(Scout.wait, 60.0, within=60))
    await asyncio.sleep(0.5)
    asking.cancel()
    await asyncio.wait({asking})
    await _state(two, left=1)


async def _state(two: Two, left: int) -> None:
    for _ in range(300):
        if (await two.there.ref("scout/0").ask(Scout.state, within=20))[1] == left:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"not {left} handlers were left")


async def test_an_overloaded_agent_says_so_to_another_node(two: Two) -> None:
    asked = [asyncio.create_task(two.scouts[0].ask(Scout.blocks, 2.0, within=30)) for _ in range(30)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert any(isinstance(one, Overloaded) for one in done)


async def test_a_cycle_over_two_nodes_is_an_error_and_no_deadlock(two: Two) -> None:
    assert await two.there.ref("scout/0").ask(Scout.calls_back, "home/0", within=20) == 2
    with pytest.raises(CallCycle):
        await two.here.ref("home/0").ask(Scout.asks_who_asks_me, "scout/0", within=20)


@on_each_server
async def test_tells_come_once_and_in_order(two: Two) -> None:
    for number in range(200):
        await two.scouts[1].tell(Scout.take, number)
        if number % 15 == 14:  # its mailbox holds 20
            await two.scouts[1].ask(Scout.add, 1, within=20)
    assert await two.scouts[1].ask(Scout.told_numbers, within=20) == list(range(200))


async def test_a_tell_to_an_agent_that_has_gone_is_a_dead_letter(two: Two) -> None:
    await two.there.stop("scout/2")
    await until(lambda: two.here.bus.locate("scout/2") is None)
    with pytest.raises(NoSuchAgent):
        await two.here.ref("scout/2").tell(Scout.take, 1)
    assert {letter.to for letter in await two.here.dead_letters()} == {"scout/2"}


@on_each_server
async def test_a_stream_has_all_parts_in_order(two: Two) -> None:
    async with two.scouts[0].stream(Scout.count, 1000, within=60) as parts:
        assert [part async for part in parts] == list(range(1000))
    with pytest.raises(HandlerFailed, match="enough"):
        async for _ in two.scouts[0].stream(Scout.breaks_off, within=20):
            pass


async def test_a_slow_reader_slows_the_stream_at_the_other_node_and_leaving_it_ends_it(two: Two) -> None:
    async with two.scouts[0].stream(Scout.count, 1_000_000, within=60) as parts:
        assert await anext(parts) == 0
        await asyncio.sleep(1.0)
        sent, _ = await two.there.ref("scout/0").ask(Scout.state, within=20)
        assert sent <= 200  # 64 under way on each of the two buses and between them, and no more
    await _state(two, left=1)


@on_each_server
async def test_a_broadcast_reaches_both_nodes_once_and_the_receipt_adds_up(two: Two) -> None:
    seen = await two.here.broadcast("news.eu", {"id": 1}).settled(within=20)
    assert (seen.seen, seen.complete) == (4, True)
    seen = await two.there.broadcast("news.us", {"id": 2}).settled(within=20)
    assert (seen.seen, seen.complete) == (4, True)
    assert (await two.here.broadcast("other.eu", {"id": 3}).settled(within=5)).seen == 0
    for agent in (*two.scouts, two.here.ref("home/0")):
        assert await agent.ask(Scout.heard_numbers, within=20) == [1, 2]


async def test_broadcasts_of_one_node_keep_their_order(two: Two) -> None:
    for number in range(300):
        await two.here.broadcast("news.eu", {"id": number})
    await two.here.broadcast("news.eu", {"id": 300}).settled(within=20)
    assert await two.scouts[0].ask(Scout.heard_numbers, within=20) == list(range(301))


@on_each_server
async def test_gather_and_roles_reach_the_other_node(two: Two) -> None:
    gathered = await two.scouts.gather(Scout.who, within=20)
    assert gathered.complete
    assert sorted(gathered) == ["scout/0", "scout/1", "scout/2"]
    assert (await two.scouts.gather(Scout.who, within=20, quorum=2)).reached
    failed = await two.scouts.gather(Scout.fail, "it", within=20)
    assert {type(error) for error in failed.errors.values()} == {HandlerFailed}
    named = {await two.here.any("scout").ask(Scout.who, within=20) for _ in range(9)}
    assert named <= {"scout/0", "scout/1", "scout/2"}
    assert len(named) > 1


async def test_programs_that_join_one_bus_reach_agents_of_all_nodes(two: Two) -> None:
    async with join(two.here.name) as joined:
        assert await joined.ref("scout/0").ask("add", 1, within=20) == 2


async def test_nodes_and_groups_are_known_on_all_nodes(two: Two) -> None:
    nodes = two.here.nodes()
    assert [(one.name, one.state, one.agents) for one in nodes] == [("a", "this one", 1), ("b", "here", 3)]
    with pytest.raises(ConfigurationError, match="the group 'scout' is on node b"):
        await two.here.spawn(Scout, 2, name="scout")
    await two.there.stop(two.there.group("scout"))
    await until(lambda: two.here.nodes()[1].agents == 0)
    await two.here.spawn(Scout, 2, name="scout")
    await two.there.bus.wait_for(["scout/1"], within=30)
    assert await two.there.ref("scout/1").ask(Scout.who, within=20) == "scout/1"
