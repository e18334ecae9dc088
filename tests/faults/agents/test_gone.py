"""Asking an agent that is on the bus no longer: one that was stopped does not come back, one whose host died may."""

import asyncio

import pytest

from tests.support.agents.agent_cast import Caller, Faulty, Scout, Steady
from tests.support.agents.supervision import kill, state
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents import HostOptions, OrchestratorOptions, Restart, join
from three_mode.errors import NoSuchAgent, PeerLost

GONE = "any more: it was stopped, has ended itself, or was given up"


async def test_a_stopped_agent_is_none_for_all_who_knew_it() -> None:
    async with Orchestrator(hosts=2) as orc, join(orc.name) as outside:
        scouts = await orc.spawn(Scout, 2, name="scout")
        caller = await orc.spawn(Caller, name="caller")
        assert await outside.ref("scout/0").ask(Scout.score, "x") == 1
        assert await caller.ask(Caller.through, "scout/0", "so") == ["so"]
        await orc.stop(scouts[0])
        with pytest.raises(NoSuchAgent, match=GONE):
            await scouts[0].ask(Scout.score, "x")
        with pytest.raises(NoSuchAgent, match=GONE):
            await scouts[0].tell(Scout.read, {})
        with pytest.raises(NoSuchAgent, match=GONE):
            _ = [part async for part in scouts[0].stream(Scout.explain, "x")]
        votes = await scouts.gather(Scout.score, "x")
        assert isinstance(votes.errors["scout/0"], NoSuchAgent)
        await until(lambda: "scout/0" not in outside.bus.names())
        with pytest.raises(NoSuchAgent, match=GONE):
            await outside.ref("scout/0").ask(Scout.score, "x")
        with pytest.raises(NoSuchAgent, match=GONE):
            await caller.ask(Caller.through, "scout/0", "so")
        again = await orc.spawn(Scout, name="scout")  # a name that comes back is known again
        assert await again.ask(Scout.score, "x") == 1
        with pytest.raises(NoSuchAgent, match="no agent 'scout/9' is on the bus"):
            await orc.ref("scout/9").ask(Scout.score, "x")


async def test_an_agent_that_ended_itself_is_none() -> None:
    async with Orchestrator(hosts=1) as orc:
        one = await orc.spawn(Faulty, name="faulty")
        await one.ask(Faulty.end)
        await until(lambda: "faulty/0" not in orc.bus.names())
        with pytest.raises(NoSuchAgent, match=GONE):
            await one.ask(Faulty.bump)


async def test_an_agent_whose_host_died_may_be_restarting_until_it_is_given_up() -> None:
    restart = Restart("permanent", limit=10, wait=0.0)
    async with Orchestrator(hosts=1, options=OrchestratorOptions(hosts=HostOptions(restart=restart))) as orc:
        scout = await orc.spawn(Scout, name="scout")
        brief = await orc.spawn(Scout, name="brief", restart="temporary")
        await kill(orc)
        with pytest.raises(PeerLost, match="it may be restarting"):
            await scout.ask(Scout.score, "x")
        await until(lambda: state(orc, "brief/0") == "given up")
        with pytest.raises(NoSuchAgent, match=GONE):
            await brief.ask(Scout.score, "x")
        await orc.bus.wait_for(["scout/0"])
        assert await scout.ask(Scout.score, "x") == 1


async def test_an_agent_that_is_stopped_while_its_host_is_away_is_none() -> None:
    restart = Restart("permanent", limit=10, wait=5.0)
    async with Orchestrator(hosts=1, options=OrchestratorOptions(hosts=HostOptions(restart=restart))) as orc:
        scout = await orc.spawn(Scout, name="scout")
        await kill(orc)
        await orc.bus.wait_for(["scout/0"])
        await kill(orc)  # and stays away for seconds
        await orc.stop(scout)
        with pytest.raises(NoSuchAgent, match=GONE):
            await scout.ask(Scout.score, "x")


async def test_an_idempotent_call_does_not_wait_for_an_agent_that_was_stopped() -> None:
    async with Orchestrator(hosts=1) as orc:
        steady = await orc.spawn(Steady, name="steady")
        await orc.stop(steady)
        async with asyncio.timeout(5):
            with pytest.raises(NoSuchAgent):
                await steady.ask(Steady.square, 2, 0.0, within=30)
