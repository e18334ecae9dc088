"""The end of what tasks depend on: the host of their agent, and the endpoint itself."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from tests.support.a2a.cast import Clerk, Sleeper, Waiter
from tests.support.a2a.running import message, running
from tests.support.agents.until import until

VERSION = {"A2A-Version": "1.0"}


async def test_a_host_that_dies_fails_its_tasks(tmp_path: Path) -> None:
    async with running(hosts=2) as found:
        await found.orc.spawn(Sleeper, path=str(tmp_path / "log"), restart="temporary")
        async with httpx.AsyncClient(base_url=found.agent("sleeper"), headers=VERSION, trust_env=False) as http:
            sent = {**message("long"), "configuration": {"returnImmediately": True}}
            working = (await http.post("/message:send", json=sent)).json()["task"]
            await until(lambda: "long" in _read(tmp_path / "log"))
            died = (await http.post("/message:send", json=message("die"), timeout=30)).json()["task"]
            assert died["status"]["state"] == "TASK_STATE_FAILED"
            assert "sleeper" in died["status"]["message"]["parts"][0]["text"]
            task: dict[str, Any] = {}

            async def failed() -> bool:
                task.update((await http.get(f"/tasks/{working['id']}")).json())
                return bool(task["status"]["state"] == "TASK_STATE_FAILED")

            await until(failed)
            assert task["status"]["message"]["parts"][0]["text"]


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def test_an_endpoint_that_drains_ends_its_streams_with_how_their_tasks_ended() -> None:
    async with running(Waiter, Clerk, drain_within=0.5) as found:
        async with httpx.AsyncClient(headers=VERSION, timeout=30, trust_env=False) as http:
            asked = (await http.post(found.agent("clerk") + "/message:send", json=message("a trip"))).json()["task"]
            path = f"{found.agent('clerk')}/tasks/{asked['id']}:subscribe"
            async with (
                http.stream("POST", found.agent("waiter") + "/message:stream", json=message("x")) as working,
                http.stream("POST", path) as waiting,
            ):
                events, idle = working.aiter_lines(), waiting.aiter_lines()
                assert "task" in await _event(events)
                assert "task" in await _event(idle)
                assert (await _event(events))["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING"
                draining = asyncio.create_task(found.app.drain())
                await asyncio.sleep(0.05)
                refused = await http.post(found.agent("waiter") + "/message:send", json=message("y"))
                assert (refused.status_code, refused.json()["error"]["status"]) == (503, "UNAVAILABLE")
                assert [line async for line in idle] == [""]  # nobody works on it: its stream just ends
                assert not await draining
                found.app.cut_off()
                last = (await _event(events))["statusUpdate"]["status"]
                assert last["state"] == "TASK_STATE_FAILED"
                assert "shutting down" in last["message"]["parts"][0]["text"]
                assert [line async for line in events] == [""]
        await until(lambda: found.app.metrics.in_flight == 0)


async def test_an_endpoint_that_drains_lets_tasks_end() -> None:
    async with running(Waiter, drain_within=10) as found:
        async with httpx.AsyncClient(headers={**VERSION, "three-mode-within": "0.6"}, trust_env=False) as http:
            sent = {**message("x"), "configuration": {"returnImmediately": True}}
            await http.post(found.agent("waiter") + "/message:send", json=sent)
        await until(lambda: found.app.metrics.in_flight == 1)
        assert await found.app.drain()  # it waited for the task, whose time was over first


async def _event(lines: Any) -> dict[str, Any]:
    async for line in lines:
        if line.startswith("data: "):
            found: dict[str, Any] = json.loads(line[6:])
            return found
    raise AssertionError("the stream ended")
