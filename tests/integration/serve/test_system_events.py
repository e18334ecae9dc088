"""What happens to providers, hosts and agents is told to whoever reads `/events`."""

import asyncio
import json
import os
import signal
from typing import Any

import pytest
import websockets

from tests.support.agents.until import until
from tests.support.providers.servers import several
from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, LLMRequest, Orchestrator, handler
from three_mode.errors import ServerError
from three_mode.policies import BreakerOptions, Policies, RetryOptions
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.serve.events import PROVIDER_STATUS_CHANGE, PROVIDER_SWITCH, EventHub
from three_mode.serve.system_events import (
    AGENTS_JOINED,
    AGENTS_LEFT,
    HOST_JOINED,
    HOST_LOST,
    tell_of_agents,
    tell_of_providers,
)
from three_mode.testing import Answer, ScriptedProvider, Turn

REQUEST = LLMRequest(model="m", messages=[{"role": "user", "content": "Hello!"}], within=5)


async def test_a_provider_that_fails_and_comes_back() -> None:
    port = free_port()
    policies = Policies(retry=RetryOptions(attempts=1), breaker=BreakerOptions(failures=2, cool_down=1.0))
    async with (
        ScriptedProvider("http/1.1") as provider,
        LLMConnection(base_url=provider.url + "/v1", policies=policies) as llm,
    ):
        app = App(Connected(llm), ServeOptions(port=port))
        watching = asyncio.create_task(tell_of_providers(llm, app.events))
        try:
            async with (
                serve(app),
                websockets.connect(f"ws://127.0.0.1:{port}/events?kinds={PROVIDER_STATUS_CHANGE}") as events,
            ):
                await until(lambda: len(app.events) == 1)

                async def change() -> dict[str, Any]:
                    event = json.loads(await asyncio.wait_for(events.recv(), 10))
                    assert event["type"] == PROVIDER_STATUS_CHANGE
                    return dict(event["data"])

                provider.always(Answer(status=500))
                for _ in range(2):
                    with pytest.raises(ServerError):
                        await llm.chat_completion(REQUEST)
                assert await change() == {"target": "custom/m", "status": "open", "was": "closed"}
                provider.always(Turn())
                assert (await change())["was"] == "open", "its cool-down is over: on trial"
                await llm.chat_completion(REQUEST)
                assert (await change())["status"] == "closed"
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


class Idle(Agent):
    @handler
    async def nothing(self) -> None:
        pass


async def test_hosts_and_agents_that_come_and_go() -> None:
    async with Orchestrator(hosts=1) as orc:
        hub = EventHub()
        reader = hub.open()
        watch = tell_of_agents(orc.bus, hub)

        async def told(kind: str) -> dict[str, Any]:
            async with asyncio.timeout(20):
                while True:
                    event = json.loads(await reader.get())
                    if event["type"] == kind:
                        return dict(event["data"])

        try:
            await orc.spawn(Idle, 3, name="idle", restart="permanent")
            assert (await told(AGENTS_JOINED))["agents"] == ["idle/0", "idle/1", "idle/2"]
            (host,) = (await orc.table()).hosts
            os.kill(host.pid, signal.SIGKILL)
            assert (await told(HOST_LOST))["label"] == host.label
            assert (await told(HOST_JOINED))["label"] == host.label
            assert "idle/0" in (await told(AGENTS_JOINED))["agents"]
            await orc.stop("idle/1")
            assert (await told(AGENTS_LEFT))["agents"] == ["idle/1"]
        finally:
            watch.close()
            hub.close(reader)


async def test_a_switch_of_provider_is_told_when_it_happens() -> None:
    port = free_port()
    async with several(("openai", "anthropic")) as (llm, servers):
        servers["openai"].always(Answer(status=500, pieces=(b"a secret of the provider",)))
        app = App(Connected(llm), ServeOptions(port=port))
        watching = asyncio.create_task(tell_of_providers(llm, app.events))
        try:
            async with (
                serve(app),
                websockets.connect(f"ws://127.0.0.1:{port}/events?kinds={PROVIDER_SWITCH}") as events,
            ):
                await until(lambda: len(app.events) == 1)
                reply = await llm.chat_completion(REQUEST)
                event = json.loads(await asyncio.wait_for(events.recv(), 10))
                assert event["data"] == {
                    "request_id": reply.request_id,
                    "target": "anthropic/model-of-anthropic",
                    "was": "openai/m",
                }
        finally:
            watching.cancel()
            await asyncio.wait([watching])
