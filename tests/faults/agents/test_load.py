"""Many messages between many agents: none lost, none doubled, and memory that stays flat."""

import asyncio
import os
import time

import pytest

from tests.support.agents.agent_cast import Keeper, Publisher, Scout, Slow
from three_mode import Orchestrator

PUBLISHERS = 8


async def flow(keepers: int, each: int) -> None:
    """Publishers broadcast numbers to keepers, RELIABLE; every keeper must have each number exactly once."""
    async with Orchestrator(hosts=2) as orc:
        kept = await orc.spawn(Keeper, keepers, name="keeper")
        publishers = await orc.spawn(Publisher, PUBLISHERS, name="publisher")
        await asyncio.gather(
            *(one.ask(Publisher.publish, number * each, each, within=600) for number, one in enumerate(publishers))
        )
        assert (await orc.broadcast("flow.end", -1).settled(30)).seen == keepers
        total = PUBLISHERS * each
        wanted = (total + 1, total + 1, sum(range(total)) - 1)
        sums = await kept.gather(Keeper.sums, within=60)
        assert sums.complete
        assert set(sums.values.values()) == {wanted}
        table = await orc.table()
        assert sum(agent.gaps for agent in table.agents) == 0
        assert not await orc.dead_letters()


async def test_no_message_is_lost_or_doubled() -> None:
    await flow(keepers=120, each=100)


@pytest.mark.soak
async def test_a_million_messages_between_512_agents_and_none_is_lost_or_doubled() -> None:
    await flow(keepers=504, each=250)


@pytest.mark.soak
async def test_ten_thousand_agents_spawn_hear_and_answer() -> None:
    async with Orchestrator(hosts=2) as orc:
        scouts = await orc.spawn(Scout, 10_000, name="scout", within=60)
        assert (await scouts.gather(Scout.score, "x", within=30)).complete
        assert (await orc.broadcast("news.all", {}).settled(10)).seen == 10_000
        assert (await scouts.gather(Scout.count, within=30)).complete


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_memory_stays_flat_under_load() -> None:
    """Ten minutes of every verb; THREE_MODE_SOAK_SECONDS says otherwise."""
    seconds = float(os.environ.get("THREE_MODE_SOAK_SECONDS", "600"))
    async with Orchestrator(hosts=2) as orc:
        scouts = await orc.spawn(Scout, 512, name="scout")
        slow = await orc.spawn(Slow, 8, name="slow")
        began = time.monotonic()
        said, early, rounds = began, 0, 0
        while (now := time.monotonic()) < began + seconds:
            rounds += 1
            if now - said > seconds / 20:
                said = now
                memory = await resident(orc)
                print(  # noqa: T201  # a long run says how far it is
                    f"{now - began:5.0f} s  {rounds:6} rounds  {memory / 1e6:7.1f} MB", flush=True
                )
                if not early and now - began > 0.25 * seconds:
                    early = memory
            await asyncio.gather(*(scouts[number].ask(Scout.score, "hello") for number in range(0, 512, 8)))
            assert (await scouts.gather(Scout.score, "hello")).complete
            await orc.broadcast("news.eu", {"id": 1}).settled(5)
            await asyncio.gather(*(one.ask(Slow.wait, 0.001) for one in slow))
            async for number in slow[0].stream(Slow.numbers, 100):
                if number == 50:
                    break
            for one in slow:
                await orc.restart(one)
            orc.ref("nobody/1").tell("x")
        late = await resident(orc)
        assert early
        assert late < 1.1 * early, f"{early / 1e6:.1f} MB became {late / 1e6:.1f} MB"


async def resident(orc: Orchestrator) -> int:
    import psutil

    hosts = sum(host.memory for host in (await orc.table(10)).hosts)
    return int(hosts + psutil.Process().memory_info().rss)
