"""Events of the calls that agents make with `self.llm` reach the orchestrator, with the agent's name."""

import asyncio
import os
import signal
from typing import Any

import pytest

from tests.support.agents.until import until
from three_mode import Agent, LLMRequest, Orchestrator, handler, sync
from three_mode.errors import ConfigurationError
from three_mode.events import EventReader, LLMEvent, ResponseComplete, ResponseStart
from three_mode.tools import Tools

KINDS = ["response_start", "response_complete", "tool_result", "function_calls"]


def weather(city: str) -> str:
    """The weather now."""
    return "rain"


class Asker(Agent):
    """Asks a small model, in a task or at once."""

    @handler(concurrent=8)
    async def ask(self, text: str) -> str:
        return await self.llm.ask(text, model="tiny", max_tokens=4)

    @handler
    async def run(self) -> str:
        messages = [{"role": "user", "content": "What is the weather in oslo?"}]
        request = LLMRequest(model="tiny", messages=messages, temperature=0)
        return (await self.llm.run(request, Tools([weather]), tool_choice="required")).content

    @handler
    async def listened_to(self) -> bool:
        return bool(self.llm.event_hub.wanted)


async def next_of(events: EventReader, kind: type[LLMEvent]) -> Any:
    async with asyncio.timeout(30):
        while True:
            event = await anext(events)
            if isinstance(event, kind):
                return event


@pytest.mark.parametrize("hosts", [0, 2])
async def test_calls_of_agents_are_told_while_somebody_listens(hosts: int) -> None:
    async with Orchestrator(hosts=hosts) as orc:
        askers = await orc.spawn(Asker, 2, name="asker")
        async with orc.llm_events(KINDS) as events:
            await askers[1].ask(Asker.ask, "Hello", within=30)
            start, end = await next_of(events, ResponseStart), await next_of(events, ResponseComplete)
            assert (start.agent, end.agent, start.model) == ("asker/1", "asker/1", "tiny")
            assert start.request_id == end.request_id
            await askers[0].ask(Asker.run, within=60)
            told = [await anext(events) for _ in range(6)]
            assert {event.agent for event in told} == {"asker/0"}
            assert "tool_result" in {event.kind for event in told}
            assert await askers[0].ask(Asker.listened_to)
        async with asyncio.timeout(15):
            while await askers[0].ask(Asker.listened_to):  # noqa: ASYNC110  (the host hears of it in a while)
                await asyncio.sleep(0.1)


async def test_a_host_that_was_restarted_sends_them_again() -> None:
    async with Orchestrator(hosts=1) as orc:
        asker = await orc.spawn(Asker, name="asker", restart="permanent")
        async with orc.llm_events(["response_complete"]) as events:
            (host,) = (await orc.table()).hosts
            os.kill(host.pid, signal.SIGKILL)
            await until(lambda: any(type(event).__name__ == "HostBack" for event in orc.events))
            await asker.ask(Asker.ask, "Hello", within=30)
            assert (await next_of(events, ResponseComplete)).agent == "asker/0"


async def test_readers_end_with_the_orchestrator_and_unknown_kinds_are_errors() -> None:
    async with Orchestrator(hosts=1) as orc:
        with pytest.raises(ConfigurationError, match="no kind of event 'calls'"):
            orc.llm_events(["calls"])
        events = orc.llm_events()
        reading = asyncio.create_task(anext(events, None))
        await asyncio.sleep(0)
    assert await asyncio.wait_for(reading, 5) is None
    with pytest.raises(ConfigurationError, match="not running"):
        orc.llm_events()


def test_without_a_loop() -> None:
    with sync.Orchestrator(hosts=1) as orc:
        asker = orc.spawn(Asker, name="asker")
        with orc.llm_events(["response_complete"]) as events:
            asker.ask(Asker.ask, "Hello", within=30)
            event = events.next(within=20)
            assert event is not None
            assert event.agent == "asker/0"
