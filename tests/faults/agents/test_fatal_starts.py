"""An agent that ends its host while it is made: the order is to blame, and the other agents are not harmed by it."""

import asyncio
import importlib
from pathlib import Path

import pytest

from tests.support.agents.agent_cast import Fatal, Scout
from tests.support.agents.supervision import given_up, hosts_lost, is_gone, kill, state
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents import AgentGroup, AgentsQuarantined, HostGivenUp, HostOptions, OrchestratorOptions, Restart
from three_mode.errors import DeadlineExceeded, PeerLost, ThreeModeError

pytestmark = pytest.mark.parametrize("how", ["segfault", "exit"])


async def all_answer(group: AgentGroup) -> None:
    """Every agent is back, in the hosts that there were at first."""
    await group[0]._caller.session.bus.wait_for(group.names, within=20)
    votes = await group.gather(Scout.pid, within=10)
    assert votes.complete, votes.errors or votes.missing


def quarantines(orc: Orchestrator) -> list[str]:
    return [event.host for event in orc.events if isinstance(event, AgentsQuarantined)]


async def no_quarantine_runs(orc: Orchestrator) -> None:
    await until(lambda: not any(label.startswith("quarantine") for label in orc._running_supervisor.hosts.all))


@pytest.mark.parametrize("strategy", ["transient", "temporary"])
async def test_a_spawn_whose_init_ends_its_host_fails_alone(tmp_path: Path, how: str, strategy: str) -> None:
    async with Orchestrator(hosts=2) as orc:
        scouts = await orc.spawn(Scout, 64, name="scout")
        with pytest.raises(PeerLost, match=r"fatal/0\.__init__") as caught:
            await orc.spawn(Fatal, 1, name="fatal", restart=strategy, how=how, lives=tmp_path / "lives")
        assert (caught.value.agent, caught.value.handler) == ("fatal/0", "__init__")
        assert not caught.value.retryable
        await all_answer(scouts)
        assert (tmp_path / "lives").read_text().split() == ["fatal/0", "fatal/0"]  # once, and once more
        assert hosts_lost(orc) == 2  # a host, and the quarantine
        assert not [event for event in orc.events if isinstance(event, HostGivenUp)]
        await is_gone(orc, "fatal/0")
        await no_quarantine_runs(orc)


async def test_such_deaths_do_not_count_towards_the_limit_of_a_host(tmp_path: Path, how: str) -> None:
    options = OrchestratorOptions(hosts=HostOptions(restart=Restart("permanent", limit=0)))
    async with Orchestrator(hosts=1, options=options) as orc:
        scouts = await orc.spawn(Scout, 4, name="scout")
        for number in range(2):
            with pytest.raises(PeerLost, match="host of its own"):
                await orc.spawn(Fatal, 8, name=f"fatal{number}", how=how, lives=tmp_path / f"lives{number}")
            await all_answer(scouts)
        assert not [event for event in orc.events if isinstance(event, HostGivenUp)]


