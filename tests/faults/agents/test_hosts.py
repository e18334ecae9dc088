"""Hosts killed, stopped and orphaned, under load: nobody hangs, every loss is named, and the agents come back."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.agents.agent_cast import Faulty, Late, Once, Scout, Slow, Steady
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents import HostOptions, OrchestratorOptions, Restart
from three_mode.agents.calling.current_bus import bus_here
from three_mode.agents.supervisor.events import AgentGivenUp, HostBack, HostBlocked, HostGivenUp, HostLost
from three_mode.errors import HandlerFailed, ModeUnavailable, PeerLost, ThreeModeError


def fearless(**changes: object) -> OrchestratorOptions:
    """Hosts that come back however often they are killed."""
    return OrchestratorOptions(hosts=HostOptions(restart=Restart("permanent", limit=1000), **changes))  # type: ignore[arg-type]


async def back(orc: Orchestrator, count: int, within: float = 20.0) -> None:
    await until(lambda: sum(isinstance(event, HostBack) for event in orc.events) >= count, within)


async def kill_under_load(kills: int, agents: int) -> Counter[str]:
    """Kills a host again and again while many ask. Every call ends; what it ended in is counted."""
    ends: Counter[str] = Counter()
    async with Orchestrator(hosts=2, options=fearless()) as orc:
        scouts = await orc.spawn(Scout, agents, name="scout")
        over = asyncio.Event()

        async def ask(number: int) -> None:
            while not over.is_set():
                try:
                    assert await scouts[number % agents].ask(Scout.score, "hello", within=10) == 5
                    ends["reply"] += 1
                except ThreeModeError as error:
                    ends[type(error).__name__] += 1
                    await asyncio.sleep(0.01)

        async def gather() -> None:
            while not over.is_set():
                votes = await scouts.gather(Scout.score, "hello", within=10)
                assert len(votes) + len(votes.errors) + len(votes.missing) == agents
                ends.update(f"gather {type(error).__name__}" for error in votes.errors.values())
                assert not votes.missing
                await asyncio.sleep(0.01)

        load = [asyncio.create_task(ask(number)) for number in range(32)] + [asyncio.create_task(gather())]
        for number in range(kills):
            await asyncio.sleep(0.05)
            host = orc._running_supervisor.hosts.running[number % 2]
            assert host.process is not None
            os.kill(host.process.pid, signal.SIGKILL)
            await back(orc, number + 1)
        over.set()
        async with asyncio.timeout(15):
            await asyncio.gather(*load)
        assert (await scouts.gather(Scout.score, "hello", within=10)).complete
        assert sum(isinstance(event, HostLost) for event in orc.events) == kills
        seen = await orc.broadcast("news.all", {}).settled(5)
        assert seen.seen == agents
    return ends


async def test_a_host_is_killed_under_load_and_nobody_hangs() -> None:
    ends = await kill_under_load(kills=4, agents=64)
    assert ends["reply"] > 0
    assert set(ends) <= {"reply", "PeerLost", "gather PeerLost"}
    assert ends["PeerLost"] > 0


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_host_is_killed_fifty_times_under_load() -> None:
    ends = await kill_under_load(kills=50, agents=512)
    assert set(ends) <= {"reply", "PeerLost", "gather PeerLost"}


async def test_waiting_callers_get_peer_lost_at_once_and_streams_end() -> None:
    async with Orchestrator(hosts=2, options=fearless()) as orc:
        slow = await orc.spawn(Slow, 2, name="slow")
        label = orc._running_supervisor.roster.agents["slow/0"].host
        waiting = asyncio.create_task(slow[0].ask(Slow.wait, 60.0, within=60))
        stream = slow[0].stream(Slow.numbers, 100)
        other = asyncio.create_task(slow[1].ask(Slow.wait, 0.5))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        process = orc._running_supervisor.hosts.all[label].process
        assert process is not None
        process.kill()
        with pytest.raises(PeerLost, match=r"slow/0\.wait.*host-"):
            await waiting
        assert time.monotonic() - begun < 1.0
        with pytest.raises(PeerLost):
            _ = [part async for part in stream]
        assert await other == "done"
        await back(orc, 1)
        assert await slow[0].ask(Slow.wait, 0.0) == "done"
        event = next(event for event in orc.events if isinstance(event, HostLost))
        assert (event.host, event.reason, event.agents) == (label, "killed by SIGKILL", 1)


async def test_an_idempotent_call_is_made_again_when_its_agent_is_back() -> None:
    async with Orchestrator(hosts=1, options=fearless()) as orc:
        steady = await orc.spawn(Steady, name="steady")
        waiting = asyncio.create_task(steady.ask(Steady.square, 7, 0.2, within=20))
        hurried = asyncio.create_task(steady.ask(Steady.square, 7, 60.0, within=0.15))
        await asyncio.sleep(0.05)
        process = orc._running_supervisor.hosts.all["host-1"].process
        assert process is not None
        process.kill()
        assert await waiting == 49
        with pytest.raises(PeerLost):  # no time was left to do it again
            await hurried


async def test_a_receipt_counts_the_dead() -> None:
    async with Orchestrator(hosts=2, options=fearless()) as orc:
        await orc.spawn(Scout, 20, name="scout")
        host = orc._running_supervisor.hosts.running[0]
        assert host.process is not None
        os.kill(host.process.pid, signal.SIGSTOP)
        receipt = orc.broadcast("news.eu", {"id": 1})
        early = await receipt.settled(0.2)
        assert (early.seen, early.lagging, early.lagging_hosts) == (10, 10, (host.label,))
        host.process.kill()
        await back(orc, 1)
        late = await receipt.settled(2.0)
        assert late.dead == 10
        assert not late.complete


async def test_a_host_that_comes_back_too_often_is_given_up_and_its_agents_go_elsewhere() -> None:
    options = OrchestratorOptions(hosts=HostOptions(restart=Restart("permanent", limit=1, within=60)))
    async with Orchestrator(hosts=2, options=options) as orc:
        scouts = await orc.spawn(Scout, 8, name="scout")
        loner = await orc.spawn(Faulty, 8, name="loner", restart="temporary")
        for count in (1, 2):
            host = orc._running_supervisor.hosts.all["host-1"]
            assert host.process is not None
            host.process.kill()
            if count == 1:
                await back(orc, 1)
        await until(lambda: any(isinstance(event, HostGivenUp) for event in orc.events))
        await orc.bus.wait_for(scouts.names, within=10)
        assert (await scouts.gather(Scout.score, "x")).complete
        assert {one.host for one in (await orc.table()).agents if one.name.startswith("scout")} == {"host-2"}
        given_up = {event.agent for event in orc.events if isinstance(event, AgentGivenUp)}
        assert len(given_up) == 4  # temporary: they stay away, and it is said
        assert given_up < set(loner.names)


@pytest.mark.parametrize("strategy", ["permanent", "transient", "temporary"])
async def test_a_killed_host_comes_back_or_not_as_its_strategy_says(strategy: str) -> None:
    options = OrchestratorOptions(hosts=HostOptions(restart=Restart(strategy)))
    async with Orchestrator(hosts=2, options=options) as orc:
        scouts = await orc.spawn(Scout, 8, name="scout")
        process = orc._running_supervisor.hosts.all["host-1"].process
        assert process is not None
        process.kill()
        await until(lambda: any(isinstance(event, HostBack | HostGivenUp) for event in orc.events))
        await orc.bus.wait_for(scouts.names, within=10)
        assert (await scouts.gather(Scout.score, "x", within=10)).complete
        where = {one.host for one in (await orc.table()).agents}
        assert where == ({"host-2"} if strategy == "temporary" else {"host-1", "host-2"})


async def test_a_listener_that_fails_hinders_nobody_from_coming_back() -> None:
    def fails(event: object) -> None:
        raise ZeroDivisionError(event)

    async with Orchestrator(hosts=1, options=fearless()) as orc:
        orc.on_event(fails)
        faulty = await orc.spawn(Faulty, name="faulty", restart=Restart(on_error=True))
        with pytest.raises(HandlerFailed):
            await faulty.ask(Faulty.boom, "x")
        assert await faulty.ask(Faulty.bump) == 1
        process = orc._running_supervisor.hosts.all["host-1"].process
        assert process is not None
        process.kill()
        await back(orc, 1)
        assert await faulty.ask(Faulty.bump) == 1


async def test_an_agent_whose_host_ends_while_it_is_made_anew_comes_back_with_it() -> None:
    async with Orchestrator(hosts=1, options=fearless()) as orc:
        one = await orc.spawn(Late, name="late", seconds=0.4, restart=Restart(on_error=True, limit=2))
        with pytest.raises(HandlerFailed):
            await one.ask(Late.boom)
        await until(lambda: orc._running_supervisor.roster.agents["late/0"].state == "restarting")
        process = orc._running_supervisor.hosts.all["host-1"].process
        assert process is not None
        process.kill()
        await back(orc, 1)
        assert await one.ask(Late.hello)
        assert not [event for event in orc.events if isinstance(event, AgentGivenUp)]


async def test_a_spawn_waits_for_the_only_host_to_come_back() -> None:
    async with Orchestrator(hosts=1, options=fearless()) as orc:
        spawning = asyncio.create_task(orc.spawn(Late, name="late", seconds=0.4))
        await until(lambda: "late/0" in orc._running_supervisor.roster.agents)
        process = orc._running_supervisor.hosts.all["host-1"].process
        assert process is not None
        process.kill()
        assert await (await spawning).ask(Late.hello)


async def test_a_spawn_that_fails_at_a_silent_host_leaves_nothing_at_the_others() -> None:
    async with Orchestrator(hosts=2, options=fearless()) as orc:
        silent = orc._running_supervisor.hosts.all["host-1"].process
        assert silent is not None
        os.kill(silent.pid, signal.SIGSTOP)
        with pytest.raises(ThreeModeError):
            await orc.spawn(Scout, 2, name="half", within=0.3)
        await until(lambda: not [name for name in orc.bus.names() if name.startswith("half/")])
        silent.kill()


async def test_an_agent_that_is_stopped_before_it_could_be_brought_back_stays_away(tmp_path: Path) -> None:
    async with Orchestrator(hosts=1, options=fearless()) as orc:
        born = tmp_path / "born"
        one = await orc.spawn(Once, name="once", path=born, restart=Restart(limit=100, wait=0.3))
        process = orc._running_supervisor.hosts.all["host-1"].process
        assert process is not None
        process.kill()
        await back(orc, 1)
        await until(
            lambda: orc._running_supervisor.roster.agents["once/0"].history.total >= 2
        )  # it cannot be made, and waits
        await orc.stop(one)
        born.unlink()
        await asyncio.sleep(0.6)  # it would have been made by now
        assert not born.exists()


async def test_a_model_that_cannot_be_loaded_leaves_no_host() -> None:
    async with Orchestrator(hosts=1, options=fearless()) as orc:
        with pytest.raises(ThreeModeError, match="no-such"):
            await orc.model("gguf:/no-such.gguf", name="brain")
        assert [host.label for host in (await orc.table()).hosts] == ["host-1"]
        assert not [event for event in orc.events if isinstance(event, HostLost)]


async def test_an_end_that_is_cancelled_is_an_end() -> None:
    orc = Orchestrator(hosts=1)
    await orc.__aenter__()
    one = await orc.spawn(Faulty, name="faulty")
    process = orc._running_supervisor.hosts.all["host-1"].process
    assert process is not None
    asked = asyncio.create_task(one.ask(Faulty.stubborn))
    await asyncio.sleep(0.1)
    ending = asyncio.create_task(orc.aclose())
    await asyncio.sleep(0.2)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    with pytest.raises(ThreeModeError):
        await asked
    with pytest.raises(ModeUnavailable, match="no bus here"):
        bus_here()
    await process.gone(5.0)
    assert not alive(process.pid)


async def test_a_host_that_says_nothing_is_named() -> None:
    async with Orchestrator(hosts=1, options=fearless(silent_after=0.8, kill_blocked_after=2.0)) as orc:
        scout = await orc.spawn(Scout, name="scout")
        host = orc._running_supervisor.hosts.all["host-1"]
        assert host.process is not None
        os.kill(host.process.pid, signal.SIGSTOP)
        with pytest.raises(PeerLost):
            await scout.ask(Scout.score, "x", within=15)
        assert any(isinstance(event, HostBlocked) and event.host == "host-1" for event in orc.events)
        await back(orc, 1)
        assert await scout.ask(Scout.score, "x") == 1


async def test_a_handler_that_ends_its_process_is_peer_lost() -> None:
    async with Orchestrator(hosts=1, options=fearless()) as orc:
        one = await orc.spawn(Faulty, name="faulty")
        with pytest.raises(PeerLost):
            await one.ask(Faulty.die)
        await back(orc, 1)
        assert await one.ask(Faulty.bump) == 1
        lost = next(event for event in orc.events if isinstance(event, HostLost))
        assert lost.reason == "exited with code 7"


SCRIPT = """
import asyncio, sys, time
from three_mode import Agent, Orchestrator, handler

