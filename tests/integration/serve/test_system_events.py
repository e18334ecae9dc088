"""What happens to providers, hosts and agents is told to whoever reads `/events`."""

import asyncio
import json
import os
import signal
from typing import Any

import httpx
import pytest
import websockets

from tests.support.agents.until import until
from tests.support.providers.servers import connected, several
from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, LLMRequest, Orchestrator, handler
from three_mode.errors import ServerError
from three_mode.policies import BreakerOptions, Policies, RetryOptions
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.serve.events import PROVIDER_STATUS_CHANGE, PROVIDER_SWITCH, RESPONSE_CHUNK, RESPONSE_COMPLETE, EventHub
from three_mode.serve.system_events import (
    AGENTS_JOINED,
    AGENTS_LEFT,
    HOST_JOINED,
    HOST_LOST,
    tell_of_agents,
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


async def test_calls_are_told_as_their_client_knows_them_and_only_while_somebody_watches() -> None:
    port = free_port()
    async with connected() as (llm, _):
        app = App(Connected(llm, models={"brain": "m"}), ServeOptions(port=port))
        body = {"model": "brain", "messages": [{"role": "user", "content": "Hello!"}]}
        async with serve(app), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            await http.post("/v1/chat/completions", json=body)
            assert not llm.event_hub.wanted
            async with websockets.connect(f"ws://127.0.0.1:{port}/events") as events:
                await until(lambda: len(app.events) == 1)

                async def told(until_kind: str) -> list[dict[str, Any]]:
                    seen: list[dict[str, Any]] = []
                    while not seen or seen[-1]["type"] != until_kind:
                        seen.append(json.loads(await asyncio.wait_for(events.recv(), 10)))
                    return seen

                whole = (await http.post("/v1/chat/completions", json=body)).json()
                start, complete = await told(RESPONSE_COMPLETE)
                assert start["data"]["request_id"] == complete["data"]["request_id"] == whole["id"]
                assert start["data"]["call_id"].startswith("call_")
                assert (start["data"]["model"], complete["data"]["model"]) == ("brain", "brain")
                assert complete["data"]["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]
                assert "error" not in complete["data"]
                streamed = await http.post("/v1/chat/completions", json={**body, "stream": True})
                seen = await told(RESPONSE_COMPLETE)
                pieces = [event["data"] for event in seen if event["type"] == RESPONSE_CHUNK]
                assert "".join(piece["text"] for piece in pieces) == "Hello world!"
                assert {piece["request_id"] for piece in pieces} <= {seen[-1]["data"]["request_id"]}
                assert seen[-1]["data"]["request_id"] in streamed.text
                (totals,) = (await told("analytics_update"))[-1:]
                assert totals["data"]["requests"] == 3
            await until(lambda: not llm.event_hub.wanted)


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
                "error": "ServerError",
            }