async def test_an_order_that_has_ended_a_host_is_not_tried_beside_others_again(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        scouts = await orc.spawn(Scout, 4, name="scout")
        for _ in range(3):
            with pytest.raises(PeerLost, match="host of its own"):
                await orc.spawn(Fatal, 1, name="fatal", how=how, lives=tmp_path / "lives")
            await all_answer(scouts)
        assert orc._running_supervisor.hosts.all["host-1"].history.total == 1
        await no_quarantine_runs(orc)


async def test_an_order_that_works_at_its_second_try_stays_in_its_own_host(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        scouts = await orc.spawn(Scout, 4, name="scout")
        one = await orc.spawn(Fatal, name="fatal", how=how, lives=tmp_path / "lives", times=1)
        assert await one.ask(Fatal.which) == 2
        assert [row.host for row in (await orc.table()).agents if row.name == "fatal/0"] == ["quarantine-1"]
        await all_answer(scouts)
        await orc.stop(one)
        await no_quarantine_runs(orc)


@pytest.mark.parametrize("where", ["init", "started"])
async def test_a_start_that_ends_the_host_when_coming_back_goes_to_a_host_of_its_own(
    tmp_path: Path, how: str, where: str
) -> None:
    async with Orchestrator(hosts=1) as orc:
        scouts = await orc.spawn(Scout, 8, name="scout")
        sick = {"how": how, "lives": tmp_path / "lives", "life": 2, "where": where}
        fatal = await orc.spawn(Fatal, 4, name="fatal", only="fatal/2", **sick)
        await kill(orc)
        await until(lambda: state(orc, "fatal/2") == "given up", within=20)
        assert "a host of its own" in given_up(orc)["fatal/2"]
        await all_answer(scouts)
        for number in (0, 1, 3):  # the others of the group come back
            await until(lambda name=fatal[number].name: state(orc, name) == "running", within=20)  # type: ignore[misc]
            await orc.bus.wait_for(fatal[number].name, within=20)
            assert await fatal[number].ask(Fatal.which) >= 2
        assert list(given_up(orc)) == ["fatal/2"]
        assert len(quarantines(orc)) == 1
        assert not [event for event in orc.events if isinstance(event, HostGivenUp)]
        assert hosts_lost(orc) == 3  # killed, ended by fatal/2, and the quarantine
        await orc.stop([fatal[0], fatal[1], fatal[3]])
        await no_quarantine_runs(orc)


async def test_a_restart_in_place_that_ends_the_host_goes_to_a_host_of_its_own(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        scouts = await orc.spawn(Scout, 8, name="scout")
        fatal = await orc.spawn(
            Fatal, 2, name="fatal", how=how, lives=tmp_path / "lives", life=2, times=1, only="fatal/1"
        )
        with pytest.raises(PeerLost):
            await orc.restart(fatal[1])
        await until(lambda: bool(quarantines(orc)))
        await until(lambda: state(orc, "fatal/1") == "running", within=20)
        await all_answer(scouts)
        await orc.bus.wait_for(fatal.names, within=20)
        assert await fatal[1].ask(Fatal.which) == 3
        assert await fatal[1].ask(Fatal.pid) != await scouts[0].ask(Scout.pid)
        assert await fatal[0].ask(Fatal.pid) == await scouts[0].ask(Scout.pid)
        assert quarantines(orc) == ["quarantine-1"]


async def test_a_start_that_ends_its_host_from_another_thread_is_found_after_some_losses(
    tmp_path: Path, how: str
) -> None:
    async with Orchestrator(hosts=1) as orc:
        scouts = await orc.spawn(Scout, 8, name="scout")
        with pytest.raises(PeerLost, match="host of its own"):
            await orc.spawn(Fatal, name="fatal", how=how, lives=tmp_path / "lives", where="thread")
        await all_answer(scouts)
        sick = {"how": how, "lives": tmp_path / "later", "life": 2, "where": "thread"}
        await orc.spawn(Fatal, name="later", restart=Restart(limit=100), **sick)
        await asyncio.sleep(0)
        await kill(orc)
        await until(lambda: "quarantine-2" in quarantines(orc), within=20)
        await all_answer(scouts)
        assert not any(event.host == "host-1" for event in orc.events if isinstance(event, HostGivenUp))


async def test_a_large_order_that_ends_all_hosts_at_once_fails_alone(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=2) as orc:
        scouts = await orc.spawn(Scout, 16, name="scout")
        with pytest.raises(PeerLost, match="host of its own"):
            await orc.spawn(Fatal, 32, name="fatal", how=how, lives=tmp_path / "lives")
        await all_answer(scouts)
        assert hosts_lost(orc) <= 3  # each host at most once, and the quarantine
        assert not [event for event in orc.events if isinstance(event, HostGivenUp)]
        await is_gone(orc, "fatal/0")
        await no_quarantine_runs(orc)


async def test_good_agents_can_be_made_while_a_bad_order_ends_their_host(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        outcomes = await asyncio.gather(
            orc.spawn(Fatal, name="fatal", how=how, lives=tmp_path / "lives"),
            orc.spawn(Scout, 8, name="scout"),
            orc.spawn(Scout, 8, name="other"),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], PeerLost)
        for group in outcomes[1:]:
            assert isinstance(group, AgentGroup)
            await all_answer(group)
        hosts = {row.host for row in (await orc.table()).agents if not row.name.startswith("fatal")}
        assert hosts == {"host-1"}  # the fault of another order is not theirs


async def test_an_order_that_has_a_host_of_its_own_is_tried_twice_there(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        scouts = await orc.spawn(Scout, 4, name="scout")
        await orc._running_supervisor.hosts.reserve("fatal")  # as for a model
        with pytest.raises(PeerLost, match="a host of its own"):
            await orc.spawn(Fatal, name="fatal", how=how, lives=tmp_path / "lives")
        assert (tmp_path / "lives").read_text().split() == ["fatal/0", "fatal/0"]
        assert not quarantines(orc)
        await all_answer(scouts)


async def test_a_bad_agent_in_a_host_of_its_own_is_given_up_by_its_limits(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        host = await orc._running_supervisor.hosts.reserve("fatal")
        await orc.spawn(Fatal, name="fatal", how=how, lives=tmp_path / "lives", life=2, restart=Restart(limit=2))
        await kill(orc, host.label)
        await until(lambda: state(orc, "fatal/0") == "given up", within=20)
        assert not quarantines(orc)


async def test_an_orchestrator_can_end_while_a_quarantine_starts(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        spawning = asyncio.create_task(orc.spawn(Fatal, name="fatal", how=how, lives=tmp_path / "lives"))
        await until(lambda: bool(quarantines(orc)))
        host = orc._running_supervisor.hosts.all["quarantine-1"]
        await until(lambda: host.process is not None)
    with pytest.raises(ThreeModeError):
        await spawning
    assert host.process is not None
    assert await host.process.ends(10)


async def test_an_import_that_ends_the_host_is_the_fault_of_its_order(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = "os._exit(5)" if how == "exit" else "ctypes.string_at(0)"
    (tmp_path / "crashing_agent.py").write_text(
        f"import ctypes, os, sys\nfrom three_mode import Agent\nclass Crashing(Agent): ...\n"
        f"if sys.argv[0].startswith('three-mode host'):\n    {crash}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = importlib.import_module("crashing_agent").Crashing
    async with Orchestrator(hosts=1) as orc:
        scouts = await orc.spawn(Scout, 4, name="scout")
        with pytest.raises(PeerLost, match=r"crashing \(Crashing\).*host of its own"):
            await orc.spawn(kind, 4, name="crashing")
        await all_answer(scouts)


async def test_a_spawn_without_time_for_a_second_try_says_what_happened(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        scouts = await orc.spawn(Scout, 4, name="scout")
        with pytest.raises((DeadlineExceeded, PeerLost), match=r"fatal/0\.__init__"):
            await orc.spawn(Fatal, name="fatal", how=how, lives=tmp_path / "lives", within=0.3)
        await all_answer(scouts)
        await no_quarantine_runs(orc)


async def test_an_orchestrator_that_ends_at_once_leaves_no_quarantine(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        one = await orc.spawn(Fatal, name="fatal", how=how, lives=tmp_path / "lives", times=1)
        process = orc._running_supervisor.hosts.all["quarantine-1"].process
        await orc.stop(one)  # the quarantine ends in the background
    assert process is not None
    assert process.exit_reason  # its end was waited for
