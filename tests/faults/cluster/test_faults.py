"""Faults of a cluster with a real server: nodes and servers that are killed, stopped, and started again.

Every wait ends, with the error that says what is the matter.
"""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import nkeys
import pytest
import trustme

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import FAST, child_node, new_name, node, until
from tests.support.cluster.server import NatsServer, free_port, on_each_server
from three_mode import Orchestrator
from three_mode.agents import AgentsOutranked, NodeBack, NodeGap, NodeJoined, NodeLost, NodeSuspected
from three_mode.cluster import Cluster
from three_mode.errors import ConfigurationError, DeadlineExceeded, MissingExtra, ModeUnavailable, NoSuchAgent, PeerLost


def kinds(orc: Orchestrator) -> list[type]:
    return [type(event) for event in orc.events]


async def outcome(work: Any) -> Any:
    """Return the result, or the error."""
    return (await asyncio.gather(work, return_exceptions=True))[0]


async def read(stream: Any) -> None:
    async for _ in stream:
        pass


@on_each_server
async def test_kill_of_a_node_ends_its_calls_and_streams_with_its_name() -> None:
    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "a", timing=FAST) as here:
        async with child_node(server.url, cluster, "b", "scout") as child:
            await here.bus.wait_for(["scout/0", "scout/1"], within=30)
            scout = here.ref("scout/0")
            assert await scout.ask(Scout.add, 1, within=20) == 2
            asking = asyncio.create_task(outcome(scout.ask(Scout.wait, 300.0, within=300)))
            stream = scout.stream(Scout.count, 1_000_000, within=300)
            assert await anext(stream) == 0
            receipt = here.broadcast("news.eu", {"id": 1})
            await receipt.settled(within=20)
            child.send(signal.SIGKILL)
            assert isinstance(await asyncio.wait_for(asking, 60), PeerLost)
            with pytest.raises(PeerLost):
                await asyncio.wait_for(read(stream), 60)
            await until(lambda: here.bus.locate("scout/0") is None)
            with pytest.raises(PeerLost):
                await scout.ask(Scout.add, 1, within=20)
            (lost,) = [event for event in here.events if isinstance(event, NodeLost)]
            assert (lost.node, lost.agents) == ("b", 2)
            assert NodeSuspected in kinds(here)
            seen = await receipt.settled(within=5)
            assert (seen.unreachable, seen.unreachable_nodes, seen.complete) == (2, ("b",), False)
        async with child_node(server.url, cluster, "b", "scout"):  # it starts anew, under its name
            await here.bus.wait_for(["scout/0"], within=60)
            assert await scout.ask(Scout.add, 1, within=20) == 2
    assert kinds(here).count(NodeJoined) == 2


async def test_a_node_that_leaves_in_order_is_known_to_have_left_at_once() -> None:
    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "a") as here:
        async with child_node(server.url, cluster, "b", "scout") as child:
            await here.bus.wait_for(["scout/0"], within=30)
            await child.end()
            await until(lambda: NodeLost in kinds(here))
        (lost,) = [event for event in here.events if isinstance(event, NodeLost)]
        assert lost.reason == "it left"
        assert [one.name for one in here.nodes()] == ["a"]


async def test_a_stopped_node_is_lost_and_comes_back_with_its_agents() -> None:
    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "a", timing=FAST) as here:
        async with child_node(server.url, cluster, "b", "scout") as child:
            await here.bus.wait_for(["scout/0"], within=30)
            child.send(signal.SIGSTOP)
            begun = time.monotonic()
            failed = await outcome(here.ref("scout/0").ask(Scout.add, 1, within=60))
            assert isinstance(failed, PeerLost)
            assert time.monotonic() - begun < 30
            await until(lambda: here.bus.locate("scout/0") is None)
            child.send(signal.SIGCONT)
            await here.bus.wait_for(["scout/0"], within=30)
            assert await here.ref("scout/0").ask(Scout.add, 1, within=20) == 2
            await here.ref("scout/0").tell(Scout.take, 7)
            assert await here.ref("scout/0").ask(Scout.told_numbers, within=20) == [7]
        assert NodeBack in kinds(here)


@on_each_server
async def test_kill_of_the_server_and_a_new_one_on_its_port() -> None:
    cluster = new_name()
    server = NatsServer()
    async with server:
        async with (
            node(server.url, cluster, "a", timing=FAST) as here,
            node(server.url, cluster, "b", timing=FAST) as there,
        ):
            await there.spawn(Scout, 1, name="scout")
            await here.spawn(Scout, 1, name="home")
            await here.bus.wait_for(["scout/0"], within=30)
            scout = here.ref("scout/0")
            assert await scout.ask(Scout.add, 1, within=20) == 2
            asking = asyncio.create_task(outcome(scout.ask(Scout.wait, 300.0, within=300)))
            await asyncio.sleep(0.2)
            server.kill()
            assert isinstance(await asyncio.wait_for(asking, 60), PeerLost)
            assert await here.ref("home/0").ask(Scout.add, 1, within=20) == 2  # a node alone goes on
            await until(lambda: here.bus.locate("scout/0") is None)
            await server.start()
            await here.bus.wait_for(["scout/0"], within=60)
            assert await scout.ask(Scout.add, 1, within=20) == 2
            seen = await here.broadcast("news.eu", {"id": 1}).settled(within=20)
            assert (seen.seen, seen.complete) == (2, True)


