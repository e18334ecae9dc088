"""The same agents over ZeroMQ, and what a process that falls behind is told."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.agents.agent_cast import Faulty, Lagging, Scout, Slow
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents import OrchestratorOptions
from three_mode.errors import BadResult
from transports.bus import BusOptions


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
async def test_all_verbs_over_each_carrier(carrier: Any) -> None:
    options = OrchestratorOptions(bus=BusOptions(label="orchestrator", carrier=carrier), host_bus={"carrier": carrier})
    async with Orchestrator(hosts=2, options=options) as orc:
        assert orc.bus.carrier == carrier
        scouts = await orc.spawn(Scout, 16, name="scout")
        slow = await orc.spawn(Slow, name="slow")
        assert await scouts[7].ask(Scout.score, "hello") == 5
        assert (await scouts.gather(Scout.score, "hello")).complete
        assert [word async for word in scouts[1].stream(Scout.explain, "a b")] == ["a", "b"]
        assert (await orc.broadcast("news.eu", {}).settled(5.0)).seen == 16
        async with slow.stream(Slow.numbers, 100_000) as numbers:
            assert await anext(numbers) == 0

        async def left() -> bool:
            return "left" in await slow.ask(Slow.said)

        await until(left)


async def test_an_answer_that_is_too_large_to_gather_is_an_error_of_that_agent_alone() -> None:
    options = OrchestratorOptions(host_bus={"payload_limit": 256 * 1024})
    async with Orchestrator(hosts=1, options=options) as orc:
        faulty = await orc.spawn(Faulty, 3, name="faulty")
        for size in (256 * 1024, 1024 * 1024):
            votes = await faulty.gather(Faulty.sized, size)
            assert isinstance(votes.errors["faulty/0"], BadResult)
            assert votes.values == {"faulty/1": b"\0", "faulty/2": b"\0"}
        votes = await faulty.gather(Faulty.sized, 200 * 1024)
        assert votes.complete


async def test_an_agent_is_told_what_its_process_missed() -> None:
    """A ring much smaller than what is published while the host's loop is held up: a gap, counted, told, and shown."""
    options = OrchestratorOptions()
    options = replace(options, bus=replace(options.bus, ring_bytes=64 * 1024))
    async with Orchestrator(hosts=1, options=options) as orc:
        one = await orc.spawn(Lagging, name="lagging")
        await one.tell(Lagging.block, 0.3)
        for number in range(5000):
            orc.broadcast("flood.now", {"number": number, "text": "x" * 100})

        async def told() -> bool:
            heard, missed = await one.ask(Lagging.counts)
            return bool(missed) and heard + missed == 5000

        await until(told)
        report = next(row for row in (await orc.table()).agents if row.name == "lagging/0")
        assert report.gaps > 0
