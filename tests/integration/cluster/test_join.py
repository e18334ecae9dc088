"""`join(..., cluster=)`: a program that is on no node's bus calls agents of all nodes, with all verbs."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import new_name, node, until
from tests.support.cluster.server import NatsServer, free_port
from three_mode import Orchestrator, sync
from three_mode.agents import join
from three_mode.cluster import Cluster
from three_mode.errors import ConfigurationError, HandlerFailed, ModeUnavailable, NoSuchAgent
from transports.bus import running_buses


class City(NamedTuple):
    """A cluster of two nodes."""

    url: str
    name: str
    here: Orchestrator
    there: Orchestrator


@pytest.fixture
async def city() -> AsyncIterator[City]:
    name = new_name()
    async with NatsServer() as server, node(server.url, name, "a") as here, node(server.url, name, "b") as there:
        await there.spawn(Scout, 3, name="scout")
        await here.spawn(Scout, 1, name="home")
        yield City(server.url, name, here, there)


async def test_a_program_has_all_verbs_and_leaves_nothing(city: City) -> None:
    async with join(city.name, cluster=Cluster(city.url, connect_within=60)) as member:
        own = member.bus.name  # other programs of this machine begin and end buses of theirs meanwhile
        assert own in running_buses()
        scouts = member.group("scout")
        assert [await one.ask(Scout.add, 4, within=60) for one in scouts] == [5, 5, 5]
        assert await member.ref("home/0").ask(Scout.who, within=60) == "home/0"
        with pytest.raises(HandlerFailed):
            await scouts[0].ask(Scout.fail, "it", within=60)
        with pytest.raises(NoSuchAgent):
            await member.ref("scout/9").ask(Scout.add, 1, within=60)
        async with scouts[1].stream(Scout.count, 300, within=60) as parts:
            assert [part async for part in parts] == list(range(300))
        assert sorted(await scouts.gather(Scout.who, within=60)) == ["scout/0", "scout/1", "scout/2"]
        assert await member.any("scout").ask(Scout.add, 1, within=60) == 2
        seen = await member.broadcast("news.eu", {"id": 7}).settled(within=60)
        assert (seen.seen, seen.complete) == (4, True)
        await scouts[2].tell(Scout.take, 3)
        assert await scouts[2].ask(Scout.told_numbers, within=60) == [3]
        kinds = {one.name: (one.kind, one.agents) for one in member.nodes()}
        assert (kinds.pop("a"), kinds.pop("b")) == (("node", 1), ("node", 3))
        assert list(kinds.values()) == [("program", 0)]
        await until(lambda: any(one.kind == "program" for one in city.here.nodes()))
        await city.there.stop("scout/1")
        await until(lambda: member.bus.locate("scout/1") is None)
        with pytest.raises(NoSuchAgent):
            await scouts[1].tell(Scout.take, 1)
        assert [letter.to for letter in member.dead_letters()] == ["scout/1"]
    await until(lambda: all(one.kind == "node" for one in city.here.nodes()))
    assert own not in running_buses()


async def test_tables_show_the_agents_of_all_nodes_and_say_which_node_is_silent(city: City) -> None:
    await city.here.bus.wait_for(["scout/0"], within=60)
    table = await city.here.table(within=20)
    assert [agent.name for agent in table.agents] == ["home/0"]
    (other,) = table.nodes
    assert (other.name, other.problem, sorted(agent.name for agent in other.agents)) == (
        "b",
        "",
        ["scout/0", "scout/1", "scout/2"],
    )
    assert other.version
    async with join(city.name, cluster=Cluster(city.url, connect_within=60)) as member:
        table = await member.table(within=20)
        assert {one.name: len(one.agents) for one in table.nodes} == {"a": 1, "b": 3}
        assert table.agents == ()
        server = city.there._control_server
        assert server is not None
        server._orders["table_here"] = lambda raw: asyncio.sleep(60)
        begun = time.monotonic()
        table = await member.table(within=1.0)
        assert time.monotonic() - begun < 30
        problems = {one.name: one.problem for one in table.nodes}
        assert problems["a"] == ""
        assert "not" in problems["b"]


async def test_thousands_of_agents_come_in_pages() -> None:
    name = new_name()
    async with NatsServer() as server, node(server.url, name, "a") as here:
        await here.spawn(Scout, 1300, name="scout", within=120)
        async with join(name, cluster=Cluster(server.url, connect_within=60)) as member:
            (other,) = [one for one in (await member.table(within=60)).nodes if one.kind == "node"]
            assert len({agent.name for agent in other.agents}) == 1300
            assert len(other.hosts) == 1


async def test_what_is_in_the_way_is_said_as_at_an_orchestrator(city: City) -> None:
    with pytest.raises(ModeUnavailable, match=f"no node of a cluster '{city.name}x' answers"):
        async with join(f"{city.name}x", cluster=Cluster(city.url, connect_within=1.0)):
            pass
    with pytest.raises(ModeUnavailable, match="no NATS server answers"):
        async with join(city.name, cluster=f"nats://127.0.0.1:{free_port()}"):
            pass
    with pytest.raises(ConfigurationError, match="is no address"):
        join(city.name, cluster="http://127.0.0.1")
    with pytest.raises(ConfigurationError, match="no name for a cluster"):
        join("a b", cluster=city.url)
    async with NatsServer("--auth", "sesame") as server:
        with pytest.raises(ConfigurationError, match="refused this connection"):
            async with join(city.name, cluster=server.url):
                pass
    async with join(city.here.name) as joined:
        with pytest.raises(ConfigurationError, match="no cluster"):
            joined.nodes()


async def test_code_without_a_loop_joins_a_cluster(city: City) -> None:
    def work() -> tuple[int, int, list[str], int]:
        with sync.join(city.name, cluster=Cluster(city.url, connect_within=60)) as member:
            answer = member.ref("scout/0").ask(Scout.add, 1, within=60)
            seen = member.broadcast("news.eu", {"id": 1}).settled(within=60)
            kinds = sorted(one.kind for one in member.nodes())
            table = member.table(within=30)
            assert len(member.group("scout")) == 3
            assert member.any("scout").ask(Scout.add, 2, within=60) == 3
            return answer, seen.seen, kinds, sum(len(one.agents) for one in table.nodes)

    assert await asyncio.to_thread(work) == (2, 4, ["node", "node", "program"], 4)