@on_each_server
async def test_a_stopped_server_ends_every_wait_and_what_was_lost_is_told() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with (
            node(server.url, cluster, "a", timing=FAST) as here,
            node(server.url, cluster, "b", timing=FAST) as there,
        ):
            await there.spawn(Scout, 1, name="scout")
            await here.bus.wait_for(["scout/0"], within=30)
            scout = here.ref("scout/0")
            server.pause()
            begun = time.monotonic()
            asked = [asyncio.create_task(outcome(scout.ask(Scout.add, number, within=20))) for number in range(50)]
            for number in range(10):
                await scout.tell(Scout.take, number)
            done = await asyncio.gather(*asked)
            assert time.monotonic() - begun < 60
            assert {type(one) for one in done} <= {PeerLost, DeadlineExceeded, NoSuchAgent}
            await until(lambda: here.bus.locate("scout/0") is None)
            server.resume()
            await here.bus.wait_for(["scout/0"], within=60)
            assert await scout.ask(Scout.add, 1, within=20) == 2
            told = await scout.ask(Scout.told_numbers, within=20)
            assert sorted(set(told)) == sorted(told)
            dead = [letter for letter in await here.dead_letters() if letter.handler == "take"]
            assert len(told) + len(dead) >= 10


async def test_two_agents_of_one_name_after_a_partition_are_one_again() -> None:
    """Two servers that do not know each other are a partition; one node moves over when it heals."""
    cluster, port = new_name(), free_port()
    async with NatsServer() as one, NatsServer() as other:
        relay = await asyncio.start_server(lambda r, w: _relay(r, w, target), "127.0.0.1", port)
        target = [other.port]
        async with (
            node(one.url, cluster, "a", timing=FAST) as here,
            node(f"nats://127.0.0.1:{port}", cluster, "b", timing=FAST) as there,
        ):
            await here.spawn(Scout, 1, name="scout")
            await there.spawn(Scout, 1, name="scout")
            await there.spawn(Scout, 1, name="other")
            target[0] = one.port
            other.kill()
            await until(lambda: any(AgentsOutranked in kinds(orc) for orc in (here, there)), 60)
            await until(lambda: sum("scout/0" in orc._roster.agents for orc in (here, there)) == 1, 60)
            loser, winner = (here, there) if AgentsOutranked in kinds(here) else (there, here)
            assert AgentsOutranked not in kinds(winner)
            await loser.bus.wait_for(["scout/0", "other/0"], within=60)
            assert await loser.ref("scout/0").ask(Scout.who, within=20) == "scout/0"
            assert await winner.ref("scout/0").ask(Scout.who, within=20) == "scout/0"
            await other.start()  # it ends with its block
        relay.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: list[int]) -> None:
    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    try:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", target[0])
    except OSError:
        writer.close()
        return
    await asyncio.gather(pipe(reader, there_writer), pipe(there_reader, writer))


async def test_an_agent_whose_host_ended_is_lost_and_comes_back_for_the_other_node() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with node(server.url, cluster, "a") as here, node(server.url, cluster, "b", hosts=1) as there:
            await there.spawn(Scout, 1, name="scout", restart="permanent")
            await here.bus.wait_for(["scout/0"], within=30)
            scout = here.ref("scout/0")
            asking = asyncio.create_task(outcome(scout.ask(Scout.wait, 300.0, within=300)))
            await asyncio.sleep(0.5)
            supervisor = there._supervisor
            assert supervisor is not None
            process = supervisor.hosts.all["host-1"].process
            assert process is not None
            process.kill()
            assert isinstance(await asyncio.wait_for(asking, 60), PeerLost)
            async with asyncio.timeout(60):
                while True:
                    answer = await outcome(scout.ask(Scout.add, 1, within=20))
                    if answer == 2:
                        break
                    assert isinstance(answer, PeerLost | NoSuchAgent), answer
                    await asyncio.sleep(0.05)


