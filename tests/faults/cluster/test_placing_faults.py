"""Faults of nodes with placed agents, over a real server: kill -9 and SIGSTOP of nodes and homes, the server's end.

Agents of a lost node come back elsewhere, once; every call ends meanwhile.
"""

import asyncio
import signal
from typing import Any

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import FAST, child_home, command_node, new_name, node, until, worker
from tests.support.cluster.server import NatsServer
from three_mode import Orchestrator
from three_mode.agents import AgentGroup, AgentsMoved, AgentsStranded, HomeBack, HomeLost, NodeBack
from three_mode.errors import NoSuchAgent, PeerLost, ThreeModeError

ALLOW = ("--import", "tests.support")


def events(orc: Orchestrator, kind: type) -> list[Any]:
    return [event for event in orc.events if isinstance(event, kind)]


async def takers(home: Orchestrator, count: int) -> None:
    await until(lambda: sum(bool(one.allow) for one in home.nodes()) == count)


async def answers(scouts: AgentGroup, within: float = 60.0) -> None:
    """Ask until all have answered in one round."""
    async with asyncio.timeout(within):
        while True:
            gathered = await scouts.gather(Scout.who, within=20)
            if gathered.complete:
                assert sorted(gathered) == sorted(scouts.names)
                return
            await asyncio.sleep(0.1)


async def load(scouts: AgentGroup, stop: asyncio.Event) -> list[ThreeModeError]:
    """Ask all agents, over and over; return the errors. Every call has to end."""
    errors = []
    while not stop.is_set():
        asked = [scout.ask(Scout.add, 1, within=20) for scout in scouts]
        for result in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(result, ThreeModeError):
                errors.append(result)
            else:
                assert result == 2
        await asyncio.sleep(0.02)
    return errors


async def test_agents_of_a_killed_node_answer_at_another_one_while_calls_go_on() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with node(server.url, cluster, "home", timing=FAST) as home, worker(server.url, cluster, "a") as a:
            async with command_node(server.url, cluster, "b", *ALLOW) as child:
                await takers(home, 2)
                scouts = await home.spawn(Scout, 6, name="scout")
                never = await home.spawn(Scout, 2, name="never", on="b", restart="temporary")
                stop = asyncio.Event()
                loading = asyncio.create_task(load(scouts, stop))
                await asyncio.sleep(0.3)
                child.send(signal.SIGKILL)
                await until(lambda: events(home, AgentsMoved))
                await answers(scouts)
                stop.set()
                errors = await loading
                assert {type(error) for error in errors} <= {PeerLost, NoSuchAgent}
                moved = sorted(agent for event in events(home, AgentsMoved) for agent in event.agents)
                assert len(moved) == 2
                assert {event.origin for event in events(home, AgentsMoved)} == {"b"}
                names = [name for orc in (home, a) for name in orc._roster.agents]
                assert sorted(names) == sorted(scouts.names)
                for one in never:
                    assert home.bus.locate(one.name) is None


async def test_a_node_that_was_stopped_ends_its_agents_when_later_ones_are_elsewhere() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with node(server.url, cluster, "home", timing=FAST) as home:
            async with command_node(server.url, cluster, "b", *ALLOW) as child:
                await takers(home, 1)
                scouts = await home.spawn(Scout, 2, name="scout", on=("b", "home"))
                assert [one.agents for one in home.nodes()] == [1, 1]
                child.send(signal.SIGSTOP)
                await until(lambda: events(home, AgentsMoved))
                await answers(scouts)
                child.send(signal.SIGCONT)
                await until(lambda: events(home, NodeBack))
                await until(lambda: [one.agents for one in home.nodes()] == [2, 0])
                assert sorted(home._roster.agents) == ["scout/0", "scout/1"]
                await answers(scouts)
                more = await home.spawn(Scout, name="scout", on="b")  # it takes orders as before
                assert await more.ask(Scout.who, within=20) == "scout/2"


async def test_agents_that_were_stopped_while_their_node_was_away_end_when_it_is_back() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with node(server.url, cluster, "home", timing=FAST) as home:
            async with command_node(server.url, cluster, "b", *ALLOW, "--label", "gpu") as child:
                await takers(home, 1)
                scouts = await home.spawn(Scout, 2, name="scout", on="gpu")
                child.send(signal.SIGSTOP)
                await until(lambda: events(home, AgentsStranded))
                await home.stop(scouts)
                child.send(signal.SIGCONT)
                await until(lambda: events(home, NodeBack))
                await until(lambda: [one.agents for one in home.nodes()] == [0, 0])


async def test_agents_wait_for_a_node_with_their_label() -> None:
    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "home", timing=FAST) as home:
        async with command_node(server.url, cluster, "b", *ALLOW, "--label", "gpu") as child:
            await takers(home, 1)
            scouts = await home.spawn(Scout, 2, name="scout", on="gpu")
            child.send(signal.SIGKILL)
            await until(lambda: events(home, AgentsStranded))
        async with worker(server.url, cluster, "c", labels=("gpu",)) as c:
            await answers(scouts)
            assert sorted(c._roster.agents) == scouts.names
            (moved,) = events(home, AgentsMoved)
            assert (moved.agents, moved.origin, moved.node) == (("scout/0", "scout/1"), "b", "c")


async def test_a_server_that_is_away_for_longer_moves_no_agent() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with node(server.url, cluster, "home", timing=FAST) as home, worker(server.url, cluster, "a") as a:
            await takers(home, 1)
            scouts = await home.spawn(Scout, 2, name="scout", on="a")
            await scouts[0].tell(Scout.take, 7)
            assert await scouts[0].ask(Scout.told_numbers, within=20) == [7]
            await asyncio.sleep(2 * FAST.lost_after)  # it has heard itself for long enough
            server.kill()
            await until(lambda: home.nodes()[1].state == "lost")
            await asyncio.sleep(FAST.lost_after)
            await server.start()
            await until(lambda: home.nodes()[1].state == "here")
            await asyncio.sleep(2 * FAST.lost_after)
            assert await scouts[0].ask(Scout.told_numbers, within=20) == [7]
            assert not events(home, AgentsMoved)
            assert sorted(a._roster.agents) == scouts.names


async def test_nodes_do_as_they_were_told_while_their_home_is_lost() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with (
            worker(server.url, cluster, "keep") as keep,
            worker(server.url, cluster, "pause", alone="pause") as pause,
            worker(server.url, cluster, "stop", alone="stop") as stop,
            child_home(server.url, cluster, "keep", "pause", "stop") as child,
        ):
            nodes = (keep, pause, stop)
            child.send(signal.SIGSTOP)
            await until(lambda: all(events(orc, HomeLost) for orc in nodes))
            assert [events(orc, HomeLost)[0].alone for orc in nodes] == ["keep", "pause", "stop"]
            assert await keep.ref("keep/0").ask(Scout.who, within=20) == "keep/0"
            await until(lambda: not stop._roster.agents)
            paused = asyncio.create_task(pause.ref("pause/0").ask(Scout.who, within=60))
            await asyncio.sleep(0.5)
            assert not paused.done()
            child.send(signal.SIGCONT)
            await until(lambda: all(events(orc, HomeBack) for orc in (keep, pause)))
            assert await paused == "pause/0"
            await until(lambda: "stop/0" in stop._roster.agents, 60)  # its home places it again
            child.send(signal.SIGKILL)
            await until(lambda: len(events(keep, HomeLost)) == 2)
            assert await keep.ref("keep/0").ask(Scout.who, within=20) == "keep/0"
