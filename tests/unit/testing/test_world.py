"""What a world promises to the tests of a program: the same run for a seed, virtual time, faults, and how failures are
told."""

import asyncio
import gc
import os
import random
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from three_mode import Agent, CommunicationMode, LLMRequest, handler
from three_mode.agents import HostLost, OrchestratorOptions, join
from three_mode.agents.supervisor.hosts import HostOptions
from three_mode.errors import PeerLost, ThreeModeError
from three_mode.testing import (
    InvariantBroken,
    KillProcess,
    LoseFrames,
    PartNodes,
    SlowLinks,
    StopProcess,
    Turn,
    World,
    WorldFaults,
    WorldOptions,
    WorldStuck,
)

ROOT = Path(__file__).resolve().parents[3]


class Echo(Agent):
    @handler
    async def say(self, text: str, seconds: float = 0.0) -> str:
        await asyncio.sleep(seconds)
        return f"{self.name}: {text}"

    @handler
    def block(self, seconds: float) -> None:
        time.sleep(seconds)

    @handler
    def end_process(self) -> None:
        os._exit(5)

    @handler
    async def ask_model(self, text: str) -> str:
        request = LLMRequest(
            model="agent:brain", messages=[{"role": "user", "content": text}], mode=CommunicationMode.AI_AI
        )
        return (await self.llm.chat_completion(request)).content


async def talks(world: World) -> list[str]:
    """Program with some calls, some of which fail."""
    echoes, heard = await world.orchestrator.spawn(Echo, 4), []
    for number in range(12):
        try:
            heard.append(await echoes[number % 4].ask(Echo.say, f"{number} {random.random()}", within=1.0))
        except ThreeModeError as error:
            heard.append(type(error).__name__)
        await asyncio.sleep(0.1)
    return [*heard, str(uuid.uuid4()), str(time.time()), str(os.getpid())]


def test_the_same_seed_is_the_same_run_to_the_byte_and_another_seed_another() -> None:
    runs = [(world := World(seed, faults=WorldFaults())).run(talks) and world for seed in (3, 3, 4)]
    digests = [world.digest for world in runs]
    assert digests[0] == digests[1] != digests[2]
    assert runs[0].trace == runs[1].trace
    assert runs[0].run(talks) == runs[1].run(talks)


def test_a_run_is_the_same_in_another_process_whatever_its_hashes_are() -> None:
    code = (
        "from tests.unit.testing.test_world import *; world = World(3, faults=WorldFaults()); world.run(talks);"
        "print(world.digest)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
        for seed in ("0", "1")
    }
    (world := World(3, faults=WorldFaults())).run(talks)
    assert said == {f"{world.digest}\n"}


def test_an_hour_passes_in_a_moment() -> None:
    async def waits(world: World) -> tuple[float, float]:
        echo = await world.orchestrator.spawn(Echo)
        began, at = time.monotonic(), time.time()
        await echo.ask(Echo.say, "at last", 3600.0, within=4000.0)
        return time.monotonic() - began, time.time() - at

    real = time.perf_counter()
    passed = World(options=WorldOptions(longest=7200.0)).run(waits)
    assert passed == (pytest.approx(3600.0, abs=1.0), pytest.approx(3600.0, abs=1.0))
    assert time.perf_counter() - real < 3600.0  # and this clock is the real one again


def test_a_host_that_is_killed_comes_back_with_its_agents() -> None:
    async def survives(world: World) -> Any:
        echoes = await world.orchestrator.spawn(Echo, 2)
        world.happen(KillProcess(0.05, "host-1"))
        lost = 0
        for _ in range(40):
            try:
                await echoes.gather(Echo.say, "there?", 0.02, within=1.0)
                await echoes[0].ask(Echo.say, "there?", 0.02, within=1.0)
            except PeerLost:
                lost += 1
            await asyncio.sleep(0.05)
        assert await echoes[0].ask(Echo.say, "there?") == "echo/0: there?"
        return lost, [event for event in world.orchestrator.events if isinstance(event, HostLost)]

    lost, events = World().run(survives)
    assert lost
    assert [event.reason for event in events] == ["killed by SIGKILL"]


def test_a_failure_says_how_to_repeat_it_with_as_few_faults_as_it_takes() -> None:
    async def expects_too_much(world: World) -> None:
        echoes = await world.orchestrator.spawn(Echo, 2)
        for _ in range(30):
            await echoes[0].ask(Echo.say, "hello", within=1.0)
            await echoes[1].ask(Echo.say, "hello", within=1.0)
            await asyncio.sleep(0.05)

    kill = KillProcess(0.4, "host-2")
    others = [SlowLinks(0.1, 0.3, 3.0), LoseFrames(0.2, 0.5, 0.2), StopProcess(0.6, "host-1", 0.2)]
    world = World(7, faults=[*others, kill])
    with pytest.raises(PeerLost) as caught:
        world.run(expects_too_much)
    note = caught.value.__notes__[-1]
    assert note == f"seed 7; to repeat it: World(seed=7, hosts=2, faults=[{kill!r}]).run(main)"
    again = eval(re.search(r"World\(.*\)(?=\.run)", note)[0])  # type: ignore[index]  # our own line
    with pytest.raises(PeerLost):
        again.run(expects_too_much)
    assert again.played == (kill,)


def test_exploring_finds_the_seed_that_fails() -> None:
    async def unlucky(world: World) -> None:
        await asyncio.sleep(random.random())
        assert world.seed != 12 or not world.now, "unlucky"

    explored = World(0, hosts=None).explore(unlucky, seeds=10)
    assert (explored.seeds, explored.seconds > 0.0) == (10, True)
    with pytest.raises(AssertionError, match="unlucky") as caught:
        World(0, hosts=None).explore(unlucky, seeds=20)
    assert caught.value.__notes__[-1].startswith("seed 12; to repeat it: World(seed=12, hosts=None)")


