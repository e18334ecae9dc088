"""`Orchestrator(hosts=0)`: agents in this process and its event loop, with the same verbs, errors and restarts."""

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.agents.agent_cast import Scout
from tests.support.agents.until import until
from three_mode import Agent, handler, on
from three_mode.agents import AgentRef, AgentRestarted, Orchestrator, OrchestratorOptions, Restart, join, replay
from three_mode.errors import (
    BadCall,
    CallCycle,
    ConfigurationError,
    DeadlineExceeded,
    HandlerFailed,
    NoSuchAgent,
    Overloaded,
    PeerLost,
)


@pytest_asyncio.fixture
async def orc() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=0) as running:
        yield running


async def test_the_verbs_are_the_same(orc: Orchestrator) -> None:
    scouts = await orc.spawn(Scout, 20, name="scout", bias=0.5)
    assert await scouts[7].ask(Scout.score, "hello", within=2.0) == 5.5
    assert await scouts[7].ask(Scout.pid) == os.getpid()
    assert [part async for part in scouts[3].stream(Scout.explain, "so it is")] == ["so", "it", "is"]
    await scouts[7].tell(Scout.read, {"id": 2})
    seen = await (await orc.broadcast("news.eu", {"id": 1})).settled(within=5.0)
    assert (seen.seen, seen.complete) == (20, True)
    votes = await scouts.gather(Scout.count)
    assert votes.complete
    assert votes.values["scout/7"] == 2
    assert await orc.any("scout").ask(Scout.plain, "x")
    table = await orc.table()
    assert [(host.label, host.pid, host.agents) for host in table.hosts] == [("host-0", os.getpid(), 20)]
    await orc.stop(scouts[3])
    with pytest.raises((NoSuchAgent, PeerLost)):
        await scouts[3].ask(Scout.count)


async def test_classes_made_anywhere_will_do(orc: Orchestrator) -> None:
    class Local(Agent):
        def __init__(self, start: int) -> None:
            self.value = start

        @handler
        def add(self, more: int) -> int:
            self.value += more
            return self.value

        @handler
        def fail(self) -> None:
            raise LookupError("lost")

    local = await orc.spawn(Local, start=3)
    assert await local.ask(Local.add, 4) == 7
    with pytest.raises(HandlerFailed, match="LookupError: lost"):
        await local.ask(Local.fail)
    with pytest.raises(BadCall, match="expected int, got str"):
        await local.ask(Local.add, "4")  # type: ignore[call-overload]
    await orc.restart(local)
    assert await local.ask(Local.add, 0) == 3


async def test_errors_are_the_same(orc: Orchestrator) -> None:
    class Slow(Agent):
        mailbox = 1

        @handler
        async def wait(self) -> None:
            await asyncio.sleep(30)

        @handler
        async def through(self, other: AgentRef) -> None:
            await other.ask("back", self.ref(self.name))

        @handler
        async def back(self, other: AgentRef) -> None:
            await other.ask("wait")

    slow = await orc.spawn(Slow, 2)
    with pytest.raises(DeadlineExceeded):
        await slow[0].ask(Slow.wait, within=0.05)
    with pytest.raises(CallCycle):
        await slow[0].ask(Slow.through, slow[1])
    asks = [asyncio.ensure_future(slow[1].ask(Slow.wait)) for _ in range(3)]
    await asyncio.wait(asks, return_when=asyncio.FIRST_COMPLETED)
    assert sum(isinstance(ask.exception(), Overloaded) for ask in asks if ask.done()) == 1
    await orc.stop(slow)
    answers = await asyncio.gather(*asks, return_exceptions=True)
    assert sum(isinstance(answer, PeerLost) for answer in answers) == 2


async def test_what_no_caller_sees_is_logged_and_counted(orc: Orchestrator, caplog: pytest.LogCaptureFixture) -> None:
    class Deaf(Agent):
        @on("news")
        def hear(self, item: Any) -> None:
            raise LookupError("no ears")

    await orc.spawn(Deaf, 2)
    seen = await (await orc.broadcast("news", 1)).settled(5.0)
    assert (seen.seen, seen.failed) == (2, 2)
    await until(lambda: any("no ears" in str(event) for event in orc.events))
    assert [record.levelname for record in caplog.records if "no ears" in record.getMessage()] == ["ERROR"] * 2


