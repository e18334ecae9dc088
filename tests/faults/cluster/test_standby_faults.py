"""Faults of an orchestrator that leads while another one stands by, over a real server: kill -9, SIGSTOP, hand-over.

Agents on other nodes stay, with their process and their state, and calls between them go on; those of the lost node
come back elsewhere, once; who was only away steps down.
"""

import asyncio
import contextlib
import signal
from typing import Any, Self

import pytest

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import FAST, ChildNode, child_home, command_node, new_name, until, worker
from tests.support.cluster.server import NatsServer
from three_mode import Orchestrator
from three_mode.agents import AgentsMoved, HomeLost, SteppedDown, TookOver
from three_mode.errors import ConfigurationError, NotLeading, ThreeModeError

ALLOW = ("--import", "tests.support")


def standby(url: str, cluster: str, name: str, **offer: Any) -> Orchestrator:
    return worker(url, cluster, name, standby=True, **offer)


def events(orc: Orchestrator, kind: type) -> list[Any]:
    return [event for event in orc.events if isinstance(event, kind)]


async def follows(*standbys: Orchestrator, leader: str = "home") -> None:
    """Wait until these have a copy of what the node leads."""
    for orc in standbys:
        await until(lambda orc=orc: leader in [one.name for one in orc.nodes() if one.part == "leads"])
        await until(lambda orc=orc: orc._gateway.core.leads.own.follows)


async def load(orc: Orchestrator, agents: list[str], stop: asyncio.Event) -> tuple[int, list[ThreeModeError]]:
    """Ask agents, over and over; return how often, and the errors. Every call has to end."""
    asked, errors = 0, []
    while not stop.is_set():
        for agent in agents:
            try:
                assert await orc.ref(agent).ask(Scout.add, 1, within=20) == 2
                asked += 1
            except ThreeModeError as error:
                errors.append(error)
        await asyncio.sleep(0.01)
    return asked, errors


async def test_a_standby_takes_over_from_a_killed_leader_and_agents_elsewhere_see_nothing() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with (
            worker(server.url, cluster, "a", alone="stop") as a,
            worker(server.url, cluster, "b") as b,
            standby(server.url, cluster, "second") as second,
            standby(server.url, cluster, "third") as third,
            child_home(server.url, cluster, "a", "b", "any=home,a") as child,
        ):
            await follows(second, third)
            with pytest.raises(NotLeading, match="node home leads") as refused:
                await second.spawn(Scout, name="more")
            assert refused.value.leader == "home"
            for number in range(3):
                await a.ref("b/0").tell(Scout.take, number)
            lost = [name for name in ("any/0", "any/1") if name not in a._roster.agents]
            stop = asyncio.Event()
            loading = [asyncio.create_task(load(a, ["b/0"], stop)), asyncio.create_task(load(b, ["a/0"], stop))]
            leading = asyncio.create_task(second.leading(within=60))
            await asyncio.sleep(0.2)
            child.send(signal.SIGKILL)
            await leading
            await second.bus.wait_for(lost, within=30)
            await until(lambda: events(second, AgentsMoved))
            assert [await second.ref(name).ask(Scout.who, within=20) for name in lost] == lost
            stop.set()
            for asked, errors in await asyncio.gather(*loading):
                assert asked > 10
                assert not errors
            assert await a.ref("b/0").ask(Scout.told_numbers, within=20) == [0, 1, 2]
            assert [(one.node, one.origin, one.agents) for one in events(second, TookOver)] == [("second", "home", 4)]
            await until(lambda: all(events(orc, TookOver) for orc in (a, b)))
            assert events(a, HomeLost)  # which would have stopped them, were there nobody to take over
            assert not third.leads
            assert not events(third, TookOver)
            moved = [agent for event in events(second, AgentsMoved) for agent in event.agents]
            assert sorted(moved) == lost
            more = await second.spawn(Scout, 2, name="a", on="a")
            assert more.names == ["a/1", "a/2"]
            assert await more[1].ask(Scout.who, within=20) == "a/2"
            await second.stop("a/0")
            assert "a/0" not in a._roster.agents
            await until(lambda: third._gateway.core.leads.own.follows)
            with pytest.raises(NotLeading, match="node second leads"):
                await third.stop(more)


async def said(child: ChildNode, line: bytes) -> str:
    """Have a home spawn another agent of a group; return what it says."""
    assert child.process.stdin is not None
    assert child.process.stdout is not None
    child.process.stdin.write(line + b"\n")
    answer = await asyncio.wait_for(child.process.stdout.readline(), 60)
    return answer.decode().strip()


