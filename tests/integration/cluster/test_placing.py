"""Agents placed on other nodes, over a real server: where they go, orders about them, and what cannot be."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, cast

import pytest

from tests.support.agents.keep_cast import Counter
from tests.support.cluster.cluster_cast import Scout, Stubborn, Unruly
from tests.support.cluster.nodes import ROOT, child_home, child_node, command_node, new_name, node, until, worker
from tests.support.cluster.server import NatsServer, free_port
from three_mode import Agent, LLMRequest, Orchestrator, handler
from three_mode.agents import AgentGivenUp, HomeLost, NodeRefused, Restart
from three_mode.agents.runtime.lifecycle import init_schema
from three_mode.cluster.core.orders import PlaceOrder, read_placed
from three_mode.errors import ConfigurationError, HandlerFailed, NoSuchAgent


class Three(NamedTuple):
    """Three nodes; `home` places, `a` and `b` take orders, `b` has the label gpu."""

    home: Orchestrator
    a: Orchestrator
    b: Orchestrator


@pytest.fixture
async def three() -> AsyncIterator[Three]:
    cluster = new_name()
    async with NatsServer() as server:
        async with (
            node(server.url, cluster, "home") as home,
            worker(server.url, cluster, "a") as a,
            worker(server.url, cluster, "b", labels=("gpu",)) as b,
        ):
            await until(lambda: sum(bool(one.allow) for one in home.nodes()) == 2)
            yield Three(home, a, b)


def placed(orc: Orchestrator) -> list[str]:
    return sorted(orc._roster.agents)


async def test_agents_are_spread_over_all_nodes_that_may_run_them(three: Three) -> None:
    scouts = await three.home.spawn(Scout, 9, name="scout")
    assert [len(placed(orc)) for orc in three] == [3, 3, 3]
    assert sorted(await scouts.gather(Scout.who, within=20)) == scouts.names
    more = await three.home.spawn(Scout, 3, name="scout")
    assert more.names == ["scout/9", "scout/10", "scout/11"]
    seen = await three.home.broadcast("news.eu", {"id": 1}).settled(within=20)
    assert (seen.seen, seen.complete) == (12, True)
    with pytest.raises(ConfigurationError, match="placed the group 'scout' here"):
        await three.a.spawn(Scout, 1, name="scout")


async def test_on_names_nodes_and_labels(three: Three) -> None:
    await three.home.spawn(Scout, 2, name="scout", on="gpu")
    await three.home.spawn(Scout, 4, name="judge", on=("a", "home"))
    assert placed(three.b) == ["scout/0", "scout/1"]
    assert len(placed(three.a)) == len(placed(three.home)) == 2
    one = await three.home.spawn(Scout, name="clerk", on="a")
    assert one.name == "clerk/0"
    assert await one.ask(Scout.add, 1, within=20) == 2
    assert three.home.nodes()[0].labels == ()
    assert {report.labels for report in three.home.nodes()} == {(), ("gpu",)}


async def test_a_stop_that_does_not_forget_leaves_what_was_kept_at_the_node_that_has_it(three: Three) -> None:
    counter = await three.home.spawn(Counter, name="counter", on="gpu")
    assert await counter.ask(Counter.add, 5, within=20) == 5
    await three.home.stop(counter, forget=False)
    await until(lambda: three.home.bus.locate("counter/0") is None)
    again = await three.home.spawn(Counter, name="counter", on="gpu")
    assert await again.ask(Counter.add, 1, within=20) == 6
    await three.home.stop(again)
    await until(lambda: three.home.bus.locate("counter/0") is None)
    anew = await three.home.spawn(Counter, name="counter", on="gpu")
    assert await anew.ask(Counter.add, 1, within=20) == 1


async def test_orders_reach_agents_on_other_nodes(three: Three) -> None:
    scouts = await three.home.spawn(Scout, 2, name="scout", on=("a", "b"))
    await scouts[1].tell(Scout.take, 1)
    await three.home.pause(scouts)
    asking = asyncio.create_task(scouts[1].ask(Scout.told_numbers, within=30))
    await asyncio.sleep(0.3)
    assert not asking.done()
    await three.home.resume(scouts)
    assert await asking == [1]
    await three.home.restart(scouts)
    assert await scouts[1].ask(Scout.told_numbers, within=20) == []
    await three.home.stop(scouts)
    assert placed(three.a) == placed(three.b) == []
    await until(lambda: three.home.bus.locate("scout/1") is None)
    with pytest.raises(NoSuchAgent):
        await three.home.stop("scout/1")
    again = await three.home.spawn(Scout, 2, name="scout", on="b")
    assert again.names == ["scout/0", "scout/1"]


async def test_an_order_about_agents_that_another_program_made_is_refused(three: Three) -> None:
    await three.a.spawn(Scout, name="own", on="a")
    await three.home.bus.wait_for(["own/0"], within=20)
    with pytest.raises(NoSuchAgent, match="node a has no agent 'own/0' that was placed by order"):
        await three.home.stop("own/0")
    assert await three.home.ref("own/0").ask(Scout.add, 1, within=20) == 2


async def test_agents_end_with_their_home_and_another_program_can_stop_those_of_one_that_crashed() -> None:
    cluster = new_name()
    async with NatsServer() as server, worker(server.url, cluster, "a") as a:
        async with node(server.url, cluster, "home") as home:
            await until(lambda: any(one.allow for one in home.nodes()))
            await home.spawn(Scout, 2, name="scout", on="a")
            assert len(placed(a)) == 2
        assert placed(a) == []
        async with child_home(server.url, cluster, "a") as child:
            child.send(signal.SIGKILL)
            await until(lambda: any(isinstance(event, HomeLost) for event in a.events))
        async with node(server.url, cluster, "home") as home:
            await home.bus.wait_for(["a/0"], within=20)
            with pytest.raises(ConfigurationError, match="the group 'a' is on node a") as refused:
                await home.spawn(Scout, name="a")
            assert "orc.stop(orc.group('a'))" in str(refused.value.hint)
            await home.stop(home.group("a"))
            assert placed(a) == []
            await until(lambda: home.bus.locate("a/0") is None)
            await home.spawn(Scout, name="a", on="a")


async def test_one_agent_that_fails_undoes_the_whole_spawn(three: Three) -> None:
    with pytest.raises(HandlerFailed, match="unruly/4"):
        await three.home.spawn(Unruly, 6, name="unruly", fails=4)
    assert [placed(orc) for orc in three] == [[], [], []]
    await three.home.spawn(Unruly, 6, name="unruly", fails=-1)
    assert sum(len(placed(orc)) for orc in three) == 6


async def test_an_agent_that_ends_itself_leaves_the_plan(three: Three) -> None:
    stubborn = await three.home.spawn(Stubborn, name="stubborn", on="a")
    plan = three.home._gateway.placement.placer.placing.plan
    assert set(plan.agents) == {"stubborn/0"}
    await stubborn.ask(Stubborn.leave, within=20)
    await until(lambda: not plan.agents)
    (ended,) = [event for event in three.home.events if isinstance(event, AgentGivenUp)]
    assert (ended.agent, ended.reason, ended.failed) == ("stubborn/0", "ended itself", False)
    one = await three.home.spawn(Scout, name="clerk", on="b")
    await three.b.stop("clerk/0")  # the program of its node may, too
    await until(lambda: not plan.agents)
    assert one.name in {event.agent for event in three.home.events if isinstance(event, AgentGivenUp)}


async def test_a_group_whose_agents_were_given_up_may_be_spawned_again(three: Three) -> None:
    plan = three.home._gateway.placement.placer.placing.plan
    once = Restart("temporary", on_error=True)
    one = await three.home.spawn(Scout, name="scout", on="gpu", restart=once)
    with pytest.raises(HandlerFailed):
        await one.ask(Scout.fail, "it is over", within=20)
    await until(lambda: not plan.agents)
    assert placed(three.b) == ["scout/0"]  # as one that is given up
    again = await three.home.spawn(Scout, name="scout", on="gpu", restart=once)
    assert await again.ask(Scout.add, 1, within=20) == 2


async def test_what_cannot_be_is_a_clear_error(three: Three) -> None:
    with pytest.raises(ConfigurationError, match=r"the name or label 'tpu'; labels: gpu; nodes: home, a, b"):
        await three.home.spawn(Scout, 2, name="scout", on="tpu")

    class Local(Agent):
        @handler
        async def here(self) -> str:
            return self.name

    with pytest.raises(ConfigurationError, match="a class of this program alone"):
        await three.home.spawn(Local, name="local", on="a")
    assert await (await three.home.spawn(Local, name="local")).ask(Local.here, within=20) == "local/0"
    with pytest.raises(ConfigurationError, match="on has names or labels"):
        await three.home.spawn(Scout, name="scout", on=("a", 7))  # type: ignore[arg-type]
    async with Orchestrator(0) as alone:
        with pytest.raises(ConfigurationError, match="belongs to none"):
            await alone.spawn(Scout, on="a")


async def test_a_node_that_allows_or_imports_nothing_of_it_is_named() -> None:
    cluster = new_name()
    async with NatsServer() as server:
        async with (
            node(server.url, cluster, "home") as home,
            worker(server.url, cluster, "other", allow=("elsewhere",)),
            command_node(server.url, cluster, "cmd", "--import", "tests.support.cluster.gone") as child,
        ):
            await until(lambda: sum(bool(one.allow) for one in home.nodes()) == 2)
            with pytest.raises(ConfigurationError, match=r"node other allows no class of tests\.support") as refused:
                await home.spawn(Scout, name="scout", on="other")
            assert "--import tests.support.cluster.cluster_cast" in str(refused.value.hint)
            Scout.__module__, before = "tests.support.cluster.gone", Scout.__module__
            try:
                sys.modules["tests.support.cluster.gone"] = sys.modules[before]
                with pytest.raises(ConfigurationError, match=r"node cmd cannot import tests\.support\.cluster\.gone"):
                    await home.spawn(Scout, name="scout", on="cmd")
                scouts = await home.spawn(Scout, 2, name="scout")  # here it can be made
            finally:
                Scout.__module__ = before
                del sys.modules["tests.support.cluster.gone"]
            assert placed(home) == scouts.names
            assert any(isinstance(event, NodeRefused) and event.node == "cmd" for event in home.events)
            child.send(signal.SIGTERM)
            await asyncio.wait_for(child.process.wait(), 30)


async def test_a_node_of_the_command_line_takes_orders_and_ends_in_order() -> None:
    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "home") as home:
        async with command_node(server.url, cluster, "b", "--import", "tests.support", "--label", "gpu") as child:
            await until(lambda: any(one.labels == ("gpu",) for one in home.nodes()))
            scout = await home.spawn(Scout, name="scout", on="gpu")
            assert await scout.ask(Scout.add, 1, within=20) == 2
            child.send(signal.SIGTERM)
            assert await asyncio.wait_for(child.process.wait(), 30) == 0
            await until(lambda: [one.name for one in home.nodes()] == ["home"])


async def test_a_model_on_another_node_answers_as_an_agent() -> None:
    cluster = new_name()
    async with (
        NatsServer() as server,
        node(server.url, cluster, "home") as home,
        worker(server.url, cluster, "b", labels=("gpu",), allow=("three_mode.hosted_model",)) as b,
    ):
        await until(lambda: any(one.allow for one in home.nodes()))
        brain = await home.model("tiny", name="brain", on="gpu")
        assert placed(b) == ["brain/0"]
        assert placed(home) == []
        own = await home.model("tiny", name="own")  # without `on` it is here, however few agents others have
        assert placed(home) == ["own/0"]
        assert own.address == "agent:own"
        request = LLMRequest(model=brain.address, messages=[{"role": "user", "content": "Hello"}], max_tokens=4)
        assert (await home.llm.chat_completion(request)).usage.completion_tokens > 0


async def test_an_order_that_goes_too_far_is_refused(three: Three) -> None:
    """Another member of the cluster may send any order: a node starts no class that is not below its own paths."""
    placer, core = three.home._gateway.placement.placer, three.home._gateway.core
    a = next(report.id for report in three.home.nodes() if report.name == "a")

    async def order(**changes: Any) -> Any:
        fields = {"group": "scout", "module": Scout.__module__, "kind": "Scout", "roles": ()} | changes
        init = init_schema(Scout).encode_call("scout", "__init__", (), {})
        return await placer.give(a, PlaceOrder(core.order_number(), numbers=(0,), init=init, **fields), 20.0)

    for module, kind in (("os", "PathLike"), ("tests.supporting", "Scout"), ("__main__", "Scout")):
        assert "allows no class of" in read_placed(await order(module=module, kind=kind)).cannot
    assert (
        "allows no class of three_mode.agents" in read_placed(await order(kind="Agent")).cannot
    )  # it is imported there
    assert "is no Agent" in read_placed(await order(kind="AsyncIterator")).cannot
    for wrong in ({"group": "host:a"}, {"group": "a/b"}, {"roles": ("any:b@c",)}):
        failure = await order(**wrong)
        assert "is no name for a group or role" in failure.text
    assert placed(three.a) == []
    assert read_placed(await order()).cannot == ""
    assert placed(three.a) == ["scout/0"]


async def test_a_node_of_the_command_line_says_what_is_in_its_way() -> None:
    words = ("node", "--cluster", f"nats://127.0.0.1:{free_port()}", "--name", "city", "--hosts", "0")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "three_mode.cli", *words), cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"no NATS server answers" in said


async def test_what_has_a_host_of_its_own_as_models_do_leaves_none_behind_when_it_is_cancelled() -> None:
    async with NatsServer() as server, node(server.url, new_name(), "home") as home:
        hosts = cast("Any", home)._supervisor.hosts
        gate, reserve = asyncio.Event(), hosts.reserve

        async def slow(group: str) -> Any:
            gate.set()
            await asyncio.sleep(0.3)
            return await reserve(group)

        hosts.reserve = slow
        making = asyncio.create_task(home._spawn(Scout, None, "own", (), "permanent", 60, ("home",), {}, own_host=True))
        await gate.wait()
        making.cancel()
        await asyncio.wait([making])
        await until(lambda: len(hosts.all) == 2, 60)  # it starts all the same
        await until(lambda: set(hosts.all) == {"host-0"} and not placed(home), 60)


@pytest.mark.parametrize("alone", ["stop", "pause"])
async def test_agents_whose_home_is_lost_while_they_are_made_are_not_left_alone(alone: str) -> None:
    cluster = new_name()
    async with (
        NatsServer() as server,
        node(server.url, cluster, "home") as home,
        worker(server.url, cluster, "a", alone=alone) as a,
    ):
        await until(lambda: any(one.allow for one in home.nodes()))
        hosts, gateway = cast("Any", a)._supervisor.hosts, cast("Any", home)._gateway
        lost, reserve = asyncio.Event(), hosts.reserve

        async def slow(group: str) -> Any:
            await lost.wait()
            return await reserve(group)

        hosts.reserve = slow
        making = asyncio.create_task(home._spawn(Scout, None, "scout", (), "permanent", 60, ("a",), {}, own_host=True))
        await until(lambda: cast("Any", a)._gateway.placement.taker.placed)
        gateway._nats.publish = lambda *_: None  # the home is cut off
        await until(lambda: any(isinstance(event, HomeLost) for event in a.events))
        lost.set()
        if alone == "stop":
            await until(lambda: len(hosts.all) == 2, 60)
            await until(lambda: set(hosts.all) == {"host-0"} and not placed(a), 60)
        else:
            await until(lambda: placed(a) == ["scout/0"], 60)

            async def state() -> str:
                return next(one.state for one in (await a.table()).agents if one.name == "scout/0")

            async with asyncio.timeout(60):
                while await state() != "paused":  # noqa: ASYNC110  # a table knows no events
                    await asyncio.sleep(0.05)
        making.cancel()
        await asyncio.wait([making])


async def test_a_node_that_was_started_anew_is_one_row_of_the_table() -> None:
    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "home") as home:
        async with child_node(server.url, cluster, "b", "first"):
            await home.bus.wait_for(["first/0"], within=30)
        async with child_node(server.url, cluster, "b", "second"):  # the one before was killed, and is not lost yet
            await home.bus.wait_for(["second/0"], within=30)
            for _ in range(2):
                (row,) = (await home.table(20.0)).nodes
                assert (row.name, row.state, row.problem) == ("b", "here", "")
                assert {agent.name for agent in row.agents} == {"second/0", "second/1"}
                await until(lambda: any(one.state == "lost" for one in home.nodes()))
