"""Each verb of agents, wherever they are: the same answers, the same errors, the same bounds."""

import asyncio
import contextlib
import time
from typing import Any, cast

import pytest

from tests.contract.agents.conftest import WITHIN, Place
from tests.support.agents.conformance_cast import Parrot, Worker
from three_mode import LLMRequest
from three_mode.agents import (
    AgentRef,
    AgentRestarted,
    AgentsDied,
    AgentsSpawned,
    AgentsStopped,
    EventsLost,
    HandlerRaised,
    NewDeadLetter,
    NodeJoined,
    Restart,
    Retry,
)
from three_mode.agents.recording.replay import load
from three_mode.errors import (
    BadCall,
    CallCycle,
    DeadlineExceeded,
    HandlerFailed,
    NoSuchAgent,
    Overloaded,
    RateLimit,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def until(question: Any, expected: Any) -> None:
    """Ask until the answer is the expected one."""
    async with asyncio.timeout(WITHIN):
        while (found := await question()) != expected:
            assert found is not None
            await asyncio.sleep(0.02)


async def left(place: Place, index: int) -> int:
    return int((await place.workers[index].ask(Worker.state, within=WITHIN))[1])


async def test_ask(place: Place) -> None:
    assert [await one.ask(Worker.add, 4, within=WITHIN) for one in place.workers] == [5, 5, 5]
    assert await place.workers[1].ask("who", within=WITHIN) == "worker/1"
    assert len(await place.workers[0].ask(Worker.big, 2_000_000, within=WITHIN)) == 2_000_000


async def test_errors(place: Place) -> None:
    worker = place.workers[0]
    with pytest.raises(HandlerFailed, match=r"worker/0.fail raised KeyError: 'it'") as failed:
        await worker.ask(Worker.fail, "it", within=WITHIN)
    assert "cluster_cast.py" in str(failed.value.traceback)
    with pytest.raises(RateLimit) as limited:
        await worker.ask(Worker.fail, "limit", within=WITHIN)
    assert limited.value.retry_after == 3.0
    with pytest.raises(NoSuchAgent, match="worker/0 has no handler 'nothing'"):
        await worker.ask("nothing", within=WITHIN)
    with pytest.raises(NoSuchAgent, match="worker/9"):
        await place.caller.ref("worker/9").ask(Worker.add, 1, within=WITHIN)
    with pytest.raises(BadCall) as bad:
        await worker.ask("add", "text", within=WITHIN)
    assert bad.value.argument == "number"


async def test_a_deadline_travels_as_what_remains_and_ends_the_call_at_both_ends(place: Place) -> None:
    assert 0.0 < await place.workers[0].ask(Worker.remains, within=7.0) < 7.0
    before = await left(place, 0)
    with pytest.raises(DeadlineExceeded):
        await place.workers[0].ask(Worker.wait, 60.0, within=0.5)
    await until(lambda: left(place, 0), before + 1)
    with pytest.raises((HandlerFailed, DeadlineExceeded)):
        await place.workers[1].ask(Worker.waits_for, place.near, 0.3, within=WITHIN)


async def test_a_cancelled_ask_cancels_the_handler(place: Place) -> None:
    before = await left(place, 1)
    asking = asyncio.create_task(place.workers[1].ask(Worker.wait, 60.0, within=WITHIN))
    await asyncio.sleep(0.3)
    asking.cancel()
    await asyncio.wait({asking})
    await until(lambda: left(place, 1), before + 1)


async def test_tells_come_once_and_in_order(place: Place) -> None:
    for number in range(60):
        await place.workers[1].tell(Worker.take, number)
        if number % 15 == 14:
            await place.workers[1].ask(Worker.add, 1, within=WITHIN)
    assert await place.workers[1].ask(Worker.told_numbers, within=WITHIN) == list(range(60))


async def test_a_tell_to_nobody_is_a_dead_letter(place: Place) -> None:
    with pytest.raises(NoSuchAgent):
        await place.caller.ref("worker/7").tell(Worker.take, 1)
    assert "worker/7" in {letter.to for letter in await place.caller.dead_letters()}


async def crowd(worker: AgentRef) -> None:
    """Tell a busy agent more than its mailbox has room for: some of it nobody takes."""
    blocked = asyncio.create_task(worker.ask(Worker.blocks, 0.4, within=WITHIN))
    await asyncio.sleep(0.1)  # it has begun
    for number in range(60):
        with contextlib.suppress(Overloaded):
            await worker.tell(Worker.take, number)
    await asyncio.wait([blocked])


async def test_a_dead_letter_is_seen_from_every_node_with_the_node_that_has_it(place: Place) -> None:
    await crowd(place.workers[2])
    for orchestrator in (place.caller, place.owner):
        letters = [one for one in await orchestrator.dead_letters(WITHIN) if one.to == "worker/2"]
        assert {letter.node for letter in letters} == {place.where}
        assert {letter.handler for letter in letters} == {"take"}


@pytest.mark.parametrize("place", ["another node"], indirect=True)  # without a network nothing is under way
async def test_a_tell_to_a_role_that_has_gone_when_it_arrives_is_a_dead_letter(place: Place) -> None:
    gateway = (caller := cast("Any", place.caller))._gateway
    (owner,) = (peer.id for peer in gateway.core.nodes())
    gateway.core.tell(time.monotonic(), owner, "any:passing", "take", b"\x91\x01")
    gateway.flush()

    async def told() -> bool:
        return any((one.to, one.node) == ("any:passing", "b") for one in await caller.dead_letters(WITHIN))

    await until(told, True)


async def test_events_of_all_nodes_reach_a_reader_with_the_node_that_they_are_of(place: Place) -> None:
    kinds = [AgentsSpawned, AgentsStopped, AgentsDied, AgentRestarted, HandlerRaised, NewDeadLetter]
    async with place.caller.agent_events(kinds) as events:
        await place.owner.spawn(Worker, 2, name="extra", restart=Restart("permanent", wait=0.0), within=WITHIN)
        await place.caller.bus.wait_for(["extra/0", "extra/1"], within=WITHIN)
        await place.caller.ref("extra/0").tell(Worker.fail, "it")
        await place.caller.ref("extra/1").tell(Worker.ends)
        await crowd(place.workers[2])
        seen: dict[str, Any] = {}
        async with asyncio.timeout(WITHIN):
            while not {kind.__name__ for kind in kinds} - {"AgentsStopped"} <= seen.keys():
                one = await anext(events)
                assert one.node == place.where, str(one)
                seen[one.kind] = one.event
            await place.owner.stop(["extra/0", "extra/1"], WITHIN)
            while "AgentsStopped" not in seen:
                one = await anext(events)
                seen[one.kind] = one.event
    assert set(seen["AgentsSpawned"].agents) <= {"extra/0", "extra/1"}
    assert (seen["AgentsDied"].agents, seen["AgentRestarted"].agent) == (("extra/1",), "extra/1")
    assert seen["HandlerRaised"].agent == "extra/0"
    assert seen["NewDeadLetter"].to == "worker/2"
    assert set(seen["AgentsStopped"].agents) <= {"extra/0", "extra/1"}


async def test_a_slow_reader_of_events_is_told_what_it_has_lost(place: Place) -> None:
    async with place.caller.agent_events(NewDeadLetter, waiting=3) as slow, place.caller.agent_events() as reader:
        await crowd(place.workers[2])
        letters = 0
        with contextlib.suppress(TimeoutError):
            while letters < 4 or slow.lost == 0:
                async with asyncio.timeout(WITHIN):
                    letters += (await anext(reader)).kind == "NewDeadLetter"
        first = (await anext(slow)).event
        assert isinstance(first, EventsLost)
        assert first.count > 0
        assert all(isinstance(one.event, NewDeadLetter) for one in slow.take())


async def test_no_event_is_sent_where_nobody_reads(place: Place) -> None:
    owner: Any = place.owner

    async def wanted() -> bool:
        return bool(owner._node_events.hub.wanted)

    async def frames() -> int:
        if place.name != "another node":
            return 0
        return sum(link.last for link in owner._gateway.core._out.values())

    await until(wanted, False)
    before = await frames()
    for number in range(100):
        await place.owner.ref("worker/2").tell(Worker.take, number)
    await crowd(place.owner.ref("worker/2"))
    assert await frames() == before
    async with place.caller.agent_events(NewDeadLetter) as events:
        assert await wanted()
        await crowd(place.owner.ref("worker/2"))
        async with asyncio.timeout(WITHIN):
            assert (await anext(events)).node == place.where
    assert place.name != "another node" or await frames() > before
    await until(wanted, False)
    assert owner._session.dead_letters.told is None


async def test_a_stream_has_all_parts_and_its_reader_sets_the_pace(place: Place) -> None:
    async with place.workers[0].stream(Worker.count, 500, within=WITHIN) as parts:
        assert [part async for part in parts] == list(range(500))
    with pytest.raises(HandlerFailed, match="enough"):
        async for _ in place.workers[0].stream(Worker.breaks_off, within=WITHIN):
            pass
    sent, ended = await place.workers[2].ask(Worker.state, within=WITHIN)
    async with place.workers[2].stream(Worker.count, 1_000_000, within=WITHIN) as slow:
        assert await anext(slow) == 0
        await asyncio.sleep(0.5)
        assert (await place.workers[2].ask(Worker.state, within=WITHIN))[0] - sent <= 200
    await until(lambda: left(place, 2), ended + 1)


async def test_gather(place: Place) -> None:
    gathered = await place.workers.gather(Worker.who, within=WITHIN)
    assert gathered.complete
    assert sorted(gathered) == ["worker/0", "worker/1", "worker/2"]
    assert (await place.workers.gather(Worker.who, within=WITHIN, quorum=2)).reached
    failed = await place.workers.gather(Worker.fail, "it", within=WITHIN)
    assert {type(error) for error in failed.errors.values()} == {HandlerFailed}
    late = await place.workers.gather(Worker.wait, 30.0, within=0.5)
    assert set(late.missing) | set(late.errors) == {"worker/0", "worker/1", "worker/2"}


async def test_any_and_roles(place: Place) -> None:
    names = {await place.caller.any("clerk").ask(Worker.who, within=WITHIN) for _ in range(9)}
    assert names <= {"worker/0", "worker/1", "worker/2"}
    assert len(names) > 1
    with pytest.raises(NoSuchAgent):
        await place.caller.any("nobody").ask(Worker.who, within=WITHIN)


async def test_broadcasts_and_receipts(place: Place) -> None:
    heard = [await one.ask(Worker.heard_numbers, within=WITHIN) for one in place.workers]
    for number in range(100):
        await place.caller.broadcast("news.eu", {"id": number})
    seen = await place.caller.broadcast("news.eu", {"id": 100}).settled(within=WITHIN)
    assert (seen.seen, seen.complete) == (4, True)
    for one, before in zip(place.workers, heard, strict=True):
        assert (await one.ask(Worker.heard_numbers, within=WITHIN))[len(before) :] == list(range(101))
    assert (await place.caller.broadcast("other.eu", {"id": 1}).settled(within=5)).seen == 0


async def test_overload_is_an_error_at_the_caller(place: Place) -> None:
    asked = [asyncio.create_task(place.workers[0].ask(Worker.blocks, 0.1, within=WITHIN)) for _ in range(30)]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert any(isinstance(one, Overloaded) for one in done)
    async with asyncio.timeout(WITHIN):  # its mailbox empties
        while True:
            try:
                assert await place.workers[0].ask(Worker.add, 1, within=WITHIN) == 2
            except Overloaded:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_reference_tries_again_where_a_handler_may_be_asked_twice(place: Place) -> None:
    worker = place.workers[0].retrying(Retry(attempts=50, each=0.5, first=0.01))
    assert await worker.ask(Worker.answers_at, 3, "late", within=WITHIN) >= 3
    assert await worker.ask(Worker.full_until, 3, "full", within=WITHIN) == 3
    twice = place.workers[0].retrying(Retry(attempts=2, first=0.01))
    with pytest.raises(Overloaded):
        await twice.ask(Worker.full_until, 9, "twice", within=WITHIN)
    assert await place.workers[0].ask(Worker.full_until, 0, "twice", within=WITHIN) == 3
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await worker.ask(Worker.answers_at, 999, "never", within=1.2)
    assert time.monotonic() - begun < WITHIN
    assert await place.caller.any("clerk").retrying().ask(Worker.answers_at, 0, "any", within=WITHIN) == 1


async def test_a_reference_never_asks_again_what_may_not_be_asked_twice(place: Place) -> None:
    worker = place.workers[0].retrying()
    with pytest.raises(BadCall, match=r"worker/0\.add is not idempotent"):
        await worker.ask(Worker.add, 1, within=WITHIN)
    with pytest.raises(BadCall, match="named by a string"):
        await worker.ask("add", 1, within=WITHIN)
    with pytest.raises(BadCall, match="argument 'key'"):  # the same call would be refused again
        await worker.ask(Worker.answers_at, 0, {"no": "text"}, within=WITHIN)  # type: ignore[arg-type]


async def test_a_cycle_is_an_error(place: Place) -> None:
    with pytest.raises(CallCycle):
        await place.caller.ref(place.near).ask(Worker.asks_who_asks_me, "worker/2", within=WITHIN)


async def test_models_answer_stream_and_embed(place: Place) -> None:
    def request(text: str) -> LLMRequest:
        return LLMRequest(model="agent:parrot", messages=[{"role": "user", "content": text}], within=WITHIN)

    llm = place.caller.llm
    assert (await llm.chat_completion(request("good day"))).content == "good day"
    assert [chunk.text async for chunk in llm.stream(request("a b c")) if chunk.text] == ["a ", "b ", "c "]
    vectors = await llm.embed("agent:parrot", ["a", "bb"], within=WITHIN)
    assert list(vectors) == [(1.0, 1.0), (2.0, 1.0)]
    assert await place.caller.ref(place.near).ask(Worker.asks, "agent:parrot", "hi", within=WITHIN) == "hi"
    parrot = place.caller.ref("parrot/0")
    before = await parrot.ask(Parrot.endings, within=WITHIN)
    async with llm.stream(request("endless talk")) as chunks:
        async for chunk in chunks:
            if chunk.text:
                break
    await until(lambda: parrot.ask(Parrot.endings, within=WITHIN), before + 1)


async def test_a_trace_reaches_the_agent(place: Place) -> None:
    await place.caller.ref(place.near).ask(Worker.calls_back, "worker/0", within=WITHIN)

    async def carried() -> bool:
        by_trace: dict[str, set[tuple[str, str]]] = {}
        for line in place.traces.read_text().splitlines():
            trace, _, agent, what = line.split(" ")
            by_trace.setdefault(trace, set()).add((agent, what))
        wanted = {("near/0", "calls_back"), ("worker/0", "add")}
        return any(wanted <= spans for trace, spans in by_trace.items() if trace != "none")

    await until(carried, True)


async def test_messages_of_the_caller_are_recorded_where_the_agent_is(place: Place) -> None:
    await place.workers[1].ask(Worker.add, 41, within=WITHIN)
    begun = time.monotonic()
    while not any(getattr(event, "handler", "") == "add" for event in load(place.recording)):
        assert time.monotonic() - begun < WITHIN
        await asyncio.sleep(0.1)


async def test_events_and_tables(place: Place) -> None:
    table = await place.caller.table(within=20.0)
    agents = [*table.agents, *(agent for node in table.nodes for agent in node.agents)]
    assert {"worker/0", "worker/1", "worker/2", "near/0"} <= {agent.name for agent in agents}
    joined = [event for event in place.caller.events if isinstance(event, NodeJoined)]
    assert bool(joined) == (place.name == "another node")
