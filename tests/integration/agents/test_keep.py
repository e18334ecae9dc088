"""State worth keeping: what an agent keeps comes back after the end of its host, or of its program."""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.agents.keep_cast import Counter, FailsToRestore, Hookless, Notes, Parting, Tally, options
from tests.support.agents.supervision import kill
from tests.support.agents.until import until
from three_mode import Agent, Orchestrator
from three_mode.agents import AgentGroup, KeepOptions, Restart, replay
from three_mode.errors import BadCall, ConfigurationError, NoSuchAgent, StateNotKept, ThreeModeError

SLOW = 120.0


async def back(orc: Orchestrator, name: str) -> None:
    await orc.bus.wait_for([name], within=SLOW)


@pytest.mark.parametrize("where", ["memory", "file"])
async def test_a_kept_state_survives_the_kill_of_its_host(where: str, tmp_path: Path) -> None:
    keep = str(tmp_path / "state.sqlite") if where == "file" else ""
    async with Orchestrator(hosts=1, options=options(keep)) as orc:
        counters = await orc.spawn(Counter, 3, name="counter")
        assert await counters[0].ask(Counter.lived) == ["__init__", "started"]
        assert await counters[0].ask(Counter.add, 5) == 5
        assert await counters[1].ask(Counter.keep_many, 20) == 20
        await kill(orc)
        await orc.bus.wait_for(counters.names, within=SLOW)
        assert await counters[0].ask(Counter.lived) == ["__init__", "restored", "started"]
        assert await counters[2].ask(Counter.lived) == ["__init__", "started"], "it has kept nothing"
        assert [await one.ask(Counter.count) for one in counters] == [5, 20, 0]
        await orc.restart(counters)
        assert [await one.ask(Counter.count) for one in counters] == [5, 20, 0]
        assert await counters[0].ask(Counter.add, 1) == 6, "the new incarnation keeps on"


@pytest.mark.parametrize("hosts", [0, 2])
async def test_a_program_that_is_started_anew_goes_on_and_a_stop_in_order_forgets(hosts: int, tmp_path: Path) -> None:
    keep = KeepOptions(str(tmp_path / "state.sqlite"), durable=True)

    async def counts() -> list[int]:
        async with Orchestrator(hosts=hosts, options=options(keep)) as orc:
            counters = await orc.spawn(Counter, 4, name="counter")
            found = [await one.ask(Counter.count) for one in counters]
            for number, one in enumerate(counters):
                await one.ask(Counter.add, number)
            if found[1]:
                await orc.stop(counters[1], within=SLOW)
                await orc.stop("counter/2", within=SLOW, forget=False)
            return found

    assert await counts() == [0, 0, 0, 0]
    assert await counts() == [0, 1, 2, 3]
    assert await counts() == [0, 0, 4, 6]
    assert os.stat(keep.where).st_mode & 0o077 == 0, "only its owner may read it"


async def test_the_last_hook_may_keep_and_an_agent_that_ended_itself_for_good_begins_anew(tmp_path: Path) -> None:
    keep = str(tmp_path / "state.sqlite")
    for lives in range(2):
        async with Orchestrator(hosts=1, options=options(keep)) as orc:
            assert await (await orc.spawn(Parting, name="parting")).ask(Parting.number) == lives
    async with Orchestrator(hosts=1, options=options(keep)) as orc:
        parting = await orc.spawn(Parting, name="parting")
        lasting = await orc.spawn(Parting, name="lasting", restart="permanent")
        for one in (parting, lasting):
            await one.ask(Parting.leave)
        await until(lambda: "parting/0" not in orc._running_supervisor.roster.agents, SLOW)

        with pytest.raises(NoSuchAgent):
            await parting.ask(Parting.number)

        async def lives_again() -> bool:
            try:
                return bool(await lasting.ask(Parting.number) == 1)
            except ThreeModeError:
                return False

        await until(lives_again, SLOW)
        assert await (await orc.spawn(Parting, name="parting")).ask(Parting.number) == 0


async def test_what_cannot_be_kept_or_restored_is_an_error_at_once() -> None:
    async with Orchestrator(hosts=0, options=options(KeepOptions(largest=1000))) as orc:
        counter = await orc.spawn(Counter, name="counter")
        with pytest.raises(BadCall, match=r"counter/0: the state cannot be kept: object is no data"):
            await counter.ask(Counter.keep_this, "object")
        with pytest.raises(BadCall, match=r"does not fit Counter.restored, which takes Tally"):
            await counter.ask(Counter.keep_this, "misfit")
        with pytest.raises(BadCall, match=r"has \d+ bytes, and 1000 may be kept") as large:
            await counter.ask(Counter.grow, 2000)
        assert "KeepOptions(largest=)" in str(large.value)
        with pytest.raises(ConfigurationError, match="Hookless keeps a state that nothing gives back"):
            await (await orc.spawn(Hookless)).ask(Hookless.keep_it)
        assert await counter.ask(Counter.keep_many, 1) == 1


