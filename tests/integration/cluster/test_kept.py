"""What agents keep in a cluster: in JetStream's key-value store of a real server, for all nodes."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.agents.keep_cast import Counter, Hookless, options
from tests.support.agents.supervision import kill
from tests.support.cluster.nodes import command_node, new_name, until
from tests.support.cluster.server import NatsServer
from three_mode import Orchestrator
from three_mode.agents import AgentsOutranked, KeepOptions
from three_mode.agents.keeping.values import KeepClaim, KeepWrite, KeptState, rank_of
from three_mode.cluster import Cluster
from three_mode.cluster.kept import NatsStore, key_of
from three_mode.errors import ConfigurationError, StateNotKept
from transports.nats import KeyValues, NatsConnection, NatsOptions, NoJetStream, OtherRevision

SLOW = 120.0
AGENT = "scout/0"
KEPT = KeepOptions("nats", within=60.0)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer("-js", "-sd", str(tmp_path / "jetstream")) as server:
        yield server


@pytest.fixture
async def connection(server: NatsServer) -> AsyncIterator[NatsConnection]:
    connection = NatsConnection(NatsOptions(server.url, connect_within=60.0, ping=10.0))
    await connection.open()
    yield connection
    await connection.close()


def node(url: str, cluster: str, name: str, hosts: int = 0) -> Orchestrator:
    of = Cluster(url, name=cluster, node=name, connect_within=60.0)
    return Orchestrator(hosts=hosts, name=f"{cluster}-{name}", cluster=of, options=options(KEPT))


def snapshot(number: int) -> KeptState:
    return KeptState.of(1, str(number).encode())


async def test_a_key_is_replaced_at_its_revision_alone(connection: NatsConnection) -> None:
    values = KeyValues(connection, "3m_test", 30.0)
    await values.open()
    assert await values.get("a/1") is None
    first = await values.replace("a/1", b"one", 0)
    with pytest.raises(OtherRevision):
        await values.replace("a/1", b"late", 0)
    second = await values.replace("a/1", b"two", first)
    found = await values.get("a/1")
    assert found is not None
    assert (found.value, found.revision) == (b"two", second)
    await values.delete("a/1")
    gone = await values.get("a/1")
    assert gone is not None
    assert gone.value is None
    with pytest.raises(OtherRevision):
        await values.replace("a/1", b"late", second)
    assert await values.replace("a/1", b"three", gone.revision) > second


async def test_the_later_incarnation_keeps_whichever_node_it_is_on(connection: NatsConnection) -> None:
    one, other = [await NatsStore.open(connection, "city", 30.0) for _ in range(2)]
    assert (await one.claim([KeepClaim(AGENT, "first")])).found == {}
    assert await one.write([KeepWrite(AGENT, "first", snapshot(1))]) == {}
    assert (await other.claim([KeepClaim(AGENT, "second")])).found == {AGENT: snapshot(1)}
    (refused,) = (await one.write([KeepWrite(AGENT, "first", snapshot(2))])).values()
    assert refused == f"a later incarnation of {AGENT} has begun, and this one keeps nothing any more"
    assert await other.write([KeepWrite(AGENT, "second", snapshot(2))]) == {}
    await one.remove([AGENT])  # the first one's end, which comes late: it takes nothing from the second
    assert await other.write([KeepWrite(AGENT, "second", snapshot(3))]) == {}
    one._known.clear()
    (refused,) = (await one.write([KeepWrite(AGENT, "first", snapshot(2))])).values()
    assert "a later incarnation" in refused
    assert (await one.claim([KeepClaim(AGENT, "third")])).found == {AGENT: snapshot(3)}
    await one.remove([AGENT])
    (refused,) = (await one.write([KeepWrite(AGENT, "third", snapshot(4))])).values()
    assert refused == f"{AGENT} was stopped for good, and what it kept was removed"
    assert (await other.claim([KeepClaim(AGENT, "fourth")])).found == {}
    assert await other.write([KeepWrite(AGENT, "fourth", snapshot(5))]) == {}


async def test_a_write_whose_answer_was_lost_is_not_taken_for_another_incarnation(connection: NatsConnection) -> None:
    store = await NatsStore.open(connection, "city", 30.0)
    await store.claim([KeepClaim(AGENT, "one")])
    before = store._known[AGENT]
    assert await store.write([KeepWrite(AGENT, "one", snapshot(1))]) == {}
    store._known[AGENT] = before  # as if the answer had not come
    assert await store.write([KeepWrite(AGENT, "one", snapshot(2))]) == {}
    assert (await store.claim([KeepClaim(AGENT, "one")])).found == {AGENT: snapshot(2)}


async def test_a_lower_rank_gets_no_place_where_incarnations_are_numbered(connection: NatsConnection) -> None:
    store = await NatsStore.open(connection, "city", 30.0)
    ranks = [rank_of(9, "b"), rank_of(9, "b"), rank_of(10, "a")]
    for number, rank in enumerate(ranks):
        assert (await store.claim([KeepClaim(AGENT, str(number), rank)])).refused == {}
    refused = (await store.claim([KeepClaim(AGENT, "late", rank_of(9, "c"))])).refused
    assert "a later incarnation" in refused[AGENT]
    assert await store.write([KeepWrite(AGENT, "2", snapshot(1))]) == {}


async def test_a_state_above_the_limit_of_the_server_is_refused_alone(connection: NatsConnection) -> None:
    store = await NatsStore.open(connection, "city", 30.0)
    await store.claim([KeepClaim("a/0", "one"), KeepClaim("a/1", "two")])
    large = KeptState.of(1, bytes(1024 * 1024))
    refused = await store.write([KeepWrite("a/0", "one", large), KeepWrite("a/1", "two", snapshot(1))])
    assert refused == {"a/0": "the state has 1048576 bytes, and the NATS server takes 1047552 (max_payload)"}


def test_any_name_of_an_agent_is_a_key() -> None:
    assert key_of("scout/7") == "scout/7"
    assert key_of("a.b=*/1") == "a=2eb=3d=2a/1"
    assert key_of("späher/1") == "sp=c3=a4her/1"


async def test_an_agent_goes_on_at_another_node_and_after_the_end_of_all(server: NatsServer) -> None:
    cluster = new_name()
    async with node(server.url, cluster, "a", hosts=1) as a:
        counter = await a.spawn(Counter, name="counter")
        assert await counter.ask(Counter.add, 5) == 5
        await kill(a)
        await a.bus.wait_for(["counter/0"], within=SLOW)
        assert await counter.ask(Counter.add, 1) == 6
    async with node(server.url, cluster, "b") as b:
        counter = await b.spawn(Counter, name="counter")
        assert await counter.ask(Counter.count) == 6
        await b.stop(counter, within=SLOW)
        assert await (await b.spawn(Counter, name="counter")).ask(Counter.count) == 0


@pytest.mark.parametrize("ends", ["in order", "killed"])
async def test_an_agent_that_moves_goes_on_with_what_it_kept(server: NatsServer, ends: str) -> None:
    cluster = new_name()
    words = ("b", "--import", "tests.support.agents", "--keep", "nats", "--label", "first")
    async with node(server.url, cluster, "home") as home, command_node(server.url, cluster, *words) as child:
        await until(lambda: any(one.allow for one in home.nodes()))
        counter = await home.spawn(Counter, name="counter", on=("first", "second"), restart="permanent")
        assert await counter.ask(Counter.add, 5, within=SLOW) == 5
        child.send(signal.SIGTERM if ends == "in order" else signal.SIGKILL)
        other = Cluster(
            server.url, name=cluster, node="c", connect_within=60.0, labels=("second",), allow=("tests.support.agents",)
        )
        async with Orchestrator(hosts=0, name=f"{cluster}-c", cluster=other, options=options(KEPT)) as c:
            await until(lambda: owner_of(home, "counter/0") == c._gateway.core.id, SLOW)
            await home.bus.wait_for(["counter/0"], within=SLOW)
            assert await counter.ask(Counter.add, 1, within=SLOW) == 6
            await home.stop(counter, within=SLOW)
            again = await home.spawn(Counter, name="counter", on="second")
            assert await again.ask(Counter.add, 1, within=SLOW) == 1  # stopped, and forgotten there


async def test_each_start_of_a_node_numbers_above_all_before(connection: NatsConnection) -> None:
    eras = [(await NatsStore.open(connection, "city", 30.0)).era for _ in range(3)]
    eras += [store.era for store in await asyncio.gather(*(NatsStore.open(connection, "city", 30.0) for _ in range(3)))]
    assert sorted(eras) == [1, 2, 3, 4, 5, 6]


def owner_of(orchestrator: Any, agent: str) -> str | None:
    """Return the node at which an agent can be called, as a node sees it."""
    found: str | None = orchestrator._gateway.placement.placer.placing.owner(agent)
    return found


def parted(orchestrator: Any) -> Callable[[], None]:
    """Cut a node off from the other nodes, and not from the store; return what joins it again."""
    gateway = orchestrator._gateway
    sends, hears = gateway._nats.publish, gateway.core.handle
    gateway._nats.publish = gateway.core.handle = lambda *_: None

    def join() -> None:
        gateway._nats.publish, gateway.core.handle = sends, hears

    return join


@pytest.mark.parametrize("begins", ["is restarted", "is made again"])
async def test_an_incarnation_that_was_cut_off_keeps_nothing_over_the_one_that_followed_it(
    server: NatsServer, begins: str
) -> None:
    cluster, allow = new_name(), ("tests.support.agents",)

    def one(name: str, hosts: int) -> Orchestrator:
        of = Cluster(server.url, name=cluster, node=name, connect_within=60.0, labels=("any",), allow=allow)
        return Orchestrator(hosts, f"{cluster}-{name}", cluster=of, options=options(KEPT))

    async with one("home", 0) as home, one("far", 1 if begins == "is made again" else 0) as far:
        await until(lambda: any(node.allow for node in home.nodes()[1:]))
        await home.spawn(Hookless, 3, name="busy", on="home")  # so that the other node is asked
        counter = await home.spawn(Counter, name="counter", on="any", restart="permanent")
        assert "counter/0" in far._roster.agents
        assert await counter.ask(Counter.add, 5, within=SLOW) == 5
        join = parted(far)
        await until(lambda: "counter/0" in home._roster.agents, SLOW)
        await until(lambda: home._roster.agents["counter/0"].state == "running", SLOW)
        assert await counter.ask(Counter.add, 1, within=SLOW) == 6
        old = far.ref("counter/0")
        with pytest.raises(StateNotKept, match="a later incarnation"):
            await old.ask(Counter.add, 100, within=SLOW)
        if begins == "is restarted":
            with pytest.raises(StateNotKept, match="a later incarnation"):
                await far.restart("counter/0", within=SLOW)
        else:
            await kill(far)
            await until(lambda: "StateNotKept" in far._roster.agents["counter/0"].reason, SLOW)
        assert await counter.ask(Counter.add, 1, within=SLOW) == 7
        join()
        await until(lambda: not far._roster.comes_back("counter/0"), SLOW)
        await home.restart(counter, within=SLOW)
        assert await counter.ask(Counter.count, within=SLOW) == 7


async def test_of_twins_that_both_reach_the_store_the_one_that_keeps_is_left_when_the_network_heals(
    server: NatsServer,
) -> None:
    cluster = new_name()
    async with node(server.url, cluster, "a", hosts=1) as a, node(server.url, cluster, "b") as b:
        await b.spawn(Hookless, name="b")
        await a.bus.wait_for(["b/0"], within=SLOW)  # so that both number on from the same
        joins = [parted(a), parted(b)]
        early = await a.spawn(Counter, name="twin", restart="permanent")
        assert await early.ask(Counter.add, 5, within=SLOW) == 5
        for _ in range(2):  # each start is a later epoch of the same rank
            await kill(a)
            await a.bus.wait_for(["twin/0"], within=SLOW)
        b._gateway.core.order_number()
        late = await b.spawn(Counter, name="twin", restart="permanent")
        assert await late.ask(Counter.add, 1, within=SLOW) == 6
        cores = [orc._gateway.core.own.claims for orc in (a, b)]
        assert cores[0]["twin/0"].number > cores[1]["twin/0"].number
        with pytest.raises(StateNotKept, match="a later incarnation"):
            await early.ask(Counter.add, 100, within=SLOW)
        for join in joins:
            join()
        await until(lambda: "twin/0" not in a._roster.agents, SLOW)
        assert [(event.agents, event.node) for event in a.events if isinstance(event, AgentsOutranked)] == [
            (("twin/0",), "b")
        ]
        await a.bus.wait_for(["twin/0"], within=SLOW)
        assert await a.ref("twin/0").ask(Counter.add, 1, within=SLOW) == 7
        await b.restart(late, within=SLOW)
        assert await late.ask(Counter.count, within=SLOW) == 7


async def test_the_server_may_start_anew_and_what_was_kept_is_there(server: NatsServer) -> None:
    cluster = new_name()
    async with node(server.url, cluster, "a") as a:
        counter = await a.spawn(Counter, name="counter")
        await counter.ask(Counter.add, 5)
        server.kill()
        await server.start()

        async def added() -> int:
            while True:
                try:
                    return int(await counter.ask(Counter.add, 1))
                except StateNotKept as error:
                    if not error.retryable:
                        raise
                    await asyncio.sleep(0.1)

        count = await asyncio.wait_for(added(), SLOW)
        await a.restart(counter, within=SLOW)
        assert await counter.ask(Counter.count) == count


async def test_a_server_without_jetstream_ends_the_start() -> None:
    async with NatsServer() as server:
        with pytest.raises(ConfigurationError, match="has no JetStream for this") as refused:
            async with node(server.url, new_name(), "a"):
                pass
        assert "nats-server -js" in str(refused.value)
        connection = NatsConnection(NatsOptions(server.url, connect_within=60.0))
        await connection.open()
        with pytest.raises(NoJetStream):
            await KeyValues(connection, "3m_test", 30.0).open()
        await connection.close()
