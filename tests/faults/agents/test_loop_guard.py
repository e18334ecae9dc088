"""Code of agents that would end its host's event loop, or run it twice: the other agents are not harmed by it."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.support.agents.agent_cast import Forking, Scout, Stopper
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents import HostLost
from three_mode.errors import ConfigurationError


def lives(pid: int) -> bool:
    """Whether a process runs: one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_loop_is_not_stopped_by_a_handler() -> None:
    async with Orchestrator(hosts=1) as orc:
        scout = await orc.spawn(Scout, name="scout")
        stopper = await orc.spawn(Stopper, name="stopper")
        with pytest.raises(ConfigurationError, match=r"loop\.stop\(\) would end a host"):
            await stopper.ask(Stopper.stop_loop)
        await stopper.ask(Stopper.stop_loop_later)
        assert (await orc.broadcast("stop.all", "x").settled(5)).seen == 1
        assert await scout.ask(Scout.score, "x") == 1
        assert not [event for event in orc.events if isinstance(event, HostLost)]


@pytest.mark.parametrize("how", ["plain", "returns", "waits", "late", "thread", "from_init"])
async def test_a_forked_child_that_comes_back_ends(tmp_path: Path, how: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        where = "init" if how == "from_init" else ""
        one = await orc.spawn(Forking, name="forking", log=tmp_path / "log", where=where)
        scout = await orc.spawn(Scout, name="scout")
        child = await one.ask(how)
        assert child > 0
        await until(lambda: not lives(child))
        assert await scout.ask(Scout.score, "x") == 1
        assert await one.ask(Forking.forked) in (child, 0)
        assert not [event for event in orc.events if isinstance(event, HostLost)]


async def test_a_forked_child_does_not_go_on_with_the_other_agents(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1) as orc:
        group = await orc.spawn(Forking, 8, name="forking", log=tmp_path / "log")
        seen = await orc.broadcast("fork.all", "once").settled(5)
        assert seen.seen == 8
        child = await group[3].ask(Forking.forked)
        await until(lambda: not lives(child))
        lines = (tmp_path / "log").read_text().split("\n")
        assert sorted(filter(None, lines)) == [f"forking/{number} once" for number in range(8)]


async def test_children_that_do_their_work_and_end_are_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with Orchestrator(hosts=1) as orc:
        one = await orc.spawn(Forking, name="forking", log=tmp_path / "log")
        assert await one.ask(Forking.works) == [0, 0]
        assert (tmp_path / "log").read_text() == "worked\n"
    assert "ERROR: forking: logged by a child" in capfd.readouterr().err


async def test_a_forked_child_hears_sigterm_and_its_host_does_not(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1) as orc:
        one = await orc.spawn(Forking, name="forking", log=tmp_path / "log")
        child = await one.ask("stays")
        assert lives(child)
        os.kill(child, signal.SIGTERM)
        await until(lambda: not lives(child))
        await asyncio.sleep(0.2)
        assert await one.ask(Forking.forked) == child
        assert not [event for event in orc.events if isinstance(event, HostLost)]
