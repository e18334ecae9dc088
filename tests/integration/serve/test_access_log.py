"""The access log: one line a request, of every protocol, without keys and content; and what stands behind a proxy."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
import websockets

from tests.support.agents.until import until
from tests.support.grpc.stubs import chat, stub
from tests.support.serve.endpoint import endpoint
from three_mode.serve import ServeOptions
from three_mode.serve.access_log import log

SECRET = "what nobody may read"
TEXT = [{"role": "user", "content": SECRET}]
KEY = "sk-key-of-the-test"  # pragma: allowlist secret


class Lines(logging.Handler):
    """The lines that were written."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    async def next(self) -> dict[str, Any]:
        """The one line that came, or comes soon."""
        await until(lambda: bool(self.texts))
        (text,) = self.texts
        self.texts.clear()
        found: dict[str, Any] = json.loads(text)
        return found


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, level = Lines(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": TEXT, **fields}


async def test_a_line_for_each_request(lines: Lines) -> None:
    async with endpoint(access_log="json") as running, httpx.AsyncClient(base_url=running.url) as http:
        reply = await http.post("/v1/chat/completions?key=abc", json=body("echo"))
        line = await lines.next()
        assert line["ms"] > 0
        assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/chat/completions", 200)
        assert (line["model"], line["bytes"], line["client"]) == ("echo", len(reply.content), "127.0.0.1")
        streamed = await http.post("/v1/chat/completions", json=body("echo", stream=True))
        line = await lines.next()
        assert (line["status"], line["model"], line["bytes"]) == (200, "echo", len(streamed.content))
        for path, sent, status, model in (
            ("/v1/chat/completions", body("overloaded"), 503, "overloaded"),
            ("/v1/chat/completions", body("gguf:/etc/passwd"), 403, "gguf:/etc/passwd"),
            ("/v1/messages", body("unreachable", max_tokens=1), 502, "unreachable"),
            ("/v1/responses", {"model": "echo", "input": SECRET}, 200, "echo"),
            ("/v1/messages/count_tokens", body("hf:x"), 403, "hf:x"),
            ("/v1/embeddings", {"model": "nothing", "input": SECRET}, 404, "nothing"),
            ("/v1/embeddings", {"model": "embedder", "input": SECRET}, 200, "embedder"),
            ("/v1/chat/completions", {}, 400, ""),
            ("/nothing", {}, 404, ""),
        ):
            assert (await http.post(path, json=sent)).status_code == status
            line = await lines.next()
            assert (line["path"], line["status"], line.get("model", "")) == (path, status, model)
        await http.get("/health")
        assert (await lines.next())["path"] == "/health"
        await http.post("/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
        assert SECRET not in json.dumps(await lines.next())


async def test_a_client_that_leaves(lines: Lines) -> None:
    async with endpoint(access_log="json") as running, httpx.AsyncClient(base_url=running.url) as http:
        async with http.stream("POST", "/v1/chat/completions", json=body("forever", stream=True)) as reply:
            async for _ in reply.aiter_bytes():
                break
        line = await lines.next()
        assert (line["status"], line["model"]) == (499, "forever")
        assert line["bytes"] > 0


async def test_calls_of_grpc(lines: Lines) -> None:
    async with endpoint(access_log="json") as running, stub(running.url) as calls:
        await calls.ChatCompletion(chat("echo", SECRET))
        line = await lines.next()
        assert (line["path"], line["status"], line["grpc"]) == ("/three_mode.v1.LLMService/ChatCompletion", 200, "OK")
        assert (line["model"], line["client"]) == ("echo", "127.0.0.1")
        assert line["bytes"] > 0
        with pytest.raises(grpc.aio.AioRpcError):
            await calls.ChatCompletion(chat("gguf:/x", SECRET))
        line = await lines.next()
        assert (line["grpc"], line["model"]) == ("PERMISSION_DENIED", "gguf:/x")


async def test_a_websocket(lines: Lines) -> None:
    async with endpoint(access_log="json") as running:
        url = running.url.replace("http", "ws")
        async with websockets.connect(f"{url}/events"):
            await until(lambda: len(running.app.events) == 1)
            running.app.events.publish("told", what="x")
            await asyncio.sleep(0.05)
        line = await lines.next()
        assert (line["method"], line["path"], line["status"]) == ("GET", "/events", 101)
        assert line["bytes"] > 0
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(f"{url}/elsewhere")
        assert (await lines.next())["status"] == 403


async def test_no_key_is_in_a_line(lines: Lines) -> None:
    async with endpoint(access_log="short", api_keys=frozenset({KEY})) as running:
        async with httpx.AsyncClient(base_url=running.url) as http:
            for sent in (
                {"authorization": f"Bearer {KEY}"},
                {"x-api-key": KEY},
                {"authorization": "Bearer sk-wrong"},
                {},
            ):
                await http.post("/v1/chat/completions", json=body("echo"), headers=sent)
            await http.get(f"/v1/models?api_key={KEY}")
            await until(lambda: len(lines.texts) == 5)
    said = "\n".join(lines.texts)
    assert [line.split(" ")[4] for line in lines.texts] == ["200", "200", "401", "401", "401"]
    for secret in (KEY, "sk-", SECRET, "authorization"):
        assert secret not in said


async def test_without_it_nothing_is_written(lines: Lines) -> None:
    async with endpoint() as running, httpx.AsyncClient(base_url=running.url) as http:
        await http.post("/v1/chat/completions", json=body("echo"))
    assert lines.texts == []


async def test_the_caller_behind_a_proxy(lines: Lines) -> None:
    keys = frozenset({KEY})
    headers = {
        "authorization": f"Bearer {KEY}",
        "x-forwarded-for": "6.6.6.6, 203.0.113.9",
        "x-forwarded-proto": "https",
    }
    async with endpoint(access_log="json", behind_proxy=True, api_keys=keys) as running:
        async with httpx.AsyncClient(base_url=running.url, headers=headers) as http:
            await http.get("/v1/models")
            line = await lines.next()
            assert (line["client"], line["forwarded"]) == ("127.0.0.1", "203.0.113.9")
            host = running.url.removeprefix("http://")
            for origin, status in ((f"https://{host}", 200), (f"http://{host}", 403), ("https://evil.example", 403)):
                assert (await http.get("/v1/models", headers={"origin": origin})).status_code == status
                await lines.next()
            del http.headers["authorization"]
            assert (await http.get("/v1/models", headers={"host": "localhost"})).status_code == 401
            await lines.next()


async def test_without_a_proxy_nobody_is_believed(lines: Lines) -> None:
    headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    async with endpoint(access_log="json") as running, httpx.AsyncClient(base_url=running.url, headers=headers) as http:
        await http.get("/v1/models")
        line = await lines.next()
        assert line["client"] == "127.0.0.1"
        assert "forwarded" not in line
        origin = {"origin": running.url}
        assert (await http.get("/v1/models", headers=origin)).status_code == 200


async def test_health_has_two_names_and_needs_no_key() -> None:
    async with endpoint(api_keys=frozenset({KEY})) as running, httpx.AsyncClient(base_url=running.url) as http:
        for path in ("/health", "/healthz"):
            assert (await http.get(path)).json() == {"status": "ok"}
        running.app.endpoint.draining = True
        for path in ("/health", "/healthz"):
            assert (await http.get(path)).status_code == 503


def test_options_of_a_proxy() -> None:
    assert ServeOptions(host="0.0.0.0", behind_proxy=True, api_keys=frozenset({KEY})).behind_proxy
