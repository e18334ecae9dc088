"""An `__init__` that does not return: its spawn ends in time with the name of the class, and the others come back."""

import asyncio
from pathlib import Path

import pytest

from tests.support.agents.agent_cast import Hanging, Scout
from tests.support.agents.supervision import given_up, hosts_of, is_gone, kill, state
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents import HostBack, HostBlocked, HostGivenUp, HostOptions, OrchestratorOptions, Restart
from three_mode.errors import DeadlineExceeded

HANGS = 30.0  # seconds after which a test that waits for a hanging `__init__` has failed


def watchful(**changes: object) -> OrchestratorOptions:
    """The limit on restarts is 0: an end that counted would give the host up."""
    restart = Restart("permanent", limit=0)
    options = {"restart": restart, "blocked_after": 0.3, "kill_blocked_after": 1.0, **changes}
    return OrchestratorOptions(hosts=HostOptions(**options))  # type: ignore[arg-type]


async def test_a_spawn_beside_an_init_that_hangs_ends_in_time_and_names_the_class(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=watchful(kill_blocked_after=0)) as orc:
        await orc.spawn(Scout, 4, name="scout")
        async with asyncio.timeout(4.0):  # it took five seconds more than it had
            with pytest.raises(DeadlineExceeded, match=r"hanging/0\.__init__ \(Hanging\)") as caught:
                await orc.spawn(Hanging, 2, name="hanging", within=1.0, lives=tmp_path / "lives")
        assert caught.value.stage == "start"
        async with asyncio.timeout(4.0):  # nor can anything else be made there
            with pytest.raises(DeadlineExceeded, match=r"hanging/0\.__init__"):
                await orc.spawn(Scout, name="other", within=1.0)
        process = orc._running_supervisor.hosts.all["host-1"].process
        assert process is not None
        process.kill()


async def test_the_others_of_its_host_come_back_and_the_host_is_not_charged(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=watchful()) as orc:
        scouts = await orc.spawn(Scout, 4, name="scout")
        with pytest.raises(DeadlineExceeded, match="Hanging"):
            await orc.spawn(Hanging, name="hanging", within=0.5, lives=tmp_path / "lives")
        await until(lambda: any(isinstance(event, HostBack) for event in orc.events), within=HANGS)
        await orc.bus.wait_for(scouts.names, within=10)
        assert (await scouts.gather(Scout.score, "x", within=10)).complete
        assert not [event for event in orc.events if isinstance(event, HostGivenUp)]
        assert (tmp_path / "lives").read_text().split() == ["hanging/0"]
        await is_gone(orc, "hanging/0")


async def test_one_that_hangs_when_it_comes_back_keeps_the_others_away_only_until_its_host_is_killed(
    tmp_path: Path,
) -> None:
    async with Orchestrator(hosts=1, options=watchful(restart=Restart("permanent", limit=1))) as orc:
        scouts = await orc.spawn(Scout, 4, name="scout")
        await orc.spawn(Hanging, name="hanging", lives=tmp_path / "lives", life=2)
        await kill(orc)
        await until(lambda: state(orc, "hanging/0") == "given up", within=HANGS)
        assert "a host of its own" in given_up(orc)["hanging/0"]
        await orc.bus.wait_for(scouts.names, within=10)
        assert (await scouts.gather(Scout.score, "x", within=10)).complete
        assert not any(event.host == "host-1" for event in orc.events if isinstance(event, HostGivenUp))


async def test_new_agents_are_made_on_the_hosts_that_are_not_blocked(tmp_path: Path) -> None:
    async with Orchestrator(hosts=2, options=watchful(kill_blocked_after=0)) as orc:
        with pytest.raises(DeadlineExceeded, match="Hanging"):
            await orc.spawn(Hanging, name="hanging", within=1.0, lives=tmp_path / "lives")
        await until(lambda: any(isinstance(event, HostBlocked) for event in orc.events))
        blocked = next(event.host for event in orc.events if isinstance(event, HostBlocked))
        scouts = await orc.spawn(Scout, 4, name="scout", within=10)
        assert (await scouts.gather(Scout.score, "x")).complete
        assert blocked not in await hosts_of(orc, "scout/0")
        process = orc._running_supervisor.hosts.all[blocked].process
        assert process is not None
        process.kill()


async def test_one_that_returns_after_its_time_is_ended(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=watchful(kill_blocked_after=0)) as orc:
        with pytest.raises(DeadlineExceeded, match="Hanging"):
            await orc.spawn(Hanging, name="hanging", within=0.5, lives=tmp_path / "lives", seconds=1.5)
        await until(lambda: orc._running_supervisor.hosts.all["host-1"].process.starting() is None)  # type: ignore[union-attr]
        await is_gone(orc, "hanging/0")
        again = await orc.spawn(Scout, name="hanging", within=10)  # the name is free
        assert await again.ask(Scout.score, "x") == 1
