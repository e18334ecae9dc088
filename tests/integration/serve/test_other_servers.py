"""The endpoint is an ASGI application: other servers run it as well."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server as Granian
from hypercorn.asyncio import serve as hypercorn
from hypercorn.config import Config

from tests.support.serve.endpoint import Scripted, free_port
from three_mode.serve import App, ServeOptions

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "good day"}]}


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None], port: int) -> AsyncIterator[None]:
    """While the server listens."""
    task = asyncio.create_task(work)
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
    try:
        yield
    finally:
        await asyncio.wait([task], timeout=0.1)


@asynccontextmanager
async def on_granian(app: App, port: int) -> AsyncIterator[None]:
    server = Granian(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, http=HTTPModes.auto, log_enabled=False
    )
    serving = server.serve()
    async with running(serving, port):
        try:
            yield
        finally:
            server.stop()
            await asyncio.sleep(0.2)


@asynccontextmanager
async def on_hypercorn(app: App, port: int) -> AsyncIterator[None]:
    config, ending = Config(), asyncio.Event()
    config.bind = [f"127.0.0.1:{port}"]
    config.accesslog = config.errorlog = None
    async with running(hypercorn(app, config, shutdown_trigger=ending.wait), port):  # type: ignore[arg-type]
        try:
            yield
        finally:
            ending.set()
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("server", [on_granian, on_hypercorn])
async def test_another_server_runs_it(server: Callable[[App, int], AbstractAsyncContextManager[None]]) -> None:
    port = free_port()
    app = App(Scripted(), ServeOptions(port=port, max_body=1_000))
    async with server(app, port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        reply = await http.post("/v1/chat/completions", json=CHAT)
        assert reply.status_code == 200, reply.text
        assert reply.json()["choices"][0]["message"]["content"] == "good day "
        streamed = await http.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert streamed.text.endswith("data: [DONE]\n\n")
        assert (await http.post("/v1/chat/completions", content=b"x" * 1_001)).status_code == 413
        async with websockets.connect(f"ws://127.0.0.1:{port}/events") as events:
            await http.post("/v1/chat/completions", json=CHAT)
            assert "response_start" in str(await events.recv())
