"""One endpoint in several worker processes of a server: one owns the bus and its agents, the others join it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.agents.until import until
from tests.support.serve.endpoint import free_port
from three_mode.serve import App, ServeOptions, serve

ROOT = Path(__file__).resolve().parents[3]
APP = "tests.support.serve.workers_app:app"
SERVERS = {
    "uvicorn": ["uvicorn", APP, "--workers", "2", "--port", "{port}"],
    "hypercorn": ["hypercorn", APP, "--workers", "2", "--bind", "127.0.0.1:{port}"],
}


@asynccontextmanager
async def running(server: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    words = [word.replace("{port}", str(port)) for word in SERVERS[server]]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()


async def asked(port: int) -> tuple[str, str] | None:
    """The worker that answered over a new connection, and the process of the agent that it asked; None: nobody yet."""
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", timeout=10) as http:
            models = (await http.get("/models")).json()["data"]
            worker = next(model["id"] for model in models if model["id"].startswith("worker-"))
            body = {"model": "clerk", "messages": [{"role": "user", "content": "Where are you?"}]}
            reply = await http.post("/chat/completions", json=body)
            return (worker, reply.json()["choices"][0]["message"]["content"]) if reply.status_code == 200 else None
    except httpx.TransportError:
        return None


async def answers(port: int, workers: int) -> dict[str, str]:
    """Worker -> the agent's process, once so many workers have answered."""
    found: dict[str, str] = {}
    async with asyncio.timeout(60):
        while len(found) < workers:
            answer = await asked(port)
            if answer is None:
                await asyncio.sleep(0.1)
            else:
                found[answer[0]] = answer[1]
    return found


@pytest.mark.parametrize("server", SERVERS)
async def test_two_workers_share_the_agents_of_one(server: str) -> None:
    if find_spec(server) is None:
        pytest.skip(f"{server} is not installed")
    port = free_port()
    async with running(server, port):
        found = await answers(port, 2)
        assert len(set(found.values())) == 1, "both ask the one agent"
        assert not {f"worker-{pid}" for pid in found.values()} & set(found), "which is in neither of them"


async def test_what_cannot_be_opened_is_a_start_that_failed() -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[Any]:
        raise ValueError("no such city")
        yield

    with pytest.raises(RuntimeError, match="the application did not start: ValueError: no such city"):
        async with serve(App(broken, ServeOptions(port=free_port()))):
            pass


async def test_without_a_lifespan_it_says_that_it_has_not_started() -> None:
    @asynccontextmanager
    async def never() -> AsyncIterator[Any]:
        yield None

    transport = httpx.ASGITransport(app=App(never))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        for reply in (
            await http.get("/v1/models"),
            await http.post("/v1/chat/completions", json={"model": "m", "messages": []}),
        ):
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "starting")


async def test_when_the_owner_dies_a_new_worker_brings_the_agents_back() -> None:
    if find_spec("uvicorn") is None:
        pytest.skip("uvicorn is not installed")
    port = free_port()
    async with running("uvicorn", port):
        (before,) = set((await answers(port, 2)).values())
        owner = psutil.Process(int(before)).ppid()
        os.kill(owner, signal.SIGKILL)

        async def brought_back() -> bool:
            answer = await asked(port)
            return answer is not None and answer[1] != before

        await until(brought_back, 60)
        after = await answers(port, 2)
        assert f"worker-{owner}" not in after
        assert len(set(after.values())) == 1
