"""Starts that take too long, or that a living host refuses: no agent stays "restarting" for ever or lives twice."""

import asyncio
import importlib
import sys
import time
from pathlib import Path

import pytest

from tests.support.agents.agent_cast import Ailing, Late, Scout
from tests.support.agents.supervision import given_up, hosts_of, is_gone, kill, state
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents import HostOptions, OrchestratorOptions, Restart
from three_mode.agents.supervisor.events import AgentRestarted, HostBack, HostGivenUp
from three_mode.errors import DeadlineExceeded, HandlerFailed, PeerLost, ThreeModeError

NEVER = 600.0  # seconds of a start that no test waits for
TWICE = Restart(limit=2)


def impatient(respawn_within: float = 0.4, host_restarts: int = 1000) -> OrchestratorOptions:
    restart = Restart("permanent", limit=host_restarts)
    return OrchestratorOptions(hosts=HostOptions(restart=restart, respawn_within=respawn_within))


async def lives_once(orc: Orchestrator, name: str, life: int, host: str = "host-1") -> None:
    """The roster, the host and the bus all say that exactly one such agent lives."""
    await until(lambda: state(orc, name) == "running")
    assert await orc.ref(name).ask(Ailing.which, within=5) == life
    await asyncio.sleep(0.5)  # an order that came too late would have been carried out by now
    assert state(orc, name) == "running"
    assert await orc.ref(name).ask(Ailing.which, within=5) == life
    assert await hosts_of(orc, name) == [host]
    assert name not in given_up(orc)


async def test_a_start_that_never_ends_on_a_host_that_came_back_is_given_up(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=impatient()) as orc:
        await orc.spawn(Ailing, name="ailing", restart=TWICE, lives=tmp_path / "lives", seconds=NEVER)
        await kill(orc)
        await until(lambda: state(orc, "ailing/0") == "given up", within=20)
        assert "has not started" in given_up(orc)["ailing/0"]
        await is_gone(orc, "ailing/0")


async def test_a_start_that_takes_longer_than_it_may_is_waited_for(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=impatient()) as orc:
        await orc.spawn(Ailing, name="ailing", lives=tmp_path / "lives", seconds=1.1)
        await kill(orc)
        await lives_once(orc, "ailing/0", life=2)
        assert [event.agent for event in orc.events if isinstance(event, AgentRestarted)] == ["ailing/0"]


async def test_an_init_that_blocks_its_host_for_longer_than_it_may_is_waited_for(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=impatient()) as orc:
        await orc.spawn(Ailing, name="ailing", lives=tmp_path / "lives", seconds=1.1, blocks=True)
        await kill(orc)
        await lives_once(orc, "ailing/0", life=2)


async def test_an_init_that_blocks_its_host_beyond_its_limits_is_given_up_and_ends(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=impatient(0.2)) as orc:
        await orc.spawn(Ailing, name="ailing", restart=TWICE, lives=tmp_path / "lives", seconds=2.0, blocks=True)
        await kill(orc)
        await until(lambda: state(orc, "ailing/0") == "given up", within=20)
        await orc.bus.wait_for(["host:host-1"], within=5)
        await asyncio.sleep(2.0)  # the host makes it all the same, and is told that nobody wants it
        await is_gone(orc, "ailing/0")


async def test_one_that_does_not_start_keeps_neither_its_group_nor_the_others_away(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=impatient(1.5)) as orc:
        sick = {"lives": tmp_path / "lives", "seconds": NEVER, "only": "ailing/2"}
        await orc.spawn(Ailing, 5, name="ailing", restart=TWICE, **sick)
        scouts = await orc.spawn(Scout, 5, name="scout")
        await kill(orc)
        await until(lambda: any(isinstance(event, HostBack) for event in orc.events))
        await until(lambda: all(state(orc, f"ailing/{number}") == "running" for number in (0, 1, 3, 4)))
        assert (await scouts.gather(Scout.score, "x")).complete
        assert state(orc, "ailing/2") == "restarting"
        await until(lambda: state(orc, "ailing/2") == "given up", within=20)
        assert list(given_up(orc)) == ["ailing/2"]
        assert (tmp_path / "lives").read_text().split().count("ailing/0") == 2


async def test_a_start_that_never_ends_on_the_host_that_agents_moved_to_is_given_up(tmp_path: Path) -> None:
    async with Orchestrator(hosts=2, options=impatient(host_restarts=0)) as orc:
        sick = {"lives": tmp_path / "lives", "seconds": NEVER, "only": "ailing/0"}
        await orc.spawn(Ailing, 2, name="ailing", restart=TWICE, **sick)
        label = orc._running_supervisor.roster.agents["ailing/0"].host
        await kill(orc, label)
        await until(lambda: state(orc, "ailing/0") == "given up", within=20)
        assert any(isinstance(event, HostGivenUp) and event.host == label for event in orc.events)
        assert "has not started" in given_up(orc)["ailing/0"]
        await is_gone(orc, "ailing/0")


@pytest.mark.parametrize("blocks", [False, True])
async def test_a_slow_start_on_the_host_that_agents_moved_to_is_waited_for(tmp_path: Path, blocks: bool) -> None:
    async with Orchestrator(hosts=2, options=impatient(host_restarts=0)) as orc:
        sick = {"lives": tmp_path / "lives", "seconds": 1.1, "only": "ailing/0", "blocks": blocks}
        await orc.spawn(Ailing, 2, name="ailing", **sick)
        labels = {name: orc._running_supervisor.roster.agents[name].host for name in ("ailing/0", "ailing/1")}
        await kill(orc, labels["ailing/0"])
        await until(lambda: orc._running_supervisor.roster.agents["ailing/0"].host == labels["ailing/1"])
        await lives_once(orc, "ailing/0", life=2, host=labels["ailing/1"])