# errors of the start --------------------------------------------------------------------------------------------------
async def test_no_server_is_an_error_that_says_so() -> None:
    with pytest.raises(ModeUnavailable, match=r"no NATS server answers at nats://127\.0\.0\.1") as error:
        await node(f"nats://127.0.0.1:{free_port()}", new_name(), "a").open()
    assert "nats-server" in str(error.value.hint)


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    silent = await asyncio.start_server(_says_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    name = new_name()
    orc = Orchestrator(0, f"{name}-a", cluster=Cluster(f"nats://127.0.0.1:{port}", name=name, connect_within=0.5))
    begun = time.monotonic()
    with pytest.raises(ModeUnavailable, match="no NATS server answers"):
        await orc.open()
    assert time.monotonic() - begun < 30
    silent.close()


async def _says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@on_each_server
async def test_wrong_credentials_are_refused_and_never_shown(tmp_path: Any) -> None:
    name = new_name()
    async with NatsServer("--user", "city", "--pass", "right") as server:
        url = f"nats://city:wrong-secret@127.0.0.1:{server.port}"  # pragma: allowlist secret
        with pytest.raises(ConfigurationError, match="refused this connection") as error:
            await node(url, name, "a").open()
        assert "wrong-secret" not in str(error.value)
        assert "wrong-secret" not in repr(Cluster(url))
        with pytest.raises(ConfigurationError, match="refused"):
            await node(server.url, name, "a").open()
        url = f"nats://city:right@127.0.0.1:{server.port}"  # pragma: allowlist secret
        async with node(url, name, "a") as orc:
            assert [one.name for one in orc.nodes()] == ["a"]
    token = tmp_path / "token"
    token.write_text("sesame\n")
    async with NatsServer("--auth", "sesame") as server:
        async with Orchestrator(0, f"{name}-b", cluster=Cluster(server.url, name=name, token=str(token))):
            pass
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await Orchestrator(0, cluster=Cluster("nats://127.0.0.1:1", name=name, nkey=str(tmp_path / "none"))).open()


@pytest.mark.parametrize("url", ["", "10.0.0.1", "http://10.0.0.1", "nats://", 4222])
def test_an_address_that_is_none_is_refused_at_once(url: Any) -> None:
    with pytest.raises(ConfigurationError):
        Orchestrator(0, cluster=url)


def test_a_cluster_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a cluster has a name"):
        Orchestrator(0, cluster="nats://127.0.0.1:4222")
    with pytest.raises(ConfigurationError, match="is no name for a node"):
        Orchestrator(0, "city", cluster=Cluster("nats://127.0.0.1:4222", node="a b"))


async def test_nodes_of_no_cluster_are_an_error() -> None:
    async with Orchestrator(0) as orc:
        with pytest.raises(ConfigurationError, match="belongs to no cluster"):
            orc.nodes()


@on_each_server
async def test_tls_with_certificates_of_both_sides(tmp_path: Path) -> None:
    ca, stranger = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    for name, issued in (("server", ca.issue_cert("127.0.0.1", "localhost")), ("node", ca.issue_cert("node"))):
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
    files = {kind: str(tmp_path / f"server.{end}") for kind, end in (("--tlscert", "pem"), ("--tlskey", "key"))}
    arguments = [part for pair in files.items() for part in pair]
    name, own = new_name(), {"certificate": str(tmp_path / "node.pem"), "key": str(tmp_path / "node.key")}
    async with NatsServer("--tlsverify", "--tlscacert", str(tmp_path / "ca.pem"), *arguments) as server:
        url = f"tls://127.0.0.1:{server.port}"
        good = Cluster(url, name=name, tls=str(tmp_path / "ca.pem"), **own)
        async with Orchestrator(0, f"{name}-a", cluster=good) as orc:
            assert len(orc.nodes()) == 1
        with pytest.raises(ConfigurationError, match="refused this connection"):
            await Orchestrator(
                0, f"{name}-b", cluster=Cluster(url, name=name, tls=str(tmp_path / "stranger.pem"))
            ).open()


@on_each_server
async def test_an_nkey_from_a_file(tmp_path: Path) -> None:
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    (tmp_path / "city.nk").write_bytes(seed)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    (tmp_path / "server.conf").write_text(f'authorization {{ users = [ {{ nkey: "{public}" }} ] }}')
    name = new_name()
    async with NatsServer("-c", str(tmp_path / "server.conf")) as server:
        with pytest.raises(ConfigurationError, match="refused"):
            await node(server.url, name, "a").open()
        keyed = Cluster(server.url, name=name, nkey=str(tmp_path / "city.nk"))
        async with Orchestrator(0, f"{name}-b", cluster=keyed) as orc:
            assert len(orc.nodes()) == 1


@on_each_server
async def test_a_server_that_refuses_for_a_while_is_tried_again(tmp_path: Path) -> None:
    """nats-py gives a connection up for good when a server refuses it."""
    token, name = tmp_path / "token", new_name()
    token.write_text("one")
    server, changed = NatsServer("--auth", "one"), NatsServer("--auth", "two")
    changed.port = server.port
    clusters = [Cluster(server.url, name=name, node=one, token=str(token), timing=FAST) for one in "ab"]
    async with server:
        async with (
            Orchestrator(0, f"{name}-a", cluster=clusters[0]) as here,
            Orchestrator(0, f"{name}-b", cluster=clusters[1]) as there,
        ):
            await there.spawn(Scout, 1, name="scout")
            await here.bus.wait_for(["scout/0"], within=30)
            server.kill()
            async with changed:
                await until(lambda: here.bus.locate("scout/0") is None)
                await asyncio.sleep(1.0)
                token.write_text("two")
                await here.bus.wait_for(["scout/0"], within=60)
                assert await here.ref("scout/0").ask(Scout.add, 1, within=20) == 2


async def test_an_agent_that_is_given_up_is_unknown_to_the_other_node_too() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with node(server.url, cluster, "a") as here, node(server.url, cluster, "b", hosts=2) as there:
            await there.spawn(Scout, 1, name="scout", restart="temporary")
            await here.bus.wait_for(["scout/0"], within=30)
            supervisor = there._supervisor
            assert supervisor is not None
            label = supervisor.roster.agents["scout/0"].host
            process = supervisor.hosts.all[label].process
            assert process is not None
            process.kill()
            await until(lambda: here.bus.locate("scout/0") is None)
            with pytest.raises(NoSuchAgent):
                await here.ref("scout/0").ask(Scout.add, 1, within=20)


async def test_nats_py_is_named_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nats.aio.client", None)
    with pytest.raises(MissingExtra, match=r"three-mode\[cluster\]"):
        await node("nats://127.0.0.1:1", new_name(), "a").open()


async def test_a_node_of_another_version_and_a_second_node_of_one_name_are_refused() -> None:
    import nats

    cluster = new_name()
    async with NatsServer() as server:
        client = await nats.connect(server.url)
        talking = asyncio.create_task(_say(client, f"3m.{cluster}.all", [9, "stranger", "later shape"]))
        with pytest.raises(ConfigurationError, match="node stranger speaks version 9 between nodes"):
            await node(server.url, cluster, "a").open()
        talking.cancel()
        async with node(server.url, cluster, "a") as here:
            twin = Orchestrator(0, f"{cluster}-twin", cluster=Cluster(server.url, name=cluster, node="a"))
            with pytest.raises(ConfigurationError, match="has a node 'a' already"):
                await twin.open()
            await client.publish(f"3m.{cluster}.all", b"\xc1 no packet at all")
            await client.publish(f"3m.{cluster}.all", msgspec.msgpack.encode([1, "x", "", 0, 0, [8, 1]]))
            async with node(server.url, cluster, "b") as there:
                await there.spawn(Scout, 1, name="scout")
                await here.bus.wait_for(["scout/0"], within=30)
                assert await here.ref("scout/0").ask(Scout.add, 1, within=20) == 2
        await client.close()


async def _say(client: Any, subject: str, packet: Any) -> None:
    while True:
        await client.publish(subject, msgspec.msgpack.encode(packet))
        await asyncio.sleep(0.05)


async def test_a_cluster_member_cannot_give_orders_to_hosts_or_the_orchestrator() -> None:
    """Only agents that a node claims can be called from another one."""
    import nats

    from three_mode.cluster.core.frames import VERSION, AskFrame, HeartbeatFrame, Packet, TellFrame, encode

    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "a") as here:
        client = await nats.connect(server.url)
        answers: list[bytes] = []

        async def arrived(message: Any) -> None:
            answers.append(message.data)

        await client.subscribe(f"3m.{cluster}.node.intruder", cb=arrived)
        await here.spawn(Scout, 1, name="scout")
        me = here.nodes()[0].id
        await client.publish(
            f"3m.{cluster}.all", encode(Packet(VERSION, "intruder", "", 0, 0, HeartbeatFrame("i", 0, 0)))
        )
        names = ("orchestrator", "host:host-0", here.bus.id, "any:nobody")
        for number, name in enumerate(names, 1):
            ask = AskFrame(number, name, 0, "stop", "", "", 5.0, 0, b"\xc0")
            await client.publish(
                f"3m.{cluster}.node.{me}", encode(Packet(VERSION, "intruder", me, 1, 2 * number - 1, ask))
            )
            tell = TellFrame(name, 0, "failed", "", "", b"\xc0")
            await client.publish(
                f"3m.{cluster}.node.{me}", encode(Packet(VERSION, "intruder", me, 1, 2 * number, tell))
            )
        await until(lambda: sum(msgspec.msgpack.decode(raw)[5][0] == 14 for raw in answers) == len(names))
        assert await here.ref("scout/0").ask(Scout.add, 1, within=20) == 2
        await client.close()


def test_an_event_of_frames_that_are_missing_names_its_node() -> None:
    assert str(NodeGap("b", 3, 5, True)) == "3 broadcasts of node b did not arrive"