class Here(Agent):
    @handler
    async def hello(self) -> str: return self.name
    @handler
    def block(self) -> None: time.sleep(60)

async def main():
    async with Orchestrator(hosts=2) as orc:
        group = await orc.spawn(Here, 4, name="here")
        print(await group[3].ask(Here.hello), flush=True)
        print(*(host.process.pid for host in orc._running_supervisor.hosts.running), flush=True)
        if "block" in sys.argv: group[0].tell(Here.block)
        if "end" not in sys.argv: await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("how", ["", "block"])
def test_when_the_orchestrator_is_killed_its_hosts_end_within_a_second(tmp_path: Path, how: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script, how], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "here/3\n"  # a class from __main__ works
        pids = [int(word) for word in running.stdout.readline().split()]
        time.sleep(0.3)
        assert all(map(alive, pids))
        running.kill()
        running.wait()
    ends = time.monotonic() + 1.0
    while any(map(alive, pids)) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not any(map(alive, pids))


WATCHED = """
import asyncio, socket, time
from three_mode.agents.host.watchdog import Watchdog

async def main():
    ours, theirs = socket.socketpair()
    theirs.send(b"not read by anybody")
    Watchdog(theirs.fileno(), asyncio.get_running_loop(), 1.0, print).start()
    ours.close()
    time.sleep(5)

asyncio.run(main())
"""


def test_a_blocked_host_ends_also_if_its_orchestrator_died_with_words_unread() -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (3, "")


def test_a_program_that_ends_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, "-W", "error", script, "end"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert not any(alive(int(word)) for word in done.stdout.splitlines()[1].split())