def test_an_invariant_is_looked_at_all_the_time() -> None:
    async def passes_five(world: World) -> None:
        world.check(lambda: world.now < 5.0)
        await asyncio.sleep(60.0)

    world = World(hosts=0)
    with pytest.raises(InvariantBroken, match="does not hold"):
        world.run(passes_five)
    assert world.seconds < 5.5


def test_a_wait_without_an_end_is_an_error_that_says_where() -> None:
    async def waits(world: World) -> None:
        await world.orchestrator.spawn(Echo)
        await asyncio.Event().wait()

    with pytest.raises(WorldStuck, match=r"(?s)has not ended after 60 s.*node-1: .*waits at .*test_world\.py"):
        World(options=WorldOptions(longest=60.0)).run(waits)


def test_code_that_sleeps_or_exits_does_so_to_its_process_alone() -> None:
    async def disturbs(world: World) -> list[str]:
        echoes = await world.orchestrator.spawn(Echo, 2)
        blocked = echoes[0].tell(Echo.block, 3.0)
        began = time.monotonic()
        await echoes[1].ask(Echo.say, "I am free", within=0.5)
        assert time.monotonic() - began < 0.5
        await blocked
        await asyncio.sleep(4.0)
        with pytest.raises(PeerLost):
            await echoes[0].ask(Echo.end_process, within=2.0)
        return [str(event) for event in world.orchestrator.events]

    options = OrchestratorOptions(hosts=HostOptions(blocked_after=1.0))
    events = World(options=WorldOptions(orchestrator=options)).run(disturbs)
    assert any("echo/0" in event and "block" in event for event in events), events
    assert any("exited with code 5" in event for event in events), events


def test_a_scripted_model_answers_agents_and_sees_what_they_ask() -> None:
    async def asks(world: World) -> tuple[str, str, str]:
        await world.model("brain", [Turn(text=("first",)), Turn(text=("and ", "further"))], seconds=2.0)
        echo = await world.orchestrator.spawn(Echo)
        began = time.monotonic()
        answers = [await echo.ask(Echo.ask_model, "hello") for _ in range(3)]
        assert time.monotonic() - began == pytest.approx(6.0, abs=0.5)
        return tuple(answers)

    assert World().run(asks) == ("first", "and further", "and further")


def test_a_program_of_its_own_joins_and_is_killed() -> None:
    async def visitor(world: World) -> None:
        async with join(world.options.name) as joined:
            while True:
                await joined.ref("echo/0").ask(Echo.say, "from outside")
                await asyncio.sleep(0.1)

    async def invites(world: World) -> None:
        await world.orchestrator.spawn(Echo)
        process = world.start(visitor, "visitor")
        await asyncio.sleep(1.0)
        assert len(world.orchestrator.bus.members()) == 4
        world.happen(KillProcess(0.0, "visitor"))
        await asyncio.sleep(1.0)
        assert (process.alive, len(world.orchestrator.bus.members())) == (False, 3)

    World().run(invites)


def test_nodes_call_each_other_and_one_that_dies_is_replaced() -> None:
    async def spans_nodes(world: World) -> list[str]:
        echoes = await world.orchestrator.spawn(Echo, 4, restart="permanent")
        assert (await echoes.gather(Echo.say, "there?", within=2.0)).complete
        world.happen(PartNodes(0.0, "node-1", "node-2", 0.5))
        world.happen(KillProcess(1.0, "node-2"))
        await asyncio.sleep(8.0)
        answers = await echoes.gather(Echo.say, "here", within=2.0)
        nodes = {node.name: node.state for node in world.orchestrator.nodes()}
        return [*sorted(answers), nodes["node-2"]]

    options = WorldOptions(allow=("tests",))
    world = World(3, hosts=1, nodes=2, options=options)
    asyncio.set_event_loop(None)  # what ends with the world makes tasks of its own loops, or coroutines are left over
    assert world.run(spans_nodes) == [*(f"echo/{number}: here" for number in range(4)), "lost"]
    gc.collect()
    assert repr(world) == "World(seed=3, hosts=1, nodes=2)"


def test_the_network_of_this_machine_is_refused() -> None:
    async def connects(world: World) -> None:
        await asyncio.open_connection("127.0.0.1", 1)

    with pytest.raises(ConnectionError, match=r"world\.model"):
        World(hosts=0).run(connects)


def test_an_error_of_the_program_comes_as_it_is() -> None:
    async def fails(world: World) -> None:
        raise LookupError("as it is")

    with pytest.raises(LookupError, match="as it is") as caught:
        World(5, hosts=0).run(fails)
    assert caught.value.__notes__ == ["seed 5; to repeat it: World(seed=5, hosts=0).run(main)"]


SUITE = """
import asyncio
import urllib.request
import pytest
from three_mode.testing import WorldFaults

SEEDS = []

@pytest.mark.world(hosts=0)
def test_in_a_world(world):
    async def main(world):
        await asyncio.sleep(1.0)
        return world.seed
    SEEDS.append(world.run(main))

def test_all_seeds_were_run():
    assert SEEDS == [40, 41, 42]

def test_the_provider_answers(scripted_provider):
    body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
    request = urllib.request.Request(f"{scripted_provider.url}/v1/chat/completions", body)
    with urllib.request.urlopen(request) as reply:
        assert b"Hello world!" in reply.read()
    assert scripted_provider.seen[0].json["model"] == "m"
"""


def test_the_fixtures_give_worlds_and_a_provider(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["three_mode.testing.fixtures"]\n')
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--world-seed", "40", "--world-seeds", "3", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