async def test_a_host_that_refuses_to_make_an_agent_is_no_dead_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "vanishing_agent.py"
    module.write_text("from three_mode import Agent\nclass Vanishing(Agent): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    kind = importlib.import_module("vanishing_agent").Vanishing
    async with Orchestrator(hosts=1, options=impatient()) as orc:
        await orc.spawn(kind, name="vanishing", restart=TWICE)
        module.unlink()
        await kill(orc)
        await until(lambda: state(orc, "vanishing/0") == "given up")
        assert "vanishing_agent" in given_up(orc)["vanishing/0"]


async def test_a_host_that_ends_while_an_agent_is_slow_to_start_brings_it_back_again(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=impatient()) as orc:
        await orc.spawn(
            Ailing, name="ailing", restart=Restart(limit=8), lives=tmp_path / "lives", seconds=NEVER, times=2
        )
        for tries in (1, 3):
            await kill(orc)
            await until(lambda wanted=tries: orc._running_supervisor.roster.agents["ailing/0"].history.total >= wanted)  # type: ignore[misc]
        await kill(orc)
        await lives_once(orc, "ailing/0", life=4)


@pytest.mark.parametrize("blocks", [False, True])
async def test_an_agent_that_is_stopped_while_it_is_slow_to_start_stays_away(tmp_path: Path, blocks: bool) -> None:
    async with Orchestrator(hosts=1, options=impatient()) as orc:
        lives = tmp_path / "lives"
        await orc.spawn(Ailing, name="ailing", restart=Restart(limit=100), lives=lives, seconds=1.5, blocks=blocks)
        await kill(orc)
        await until(lambda: orc._running_supervisor.roster.agents["ailing/0"].history.total >= 1)
        await orc.stop("ailing/0")
        assert "ailing/0" not in orc._running_supervisor.roster.agents
        await is_gone(orc, "ailing/0")
        assert not given_up(orc)
        again = await orc.spawn(Scout, name="ailing")  # the name is free, for another class too
        assert await again.ask(Scout.score, "x") == 1


async def test_an_orchestrator_can_end_while_an_agent_is_slow_to_start(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=impatient()) as orc:
        await orc.spawn(Ailing, name="ailing", restart=Restart(limit=100), lives=tmp_path / "lives", seconds=NEVER)
        await kill(orc)
        await until(lambda: orc._running_supervisor.roster.agents["ailing/0"].history.total >= 2)
        begun = time.monotonic()
    assert time.monotonic() - begun < 5.0
    assert not given_up(orc)


@pytest.mark.parametrize("blocks", [False, True])
async def test_a_failed_agent_that_is_slow_to_start_anew_is_made_once(tmp_path: Path, blocks: bool) -> None:
    async with Orchestrator(hosts=1, options=impatient()) as orc:
        lives = tmp_path / "lives"
        restart = Restart(limit=8, on_error=True)
        one = await orc.spawn(Ailing, name="ailing", restart=restart, lives=lives, seconds=1.1, blocks=blocks)
        with pytest.raises(HandlerFailed):
            await one.ask(Ailing.boom)
        waiting = asyncio.create_task(one.ask(Ailing.which, within=10))
        await lives_once(orc, "ailing/0", life=2)
        assert await waiting == 2  # it waited in the mailbox for the new one


async def test_a_failed_agent_that_never_starts_anew_is_given_up(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=impatient()) as orc:
        restart = Restart(limit=2, on_error=True)
        one = await orc.spawn(Ailing, name="ailing", restart=restart, lives=tmp_path / "lives", seconds=NEVER)
        with pytest.raises(HandlerFailed):
            await one.ask(Ailing.boom)
        waiting = asyncio.create_task(one.ask(Ailing.which, within=20))
        await until(lambda: state(orc, "ailing/0") == "given up")
        with pytest.raises(PeerLost):
            await waiting
        await is_gone(orc, "ailing/0")


async def test_a_restart_by_hand_that_takes_too_long_is_for_the_strategy_to_decide(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=impatient()) as orc:
        slow = await orc.spawn(Ailing, name="slow", lives=tmp_path / "slow", seconds=0.9)
        never = await orc.spawn(Ailing, name="never", restart=TWICE, lives=tmp_path / "never", seconds=NEVER)
        for one in (slow, never):
            with pytest.raises(DeadlineExceeded):
                await orc.restart(one, within=0.2)
        await lives_once(orc, "slow/0", life=2)
        await until(lambda: state(orc, "never/0") == "given up")
        with pytest.raises(ThreeModeError):
            await never.ask(Ailing.which)


async def test_failures_within_the_time_a_start_takes_are_not_forgotten(tmp_path: Path) -> None:
    """With a `within` shorter than a start may take, each attempt would else be the first again."""
    async with Orchestrator(hosts=1, options=impatient(0.4)) as orc:
        restart = Restart(limit=2, within=0.3)
        await orc.spawn(Ailing, name="ailing", restart=restart, lives=tmp_path / "lives", seconds=NEVER)
        await kill(orc)
        await until(lambda: state(orc, "ailing/0") == "given up")
        assert "restarted 2 times" in given_up(orc)["ailing/0"]


async def test_a_start_that_took_long_at_first_may_take_as_long_when_coming_back() -> None:
    """A model that is loaded for a minute was given up after its host's end, with 30 s for each of its restarts."""
    async with Orchestrator(hosts=1, options=impatient(0.2)) as orc:
        one = await orc.spawn(Late, name="late", restart=Restart(limit=1), seconds=1.5)
        await kill(orc)
        await until(lambda: state(orc, "late/0") == "running", within=20)
        assert await one.ask(Late.hello)
        assert not given_up(orc)
