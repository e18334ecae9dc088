"""What each verb does when something fails: the rows of the table in docs/several-machines.md, over a real server."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import pytest

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import FAST, ChildNode, child_node, new_name, node, until
from tests.support.cluster.server import NatsServer
from three_mode import Orchestrator
from three_mode.agents import NodeLost
from three_mode.errors import NoSuchAgent, PeerLost

BOTH = ["scout/0", "scout/1"]


async def outcome(work: Awaitable[Any]) -> Any:
    """Return the result, or the error."""
    return (await asyncio.gather(work, return_exceptions=True))[0]


async def read(stream: Any) -> None:
    async for _ in stream:
        pass


def host_of(child: ChildNode) -> int:
    """Return the process of a node's agents."""
    children = psutil.Process(child.process.pid).children(recursive=True)
    return next(one.pid for one in children if "host" in " ".join(one.cmdline()))


async def listened(here: Orchestrator) -> None:
    """Wait until the patterns of the other node are known: they travel behind the names."""
    for _ in range(200):
        if (await here.broadcast("news.eu", {"id": 0}).settled(within=20)).seen == 2:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nobody listens")


async def letters(here: Orchestrator, reason: str) -> None:
    """Wait until there is a dead letter of a tell, of any node, that gives this reason."""
    for _ in range(200):
        found = [one for one in await here.dead_letters(within=10) if one.to == "scout/0"]
        if any(reason in one.reason for one in found):
            return
        await asyncio.sleep(0.1)
    raise AssertionError([one.reason for one in found])


async def test_when_a_host_of_the_other_node_ends() -> None:
    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "a", timing=FAST) as here:
        async with child_node(server.url, cluster, "b", "scout") as child:
            await here.bus.wait_for(BOTH, within=30)
            await listened(here)
            scout = here.ref("scout/0")
            waiting = [
                asyncio.create_task(outcome(scout.ask(Scout.wait, 300.0, within=300))),
                asyncio.create_task(outcome(read(scout.stream(Scout.count, 10**6, within=300)))),
            ]
            await asyncio.sleep(0.3)
            host = host_of(child)
            os.kill(host, signal.SIGSTOP)  # so that nothing of what follows is read
            receipt = here.broadcast("news.eu", {"id": 1})
            await receipt
            await scout.tell(Scout.take, 1)  # it is lost with the host, which has it already
            await asyncio.sleep(0.3)
            os.kill(host, signal.SIGKILL)
            assert {type(end) for end in await asyncio.wait_for(asyncio.gather(*waiting), 60)} == {PeerLost}
            seen = await receipt.settled(within=20)
            assert (seen.seen, seen.dead, seen.unreachable) == (0, 2, 0)
            for _ in range(300):  # it answers again when its host is back
                if await outcome(scout.ask(Scout.add, 1, within=20)) == 2:
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError("it did not come back")
            assert await scout.ask(Scout.told_numbers, within=20) == []


def killed(child: ChildNode, server: NatsServer) -> None:
    child.send(signal.SIGKILL)


def stopped(child: ChildNode, server: NatsServer) -> None:
    child.send(signal.SIGSTOP)


def without_server(child: ChildNode, server: NatsServer) -> None:
    server.kill()


@pytest.mark.parametrize("fails", [killed, stopped, without_server])
async def test_when_the_other_node_or_the_server_fails(fails: Callable[[ChildNode, NatsServer], None]) -> None:
    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "a", timing=FAST) as here:
        async with child_node(server.url, cluster, "b", "scout") as child:
            await here.bus.wait_for(BOTH, within=30)
            await listened(here)
            scout = here.ref("scout/0")
            waiting = [
                asyncio.create_task(outcome(scout.ask(Scout.wait, 300.0, within=300))),
                asyncio.create_task(outcome(read(scout.stream(Scout.count, 10**6, within=300)))),
                asyncio.create_task(outcome(here.group("scout").gather(Scout.wait, 300.0, within=300))),
            ]
            await asyncio.sleep(0.3)
            fails(child, server)
            receipt = here.broadcast("news.eu", {"id": 1})
            await scout.tell(Scout.take, 1)  # it is under way
            ends = await asyncio.wait_for(asyncio.gather(*waiting), 60)
            assert [type(end) for end in ends[:2]] == [PeerLost, PeerLost]
            assert {type(error) for error in ends[2].errors.values()} == {PeerLost}
            await letters(here, "before it said what arrived")
            await until(lambda: any(isinstance(event, NodeLost) for event in here.events))
            seen = await receipt.settled(within=20)
            assert (seen.seen, seen.unreachable, seen.unreachable_nodes) == (0, 2, ("b",))
            await until(lambda: here.bus.locate("scout/0") is None)
            assert isinstance(await outcome(scout.ask(Scout.add, 1, within=20)), PeerLost)
            with pytest.raises(PeerLost):
                await scout.tell(Scout.take, 2)


async def test_when_the_other_node_leaves_in_order() -> None:
    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "a", timing=FAST) as here:
        async with child_node(server.url, cluster, "b", "scout") as child:
            await here.bus.wait_for(BOTH, within=30)
            await listened(here)
            scout = here.ref("scout/0")
            waiting = asyncio.create_task(outcome(scout.ask(Scout.wait, 300.0, within=300)))
            await asyncio.sleep(0.3)
            await child.end()
            assert isinstance(await asyncio.wait_for(waiting, 60), PeerLost)
            await until(lambda: any(isinstance(event, NodeLost) for event in here.events))
            seen = await here.broadcast("news.eu", {"id": 2}).settled(within=20)
            assert (seen.seen, seen.lagging, seen.lost, seen.dead, seen.unreachable) == (0, 0, 0, 0, 0)
            assert isinstance(await outcome(scout.ask(Scout.add, 1, within=20)), NoSuchAgent)
            with pytest.raises(NoSuchAgent):
                await scout.tell(Scout.take, 1)