async def test_an_exception_in_the_hook_fails_the_spawn_and_takes_nothing_from_the_state() -> None:
    async with Orchestrator(hosts=1, options=options()) as orc:
        agent = await orc.spawn(FailsToRestore, name="agent", restart=Restart("permanent", limit=2, within=60))
        await agent.ask(FailsToRestore.note)
        with pytest.raises(ThreeModeError, match=r"agent/0.restored raised KeyError: 'hook'"):
            await orc.restart(agent)


async def test_a_snapshot_of_another_version_is_taken_with_its_version_or_refused(tmp_path: Path) -> None:
    keep = options(str(tmp_path / "state.sqlite"))

    async def spawned(kind: type[Agent], do: str) -> object:
        async with Orchestrator(hosts=0, options=keep) as orc:
            return await (await orc.spawn(kind, name="notes")).ask(do)

    class Later(Notes):
        keep_version = 4

    class Strict(Counter):
        keep_version = 4

    assert await spawned(Notes, "note") is None
    assert await spawned(Notes, "restored_with") == ["Tally", 3]
    assert await spawned(Later, "restored_with") == ["dict", 3]
    with pytest.raises(StateNotKept, match=r"notes/0: what was kept is of version 3, and .*Strict.keep_version is 4"):
        await spawned(Strict, "count")
    assert await spawned(Notes, "restored_with") == ["Tally", 3], "it is still there"


async def test_what_an_agent_left_behind_that_was_restarted_keeps_nothing() -> None:
    async with Orchestrator(hosts=1, options=options()) as orc:
        counter = await orc.spawn(Counter, name="counter")
        await counter.ask(Counter.add, 7)
        await counter.ask(Counter.keep_in_background)
        await orc.restart(counter)

        async def told() -> bool:
            return bool(await counter.ask(Counter.late))

        await until(told, SLOW)
        assert "a later incarnation of counter/0 has begun" in (await counter.ask(Counter.late))[0]
        await orc.restart(counter)
        assert await counter.ask(Counter.count) == 7


async def test_of_two_programs_with_one_file_the_later_one_keeps(tmp_path: Path) -> None:
    keep = options(str(tmp_path / "state.sqlite"))
    async with Orchestrator(hosts=1, options=keep) as first, Orchestrator(hosts=1, options=keep) as second:
        one = await first.spawn(Counter, name="counter")
        await one.ask(Counter.add, 1)
        other = await second.spawn(Counter, name="counter")
        with pytest.raises(StateNotKept, match="a later incarnation of counter/0 has begun"):
            await one.ask(Counter.add, 1)
        assert await other.ask(Counter.add, 10) == 11


async def test_512_agents_that_keep_at_once_cost_few_transactions(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    async with Orchestrator(hosts=1, options=options(str(path))) as orc:
        counters = await orc.spawn(Counter, 512, name="counter")
        with closing(sqlite3.connect(path)) as file:
            (before,) = file.execute("SELECT count(DISTINCT kept) FROM place").fetchone()
            done = await counters.gather(Counter.add, 1, within=SLOW)
            assert len(done.values) == 512
            (times,) = file.execute("SELECT count(DISTINCT kept) FROM place").fetchone()
        assert before == 0
        assert times < 100, "each transaction has one time"
        await kill(orc)
        await orc.bus.wait_for(counters.names, within=SLOW)
        found = await counters.gather(Counter.count, within=SLOW)
        assert sorted(set(found.values.values())) == [1]
        assert len(found.values) == 512


def test_a_recording_has_what_came_back_and_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.rec"

    async def run() -> None:
        async with Orchestrator(hosts=1, options=options(record=str(path))) as orc:
            counters: AgentGroup = await orc.spawn(Counter, 2, name="counter")
            await orc.spawn(Parting, name="parting")
            await counters[0].ask(Counter.add, 2)
            await orc.restart(["counter/0", "parting/0"])
            await counters[0].ask(Counter.add, 3)

    asyncio.run(run())
    replayed = replay(path)
    assert replayed.divergence is None
    assert replayed.messages == 2


async def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="keep='nats' is for a cluster"):
        Orchestrator(options=options("nats"))
    with pytest.raises(ConfigurationError, match="keep is the path of a file, 'nats', or KeepOptions, not a int"):
        Orchestrator(options=options(3))
    with pytest.raises(ConfigurationError, match="above 0"):
        Orchestrator(options=options(KeepOptions(largest=0)))

    class Wrong(Agent):
        def restored(self, *, state: Tally) -> None: ...

    async with Orchestrator(hosts=0) as orc:
        with pytest.raises(ConfigurationError, match=r"Wrong\.restored takes other arguments"):
            await orc.spawn(Wrong)
