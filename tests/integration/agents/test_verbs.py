"""The verbs, through real host processes: what the first page of the documentation promises."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.agents.agent_cast import Caller, Mood, Opinion, Scout, Slow
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents import AgentGroup, AgentRef, join
from three_mode.errors import (
    BadCall,
    CallCycle,
    ConfigurationError,
    DeadlineExceeded,
    ModeUnavailable,
    NoSuchAgent,
    Overloaded,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orc() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=2) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scouts(orc: Orchestrator) -> AgentGroup:
    return await orc.spawn(Scout, 20, name="scout", bias=0.5, mood=Mood.LOUD, home=Path("/srv"))


@pytest_asyncio.fixture(loop_scope="module")
async def slow(orc: Orchestrator) -> AsyncIterator[AgentGroup]:
    group = await orc.spawn(Slow, 2, name="slow")
    yield group
    await orc.stop(group)


async def test_ask_returns_what_the_hint_says(scouts: AgentGroup) -> None:
    assert await scouts[7].ask(Scout.score, "hello") == 5.5
    assert await scouts[7].ask("score", text="hello") == 5.5
    assert await scouts[7].ask(Scout.plain, "hi") == "scout/7 hi"
    assert await scouts[7].ask(Scout.opinion, "abc") == Opinion("scout/7", 3, Mood.LOUD)


async def test_spawn_arguments_travel_and_the_name_is_there_in_init(scouts: AgentGroup) -> None:
    assert await scouts[3].ask(Scout.birth) == ["scout/3", "/srv", "loud"]


async def test_agents_are_spread_over_the_hosts(scouts: AgentGroup) -> None:
    pids = (await scouts.gather(Scout.pid)).values.values()
    assert sorted(list(pids).count(pid) for pid in set(pids)) == [10, 10]


async def test_gather_gives_values_errors_and_missing(orc: Orchestrator, scouts: AgentGroup) -> None:
    votes = await scouts.gather(Scout.score, "hello", within=5)
    assert votes.complete
    assert votes.values == dict.fromkeys(scouts.names, 5.5)
    some = AgentGroup("scout", [0, 1, 99], orc._three_mode_caller)
    votes = await some.gather(Scout.score, "x", within=5)
    assert isinstance(votes.errors["scout/99"], NoSuchAgent)
    assert len(votes) == 2
    votes = await scouts.gather(Scout.score, 7, within=5)
    assert {type(error) for error in votes.errors.values()} == {BadCall}
    assert votes.errors["scout/3"].agent == "scout/3"  # type: ignore[attr-defined]


async def test_a_quorum_leaves_the_rest_and_time_leaves_the_missing(slow: AgentGroup) -> None:
    begun = time.monotonic()
    await slow[0].tell(Slow.wait, 0.4)
    votes = await slow.gather(Slow.wait, 0.0, within=5, quorum=1)
    assert (len(votes), votes.missing, votes.reached) == (1, ("slow/0",), True)
    votes = await slow.gather(Slow.wait, 0.0, within=0.1)
    assert votes.missing == ("slow/0",)
    assert not votes.reached
    assert time.monotonic() - begun < 2


async def test_streams_come_in_order_and_may_be_left(scouts: AgentGroup, slow: AgentGroup) -> None:
    assert [word async for word in scouts[1].stream(Scout.explain, "a b c")] == ["a", "b", "c"]
    async with slow[0].stream(Slow.numbers, 100_000) as numbers:
        async for number in numbers:
            if number == 3:
                break

    async def has_left() -> bool:
        return "left" in await slow[0].ask(Slow.said)

    await until(has_left)
    sent = [entry for entry in await slow[0].ask(Slow.said) if entry.isdigit()]
    assert len(sent) < 200  # credit: a producer is never far ahead of its consumer
    assert await slow[0].ask(Slow.wait, 0.0) == "done"  # and the agent is free again


async def test_a_stream_that_was_left_has_nothing_more(scouts: AgentGroup) -> None:
    begun, never = scouts[1].stream(Scout.explain, "a b c"), scouts[1].stream(Scout.explain, "a b c")
    assert await anext(begun) == "a"
    for stream in (begun, never):
        await stream.aclose()
        assert [word async for word in stream] == []


async def test_a_slow_consumer_slows_its_producer_and_nobody_else(slow: AgentGroup) -> None:
    async with slow[0].stream(Slow.numbers, 1000) as numbers:
        assert await anext(numbers) == 0
        await asyncio.sleep(0.1)
        sent = [entry for entry in await slow[0].ask(Slow.said) if entry.isdigit()]
        assert len(sent) < 100
        assert await slow[1].ask(Slow.wait, 0.0) == "done"
        assert [number async for number in numbers] == list(range(1, 1000))


async def test_broadcast_reaches_all_and_the_receipt_counts_agents(orc: Orchestrator, scouts: AgentGroup) -> None:
    before = sum(await scouts.gather(Scout.count))
    seen = await orc.broadcast("news.eu", {"id": 1}).settled(within=2.0)
    assert (seen.seen, seen.complete) == (20, True)
    assert sum(await scouts.gather(Scout.count)) == before + 20
    await orc.broadcast("other.eu", {"id": 1})
    assert (await orc.broadcast("nobody.listens", 1).settled(1.0)).seen == 0


async def test_a_busy_agent_is_lagging_until_it_begins(orc: Orchestrator, slow: AgentGroup) -> None:
    waiting = asyncio.create_task(slow[0].ask(Slow.wait, 0.3))

    async def busy() -> bool:
        return "begun" in await slow[0].ask(Slow.said)

    await until(busy)
    receipt = orc.broadcast("work.a", {"n": 1})
    early = await receipt.settled(within=0.05)
    assert (early.seen, early.lagging) == (1, 1)
    assert early.lagging_hosts in (("host-1",), ("host-2",))
    assert (await receipt.settled(within=2.0)).seen == 2
    await waiting
    assert (await slow[0].ask(Slow.said))[-1] == "work 1"


async def test_one_message_at_a_time_unless_concurrent(slow: AgentGroup) -> None:
    await asyncio.gather(*(slow[0].ask(Slow.wait, 0.01) for _ in range(4)))
    log = [entry for entry in await slow[0].ask(Slow.said) if entry in ("begun", "done")]
    assert log == ["begun", "done"] * 4
    most = await asyncio.gather(*(slow[0].ask(Slow.beside, 0.05) for _ in range(6)))
    assert max(most) == 3


async def test_a_full_mailbox_is_overloaded_and_a_full_tell_a_dead_letter(orc: Orchestrator, slow: AgentGroup) -> None:
    waiting = [asyncio.create_task(slow[0].ask(Slow.wait, 0.2)) for _ in range(5)]
    await asyncio.sleep(0.05)
    with pytest.raises(Overloaded, match=r"slow/0.wait.*4 messages"):
        await slow[0].ask(Slow.wait, 0.0)
    await slow[0].tell(Slow.wait, 0.0)

    async def in_letters() -> bool:
        return any(letter.to == "slow/0" and "4 messages" in letter.reason for letter in await orc.dead_letters())

    await until(in_letters)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_deadline_cancels_the_far_side(slow: AgentGroup) -> None:
    with pytest.raises(DeadlineExceeded, match=r"slow/0\.wait"):
        await slow[0].ask(Slow.wait, 30.0, within=0.1)

    async def cancelled() -> bool:
        return (await slow[0].ask(Slow.said)) == ["begun", "cancelled"]

    await until(cancelled)


async def test_cancelling_a_call_cancels_the_far_side(slow: AgentGroup) -> None:
    task = asyncio.create_task(slow[0].ask(Slow.wait, 30.0))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def cancelled() -> bool:
        return (await slow[0].ask(Slow.said)) == ["begun", "cancelled"]

    await until(cancelled)


async def test_cancelling_a_gather_cancels_the_far_side(slow: AgentGroup) -> None:
    task = asyncio.create_task(slow.gather(Slow.wait, 30.0))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def cancelled() -> bool:
        return all([(await one.ask(Slow.said)) == ["begun", "cancelled"] for one in slow])

    await until(cancelled)


async def test_a_call_made_while_handling_one_inherits_what_remains(slow: AgentGroup) -> None:
    assert 0 < await slow[0].ask(Slow.hurried, 60.0, within=1.0) <= 1.0
    assert 0 < await slow[0].ask(Slow.hurried, 0.5, within=5.0) <= 0.5


async def test_bad_calls_name_agent_handler_and_argument(scouts: AgentGroup) -> None:
    with pytest.raises(BadCall, match=r"scout/7\.score: argument 'text': expected str, got int") as caught:
        await scouts[7].ask(Scout.score, 5)
    assert (caught.value.agent, caught.value.handler, caught.value.argument) == ("scout/7", "score", "text")
    with pytest.raises(BadCall, match="use stream"):
        await scouts[7].ask(Scout.explain, "a")
    with pytest.raises(BadCall, match="use ask or tell"):
        _ = [part async for part in scouts[7].stream(Scout.score, "a")]
    with pytest.raises(NoSuchAgent, match=r"no handler 'fly'.*Scout has: .*score"):
        await scouts[7].ask("fly")
    with pytest.raises(NoSuchAgent, match="nobody/1"):
        await AgentRef("nobody/1", scouts._caller).ask("fly")


async def test_a_topic_that_is_none_is_said(orc: Orchestrator) -> None:
    with pytest.raises(BadCall, match=r"'news\.\*' is no topic"):
        orc.broadcast("news.*", {})


async def test_a_bad_broadcast_is_lost_by_name(orc: Orchestrator, scouts: AgentGroup) -> None:
    seen = await orc.broadcast("news.eu", "not a dict").settled(1.0)
    assert (seen.seen, seen.lost) == (0, 20)
    dead_letters = [letter for letter in await orc.dead_letters() if "news.eu" in letter.reason]
    assert any("argument 'item'" in letter.reason for letter in dead_letters)


async def test_tell_acts_at_once_and_what_nobody_takes_is_a_dead_letter(orc: Orchestrator, scouts: AgentGroup) -> None:
    before = await scouts[2].ask(Scout.count)
    scouts[2].tell(Scout.read, {"id": 2})  # not awaited
    assert await scouts[2].ask(Scout.count) == before + 1
    sent = orc.ref("scout/1000").tell("score", "x")
    with pytest.raises(NoSuchAgent):
        await sent
    scouts[2].tell(Scout.score, 5)
    scouts[2].tell("fly", 5)

    async def in_letters() -> bool:
        dead_letters = await orc.dead_letters()
        found = {(letter.to, letter.handler) for letter in dead_letters}
        return {("scout/1000", "score"), ("scout/2", "score"), ("scout/2", "fly")} <= found

    await until(in_letters)


async def test_agents_use_all_verbs_themselves(orc: Orchestrator, scouts: AgentGroup) -> None:
    callers = await orc.spawn(Caller, 4, name="caller")
    assert await callers[0].ask(Caller.ring, ["caller/1", "caller/2"]) == ["caller/0", "caller/1", "caller/2"]
    assert await callers[0].ask(Caller.spread, "news.eu") == 20
    assert await callers[1].ask(Caller.votes, "scout", "hello") == 20 * 5.5
    assert await callers[2].ask(Caller.through, "scout/1", "a b") == ["a", "b"]
    assert await callers[3].ask(Caller.remember, "caller/0") == "told"


@pytest.mark.parametrize("way", [["ringer/0"], ["ringer/1", "ringer/0"], ["ringer/1", "ringer/2", "ringer/1"]])
async def test_a_cycle_is_an_error_and_names_the_way(orc: Orchestrator, way: list[str]) -> None:
    ringers = await orc.spawn(Caller, 3, name="ringer")
    begun = time.monotonic()
    with pytest.raises(CallCycle, match=r"ringer/\d -> .*ringer/\d") as caught:
        await ringers[0].ask(Caller.ring, way, within=10)
    assert time.monotonic() - begun < 5
    assert caught.value.agent == way[-1]
    assert await ringers[0].ask(Caller.ring, []) == ["ringer/0"]  # nobody is left waiting
    assert (await ringers[0].ask(Caller.ring_beside, way))[-1] == way[-1]  # concurrent: no cycle
    await orc.stop(ringers)


async def test_any_goes_to_whoever_has_the_least_to_do(orc: Orchestrator) -> None:
    workers = await orc.spawn(Slow, 4, name="pool", roles=["waiter"])
    begun = time.monotonic()
    for role in (workers.any, orc.any("waiter")):
        await asyncio.gather(*(role.ask(Slow.wait, 0.2) for _ in range(4)))
    assert time.monotonic() - begun < 0.75  # twice 0.2 beside each other, not one after another
    logs = (await workers.gather(Slow.said)).values
    assert [log.count("begun") for log in logs.values()] == [2, 2, 2, 2]
    await orc.stop(workers)
    with pytest.raises(NoSuchAgent, match="waiter"):
        await orc.any("waiter").ask(Slow.wait, 0.0)


async def test_any_does_not_go_to_an_agent_that_is_about_to_stop() -> None:
    async with Orchestrator(hosts=1) as one_host:
        workers = await one_host.spawn(Slow, 2, name="pool")
        busy = [asyncio.create_task(one.ask(Slow.wait, 0.5)) for one in workers]
        await asyncio.sleep(0.1)
        stopping = asyncio.create_task(one_host.stop(workers[0]))
        await asyncio.sleep(0.1)
        assert not stopping.done()  # it still has something in hand, and nothing else to do
        await workers.any.ask(Slow.wait, 0.0)  # waits for the other
        await asyncio.gather(stopping, *busy)


async def test_a_program_from_outside_joins_by_name(orc: Orchestrator, scouts: AgentGroup) -> None:
    async with join(orc.name) as city:
        assert await city.ref("scout/7").ask(Scout.score, "hello") == 5.5
        assert len(await city.group("scout").gather("score", "x")) == 20
        assert (await city.broadcast("news.eu", {}).settled(1.0)).seen == 20
        assert [word async for word in city.ref("scout/1").stream("explain", "a b")] == ["a", "b"]
        assert await city.any("scout").ask(Scout.score, "hello") == 5.5
        before = await city.ref("scout/1").ask(Scout.count)
        await city.ref("scout/1").tell(Scout.read, {})
        assert await city.ref("scout/1").ask(Scout.count) == before + 1  # from one sender, in order
    with pytest.raises(ModeUnavailable):
        async with join("no-such-city"):
            pass


async def test_a_second_spawn_goes_on_counting_and_names_are_checked(orc: Orchestrator) -> None:
    first = await orc.spawn(Scout, 2, name="more")
    second = await orc.spawn(Scout, 2, name="more")
    assert first.names + second.names == ["more/0", "more/1", "more/2", "more/3"]
    with pytest.raises(ConfigurationError, match="already"):
        await orc.spawn(Caller, 1, name="more")
    with pytest.raises(ConfigurationError, match="no name"):
        await orc.spawn(Scout, 1, name="a/b")
    with pytest.raises(ConfigurationError, match=r"roles=\['waiter'\]"):
        await orc.spawn(Scout, 1, name="one-role", roles="waiter")
    one = await orc.spawn(Scout, name="single")
    assert await one.ask(Scout.score, "a") == 1.0
    with pytest.raises(BadCall, match="colour"):
        await orc.spawn(Scout, 1, name="wrong", colour="red")
    with pytest.raises(BadCall, match="cannot be sent"):
        await orc.spawn(Scout, 1, name="wrong", bias=object())
    with pytest.raises(BadCall, match="expected float"):
        await orc.spawn(Scout, 1, name="wrong", bias="much")


async def test_pause_and_resume(orc: Orchestrator, slow: AgentGroup) -> None:
    await orc.pause(slow[0])
    waiting = asyncio.create_task(slow[0].ask(Slow.wait, 0.0))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    table = await orc.table()
    assert [(one.state, one.mailbox) for one in table.agents if one.name == "slow/0"] == [("paused", 1)]
    await orc.resume(slow[0])
    assert await waiting == "done"


async def test_the_table_has_figures_for_hosts_and_agents(orc: Orchestrator, scouts: AgentGroup) -> None:
    for _ in range(64):
        await scouts[5].ask(Scout.score, "x")
    table = await orc.table()
    assert {host.label for host in table.hosts} == {"host-1", "host-2"}
    assert all(host.memory > 1e6 and host.pid > 0 for host in table.hosts)
    busy = next(one for one in table.agents if one.name == "scout/5")
    assert busy.messages >= 64
    assert busy.p50 is not None
    assert busy.p99 is not None
    assert busy.p50 <= busy.p99 < 1.0