async def test_a_leader_that_was_stopped_steps_down_when_it_goes_on() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with (
            worker(server.url, cluster, "a") as a,
            standby(server.url, cluster, "second") as second,
            child_home(server.url, cluster, "a", "any=home,a") as child,
        ):
            assert await said(child, b"a") == "a/1"
            await follows(second)
            child.send(signal.SIGSTOP)
            await second.leading(within=60)
            both = {"any/0", "any/1"}
            await until(lambda: both <= {*a._roster.agents, *second._roster.agents})
            child.send(signal.SIGCONT)
            parts = {"home": "stands by", "second": "leads", "a": ""}
            await until(lambda: {one.name: one.part for one in second.nodes()} == parts)
            await until(lambda: {one.name: one.agents for one in second.nodes()}["home"] == 0)
            assert (await said(child, b"a")).startswith("NotLeading: spawn: this orchestrator stands by; node second")
            for name in sorted(both):
                assert await a.ref(name).ask(Scout.who, within=20) == name
            assert (await second.spawn(Scout, name="a", on="a")).name == "a/2"
            everywhere = sorted((*a._roster.agents, *second._roster.agents))
            assert everywhere == ["a/0", "a/1", "a/2", "any/0", "any/1"]


class Cable:
    """A way to the server that can be cut. It runs in the loop of the test."""

    def __init__(self, url: str) -> None:
        self._target = int(url.rpartition(":")[2])
        self._writers: set[asyncio.StreamWriter] = set()
        self.whole = True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        self.whole = False
        for writer in self._writers:
            writer.close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.whole:
            writer.close()
            return
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, to_server}
        await asyncio.gather(_pump(reader, to_server), _pump(from_server, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_a_leader_that_was_cut_off_steps_down_and_what_it_began_alone_is_led_by_the_other() -> None:
    cluster = new_name()
    async with NatsServer() as server, Cable(server.url) as cable:
        async with (
            worker(server.url, cluster, "a") as a,
            standby(server.url, cluster, "second") as second,
            worker(cable.url, cluster, "home") as home,
        ):
            await until(lambda: len(home.nodes()) == 3)
            both = await home.spawn(Scout, 2, name="scout", on=("a", "home"))
            await follows(second)
            cable.cut()
            alone = await home.spawn(Scout, name="alone", on="home")
            await second.leading(within=60)
            await second.bus.wait_for(both.names, within=30)
            assert home.leads  # it cannot know better yet
            cable.whole = True
            await until(lambda: events(home, SteppedDown))
            await until(lambda: set(both.names) <= {*a._roster.agents, *second._roster.agents})
            await until(lambda: sorted(home._roster.agents) == [alone.name])
            await second.bus.wait_for([alone.name], within=30)
            assert await second.ref(alone.name).ask(Scout.who, within=20) == alone.name
            await until(lambda: alone.name in second._gateway.placement.placer.placing.plan.agents)
            await second.stop(alone.name)
            assert not home._roster.agents
            with pytest.raises(NotLeading, match="node second leads"):
                await home.restart(both)


async def test_a_leader_hands_over_and_ends_without_its_agents() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with worker(server.url, cluster, "a") as a, standby(server.url, cluster, "second") as second:
            async with worker(server.url, cluster, "home", allow=()) as home:
                with pytest.raises(NotLeading, match="no node leads yet"):
                    await second.hand_over(within=20)
                await until(lambda: len(home.nodes()) == 3)
                scouts = await home.spawn(Scout, 3, name="scout", on=("a", "home"))
                at_home = sorted(home._roster.agents)
                await scouts[0].tell(Scout.take, 7)
                await home.hand_over(within=30)
                assert second.leads
                assert not home.leads
                assert [one.node for one in events(home, SteppedDown)] == ["second"]
                assert sorted(home._roster.agents) == at_home
                assert await second.ref("scout/0").ask(Scout.told_numbers, within=20) == [7]
                assert not events(second, AgentsMoved)
            await until(lambda: sorted(a._roster.agents) == scouts.names)
            await until(lambda: events(second, AgentsMoved))
            assert [event.origin for event in events(second, AgentsMoved)] == ["home"]
            with pytest.raises(ConfigurationError, match="no orchestrator stands by"):
                await second.hand_over(within=20)


async def test_a_leader_that_ends_in_order_ends_its_agents_and_nobody_takes_over() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with worker(server.url, cluster, "a") as a, standby(server.url, cluster, "second") as second:
            async with worker(server.url, cluster, "home") as home:
                await until(lambda: len(home.nodes()) == 3)
                await home.spawn(Scout, 2, name="scout", on="a")
                await follows(second)
            await until(lambda: not a._roster.agents)
            await asyncio.sleep(2 * FAST.lost_after)
            assert not second.leads
            assert not a._roster.agents


async def test_a_node_of_the_command_that_stands_by_hands_over_when_it_is_ended() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with (
            worker(server.url, cluster, "a") as a,
            child_home(server.url, cluster, "a") as home,
            command_node(server.url, cluster, "b", *ALLOW, "--standby") as child,
        ):
            leads = a._gateway.core.leads
            await until(lambda: any(leads.standbys(node) for node in leads.leaders()))
            home.send(signal.SIGKILL)
            await until(lambda: {one.name: one.part for one in a.nodes()}["b"] == "leads")
            async with standby(server.url, cluster, "last") as last:
                await follows(last, leader="b")
                child.send(signal.SIGTERM)
                await last.leading(within=60)
                assert await asyncio.wait_for(child.process.wait(), 60) == 0
                assert await last.ref("a/0").ask(Scout.who, within=20) == "a/0"
                assert "a/0" in a._roster.agents
