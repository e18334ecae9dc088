"""A handler that raises, blocks, never ends or returns what cannot be sent: its caller is told, and nobody else is
harmed.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.agents.agent_cast import Brief, Faulty, Hooked, Late, Once, Scout, Slow
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents import AgentGroup, HostOptions, OrchestratorOptions, Restart
from three_mode.agents.supervisor.events import AgentGivenUp, AgentRestarted, HostBlocked, HostLost
from three_mode.errors import (
    BadResult,
    DeadlineExceeded,
    HandlerFailed,
    NoSuchAgent,
    PeerLost,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orc() -> AsyncIterator[Orchestrator]:
    options = OrchestratorOptions(hosts=HostOptions(blocked_after=0.3, kill_blocked_after=3.0))
    async with Orchestrator(hosts=2, options=options) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def faulty(orc: Orchestrator) -> AsyncIterator[AgentGroup]:
    group = await orc.spawn(Faulty, 4, name="faulty")
    yield group
    await orc.stop(group)


async def test_an_exception_goes_to_its_caller_with_its_traceback(faulty: AgentGroup) -> None:
    assert await faulty[0].ask(Faulty.bump) == 1
    with pytest.raises(HandlerFailed, match=r"faulty/0\.boom raised KeyError: 'no'") as caught:
        await faulty[0].ask(Faulty.boom, "no")
    assert caught.value.kind == "KeyError"
    assert "agent_cast.py" in (caught.value.traceback or "")
    with pytest.raises(HandlerFailed, match="inline"):
        await faulty[0].ask(Faulty.boom_inline)
    with pytest.raises(HandlerFailed, match="SystemExit"):
        await faulty[0].ask(Faulty.leave)
    assert await faulty[0].ask(Faulty.bump) == 2  # it lives on, with its state


async def test_what_cannot_be_sent_or_is_not_what_was_promised(faulty: AgentGroup) -> None:
    with pytest.raises(BadResult, match=r"faulty/0\.unsendable returned object"):
        await faulty[0].ask(Faulty.unsendable)
    with pytest.raises(BadResult, match="hint"):
        await faulty[0].ask(Faulty.wrong_type)
    with pytest.raises(BadResult):
        _ = [part async for part in faulty[0].stream(Faulty.stream_unsendable)]
    assert await faulty[0].ask(Faulty.bump) == 1


async def test_a_gathered_value_that_its_own_hint_refuses_is_an_error_of_that_agent_alone(
    faulty: AgentGroup,
) -> None:
    votes = await faulty.gather(Faulty.picky)
    assert not votes.missing
    assert (list(votes.errors), len(votes)) == (["faulty/0"], 3)
    assert isinstance(votes.errors["faulty/0"], BadResult)


async def test_a_stream_that_breaks_gives_what_came_then_the_error(faulty: AgentGroup) -> None:
    parts = []
    stream = faulty[0].stream(Faulty.stream_then_boom)
    parts.append(await anext(stream))
    with pytest.raises(HandlerFailed, match="half way"):
        await anext(stream)
    assert parts == [1]


async def test_in_a_broadcast_one_that_raises_harms_no_other(orc: Orchestrator, faulty: AgentGroup) -> None:
    await faulty[1].ask(Faulty.bump)
    seen = await orc.broadcast("bad.news", {"n": 1}).settled(1.0)
    assert seen.seen == 4
    errors = {one.name: (one.errors, one.last_error) for one in (await orc.table()).agents if "faulty" in one.name}
    assert errors["faulty/1"] == (
        1,
        "HandlerFailed: faulty/1.on_bad raised ValueError: faulty/1 does not like 1",
    )
    assert errors["faulty/0"] == (0, "")


async def test_one_that_never_ends_and_ignores_cancellation_is_reported_and_can_be_restarted(
    orc: Orchestrator, faulty: AgentGroup
) -> None:
    with pytest.raises(DeadlineExceeded):
        await faulty[2].ask(Faulty.stubborn, within=0.1)
    with pytest.raises(DeadlineExceeded):
        await faulty[2].ask(Faulty.bump, within=0.1)
    table = await orc.table()
    report = next(one for one in table.agents if one.name == "faulty/2")
    assert (report.state, report.doing) == ("busy", "stubborn")
    assert await faulty[3].ask(Faulty.bump) == 1  # nobody else is harmed
    await orc.restart(faulty[2])
    assert await faulty[2].ask(Faulty.bump) == 1


async def test_one_that_blocks_the_loop_is_named_with_its_line(orc: Orchestrator, faulty: AgentGroup) -> None:
    with pytest.raises(DeadlineExceeded, match=r"blocked for .* by faulty/0\.block \(agent_cast.py:\d+ in block\)"):
        await faulty[0].ask(Faulty.block, 1.5, within=1.2)
    blocked = [event for event in orc.events if isinstance(event, HostBlocked)]
    assert (blocked[-1].agent, blocked[-1].handler) == ("faulty/0", "block")
    assert await faulty[0].ask(Faulty.bump, within=5) == 1


async def test_a_host_that_stays_blocked_is_killed_and_its_agents_come_back(orc: Orchestrator) -> None:
    group = await orc.spawn(Faulty, 2, name="stuck")
    begun = time.monotonic()
    with pytest.raises(PeerLost):
        await group[0].ask(Faulty.block, 60.0, within=20)
    assert time.monotonic() - begun < 10
    await until(lambda: any(isinstance(event, HostLost) for event in orc.events))
    lost = [event for event in orc.events if isinstance(event, HostLost)]
    assert "blocked" in lost[-1].reason
    assert "stuck/0.block" in lost[-1].reason
    await orc.bus.wait_for(group.names, within=10)
    assert await group[0].ask(Faulty.bump) == 1
    await orc.stop(group)


async def test_an_init_that_raises_fails_the_spawn_and_leaves_nothing(orc: Orchestrator) -> None:
    with pytest.raises(HandlerFailed, match="no luck"):
        await orc.spawn(Faulty, 4, name="unlucky", fail="no luck")
    assert not [name for name in orc.bus.names() if "unlucky" in name]
    assert len(await orc.spawn(Faulty, 2, name="unlucky")) == 2


async def test_restart_on_error_gives_a_fresh_agent_until_the_limit(orc: Orchestrator) -> None:
    policy = Restart(limit=2, within=60, on_error=True)
    one = await orc.spawn(Faulty, name="phoenix", restart=policy)
    assert await one.ask(Faulty.bump) == 1
    for number in (1, 2):
        with pytest.raises(HandlerFailed):
            await one.ask(Faulty.boom, "x")
        assert await one.ask(Faulty.bump) == 1  # waited in the mailbox until it was made anew
        await until(lambda wanted=number: _restarts(orc, "phoenix/0") == wanted)  # type: ignore[misc]
    with pytest.raises(HandlerFailed):
        await one.ask(Faulty.boom, "z")
    await until(lambda: any(isinstance(event, AgentGivenUp) and event.agent == "phoenix/0" for event in orc.events))
    events = [event for event in orc.events if getattr(event, "agent", "") == "phoenix/0"]
    assert [type(event) for event in events].count(AgentRestarted) == 2
    assert isinstance(events[-1], AgentGivenUp)
    assert "restarted 2 times in 60 s" in events[-1].reason
    report = next(row for row in (await orc.table()).agents if row.name == "phoenix/0")
    assert (report.state, report.restarts) == ("given up", 2)
    await until(lambda: "phoenix/0" not in orc.bus.names())
    with pytest.raises(NoSuchAgent):
        await one.ask(Faulty.bump)


def _restarts(orc: Orchestrator, agent: str) -> int:
    return sum(isinstance(event, AgentRestarted) and event.agent == agent for event in orc.events)


async def test_whose_message_was_begun_by_an_agent_that_is_restarted_gets_peer_lost_at_once(
    orc: Orchestrator,
) -> None:
    one = await orc.spawn(Faulty, name="waited")
    first = asyncio.create_task(one.ask(Faulty.stubborn, within=30))
    second = asyncio.create_task(one.ask(Faulty.bump, within=30))
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    restarting = asyncio.create_task(orc.restart(one))
    with pytest.raises(PeerLost, match=r"waited/0.*restarted"):
        await first
    assert time.monotonic() - begun < 1.0
    await restarting
    assert await second == 1  # it was not begun, and is answered by the new one


@pytest.mark.parametrize(("strategy", "back"), [("permanent", True), ("transient", False), ("temporary", False)])
async def test_one_that_ends_itself_comes_back_if_its_strategy_says_so(
    orc: Orchestrator, strategy: str, back: bool
) -> None:
    one = await orc.spawn(Faulty, name=f"ends-{strategy}", restart=strategy)
    await one.ask(Faulty.bump)
    await one.ask(Faulty.end)
    for _ in range(200):
        await asyncio.sleep(0.01)
        try:
            state = await one.ask(Faulty.bump, within=1)
        except (PeerLost, NoSuchAgent):
            if not back:
                break
            continue
        if back and state == 1:
            break
    else:
        pytest.fail("it neither came back nor stayed away")


async def test_one_that_ends_itself_while_others_wait_leaves_nobody_waiting(orc: Orchestrator) -> None:
    one = await orc.spawn(Faulty, name="leaving")
    last = asyncio.create_task(one.ask(Faulty.end_slowly, 0.2, within=20))
    waiting = asyncio.create_task(one.ask(Faulty.bump, within=20))
    assert await last == "ended"
    with pytest.raises(PeerLost):
        await waiting
    await until(lambda: "leaving/0" not in orc.bus.names())


@pytest.mark.parametrize("handler", [Slow.wait, Slow.beside])
async def test_what_is_in_hand_may_finish_when_an_agent_is_stopped(orc: Orchestrator, handler: Any) -> None:
    one = await orc.spawn(Slow, name="finishing")
    asked = asyncio.create_task(one.ask(handler, 0.3))
    await asyncio.sleep(0.1)
    await orc.stop(one)
    assert await asked in ("done", 1)
    ended = [event for event in orc.events if getattr(event, "agent", "") == "finishing/0"]
    assert not ended  # it was stopped: it did not end itself


async def test_one_that_ends_itself_while_it_starts_has_ended(orc: Orchestrator) -> None:
    await orc.spawn(Brief, 2, name="brief")
    await until(lambda: not [name for name in orc.bus.names() if name.startswith("brief/")])
    given_up = [event.agent for event in orc.events if isinstance(event, AgentGivenUp) and not event.failed]
    assert {"brief/0", "brief/1"} <= set(given_up)


async def test_hooks_run_around_an_agents_life(orc: Orchestrator, tmp_path: Path) -> None:
    log = tmp_path / "log"
    one = await orc.spawn(Hooked, name="hooked", log=log)
    assert await one.ask(Hooked.hello) == "hello"
    await orc.restart(one)
    await orc.stop(one)
    words = [line.split()[1] for line in log.read_text().splitlines()]
    assert words == ["init", "started", "stopped", "init", "started", "stopped"]
    with pytest.raises(NoSuchAgent):
        await one.ask(Hooked.hello)


async def test_two_orders_to_stop_an_agent_stop_it_once(orc: Orchestrator, tmp_path: Path) -> None:
    log = tmp_path / "log"
    group = await orc.spawn(Hooked, 2, name="hooked", log=log)
    busy = [asyncio.create_task(one.ask(Hooked.wait, 0.3)) for one in group]
    await asyncio.sleep(0.1)
    await asyncio.gather(orc.stop(group), orc.stop(group), orc.stop(group[1]))
    assert await asyncio.gather(*busy) == ["hello", "hello"]
    words = [line.split() for line in log.read_text().splitlines()]
    assert words.count(["hooked/0", "stopped"]) == words.count(["hooked/1", "stopped"]) == 1
    assert not [name for name in orc.bus.names() if name.startswith("hooked/")]
    with pytest.raises(NoSuchAgent):
        await orc.stop(group)


@pytest.mark.parametrize("where", ["init", "started"])
async def test_one_that_leaves_its_process_while_it_is_made_fails_alone(orc: Orchestrator, where: str) -> None:
    before = len(orc.events)
    with pytest.raises(HandlerFailed, match=rf"leaver/0\..*{where}.* raised SystemExit: 3"):
        await orc.spawn(Late, 1, name="leaver", leaves=where)
    one = await orc.spawn(Late, name="leaver", leaves="stopped")
    await orc.restart(one)
    await orc.stop(one)
    assert not [event for event in orc.events[before:] if isinstance(event, HostLost)]


@pytest.mark.parametrize("how", ["time", "cancel"])
async def test_a_spawn_that_did_not_come_to_its_end_leaves_nothing(orc: Orchestrator, how: str) -> None:
    spawning = asyncio.create_task(orc.spawn(Late, 4, name="never", seconds=0.5, within=0.2 if how == "time" else 30))
    await asyncio.sleep(0.3)
    spawning.cancel()
    with pytest.raises((DeadlineExceeded, asyncio.CancelledError)):
        await spawning
    await asyncio.sleep(0.5)  # they would be ready by now
    assert not [name for name in orc.bus.names() if "never" in name]
    await orc.stop(await orc.spawn(Faulty, 2, name="never"))  # the name is free, for another class too


async def test_a_broadcast_while_an_agent_is_made_anew_is_for_the_new_one(orc: Orchestrator) -> None:
    one = await orc.spawn(Late, name="renewed", seconds=0.3)
    restarting = asyncio.create_task(orc.restart(one))

    async def starting() -> bool:
        return any(row.state == "starting" for row in (await orc.table()).agents if row.name == "renewed/0")

    await until(starting)
    receipt = orc.broadcast("late.news", 1)
    assert (await receipt.settled(0.01)).lagging == 1
    await restarting
    assert (await receipt.settled(2.0)).seen == 1
    assert await one.ask(Late.count) == 1
    await orc.stop(one)


async def test_restarts_at_once_are_made_one_after_another(orc: Orchestrator) -> None:
    one = await orc.spawn(Late, name="twice", seconds=0.2)
    restarts = [asyncio.create_task(orc.restart(one)) for _ in range(2)]
    await asyncio.sleep(0.1)
    asked = [asyncio.create_task(one.ask(Late.hello)) for _ in range(4)]
    assert await asyncio.gather(*restarts, *asked) == [None] * 2 + [True] * 4
    await orc.stop(one)


async def test_an_agent_that_is_stopped_while_it_is_made_anew_stays_away(orc: Orchestrator) -> None:
    one = await orc.spawn(Late, name="unwanted", seconds=0.5)
    restarting = asyncio.create_task(orc.restart(one))
    await asyncio.sleep(0.1)
    await orc.stop(one)
    with pytest.raises(PeerLost, match="stopped while it was made"):
        await restarting
    with pytest.raises(NoSuchAgent):
        await one.ask(Late.hello)


async def test_each_message_that_fails_has_its_own_restart(orc: Orchestrator) -> None:
    """Also one that waited and fails as soon as the agent is back."""
    one = await orc.spawn(Faulty, name="again", restart=Restart(limit=10, on_error=True))
    asked = [one.ask(Faulty.boom, str(number)) for number in range(4)]
    failures = await asyncio.gather(*asked, one.ask(Faulty.bump), return_exceptions=True)
    assert [type(failure) for failure in failures[:4]] == [HandlerFailed] * 4
    assert failures[4] == 1
    await orc.stop(one)


async def test_a_restart_by_hand_that_fails_is_for_the_strategy_to_decide(orc: Orchestrator, tmp_path: Path) -> None:
    one = await orc.spawn(Once, name="once", path=tmp_path / "born", restart=Restart("transient", limit=1, wait=0.01))
    with pytest.raises(HandlerFailed, match="FileExistsError"):
        await orc.restart(one)
    with pytest.raises(PeerLost):  # it is given up, and nobody waits for it
        await one.ask(Once.hello, within=20)
    assert any(isinstance(event, AgentGivenUp) and event.agent == "once/0" for event in orc.events)
    await orc.stop(one)


async def test_the_others_were_not_harmed_by_all_this(orc: Orchestrator) -> None:
    scouts = await orc.spawn(Scout, 10, name="after")
    assert (await scouts.gather(Scout.score, "x")).complete