async def test_a_failed_agent_is_restarted_by_its_policy(orc: Orchestrator) -> None:
    class Frail(Agent):
        def __init__(self) -> None:
            self.calls = 0

        @handler
        def call(self) -> int:
            self.calls += 1
            if self.calls == 2:
                raise ValueError("enough")
            return self.calls

    frail = await orc.spawn(Frail, restart=Restart(on_error=True))
    assert await frail.ask(Frail.call) == 1
    with pytest.raises(HandlerFailed):
        await frail.ask(Frail.call)
    await until(lambda: any(isinstance(event, AgentRestarted) for event in orc.events))
    assert await frail.ask(Frail.call) == 1


async def test_agents_stop_in_order_at_the_end_and_nothing_is_left() -> None:
    ended: list[str] = []

    class Tidy(Agent):
        @on("any.*")
        def hear(self, item: Any) -> None: ...

        async def stopped(self) -> None:
            ended.append(self.name)

    before = asyncio.all_tasks()
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Tidy, 3)
    assert ended == ["tidy/0", "tidy/1", "tidy/2"]
    assert asyncio.all_tasks() == before
    with pytest.raises(ConfigurationError, match="not running"):
        await orc.spawn(Tidy)


async def test_others_join_and_call_the_agents(orc: Orchestrator) -> None:
    await orc.spawn(Scout, 2, name="scout")
    async with join(orc.name) as outside:
        assert await outside.ref("scout/1").ask("score", "abc") == 3.0
        assert (await (await outside.broadcast("news.x", {})).settled(5.0)).seen == 2


async def test_two_orchestrators_live_in_one_loop(orc: Orchestrator) -> None:
    async with Orchestrator(hosts=0) as other:
        here, there = await orc.spawn(Scout, name="a"), await other.spawn(Scout, name="a")
        assert await here.ask(Scout.score, "ab") == await there.ask(Scout.score, "ab") == 2.0


async def test_a_run_is_recorded_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "run.rec"
    async with Orchestrator(hosts=0, options=OrchestratorOptions(record=str(path))) as orc:
        scouts = await orc.spawn(Scout, 2, name="scout")
        assert await scouts[0].ask(Scout.score, "hello") == 5.0
    replayed = await asyncio.to_thread(replay, path)
    assert replayed.divergence is None
    assert replayed.messages == 1


_PROMPT = """
    import asyncio
    from three_mode import Agent, Orchestrator, handler
    class Adder(Agent):
        @handler
        def add(self, a: int, b: int) -> int:
            return a + b

    async def main():
        async with Orchestrator(hosts=0) as orc:
            adder = await orc.spawn(Adder)
            return await adder.ask(Adder.add, 2, 3)

    print("sum", asyncio.run(main()))
"""


@pytest.mark.parametrize("how", ["-c", "prompt"])
def test_classes_typed_at_a_prompt_or_given_with_c(how: str) -> None:
    code = textwrap.dedent(_PROMPT)
    command = [sys.executable, "-c", code] if how == "-c" else [sys.executable, "-i", "-q"]
    ran = subprocess.run(command, input=code, capture_output=True, text=True, timeout=60, check=False)
    assert "sum 5" in ran.stdout, ran.stderr


class Shop(Agent):
    """Its argument has the name of the first parameter of `spawn`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @handler
    def sells(self) -> str:
        return self.kind


async def test_an_argument_may_have_the_name_of_a_parameter_of_spawn() -> None:
    async with Orchestrator(hosts=0) as orc:
        assert await (await orc.spawn(Shop, kind="books")).ask(Shop.sells) == "books"


async def test_a_dead_letter_is_listed_once(orc: Orchestrator) -> None:
    await orc.spawn(Scout, name="scout")
    orc.ref("scout").tell("fly", 5)

    async def in_letters() -> bool:
        return bool(await orc.dead_letters())

    await until(in_letters)
    assert [letter.handler for letter in await orc.dead_letters()] == ["fly"]
