"""Clients of MCP that misbehave, leave, or cancel: the agent hears of it, and nobody else is disturbed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.agents.until import until
from tests.support.mcp.served import RawClient, noted, weather
from tests.support.serve.endpoint import Endpoint, endpoint

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
KEY = "a-key-of-the-test"  # pragma: allowlist secret


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@asynccontextmanager
async def served(journal: Path) -> AsyncIterator[tuple[Endpoint, httpx.AsyncClient]]:
    async with weather(str(journal), count=1) as orc, endpoint(agents=orc) as at:
        async with httpx.AsyncClient(base_url=at.url, timeout=30) as client:
            yield at, client


def asking(number: Any, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def stateless(method: str, **params: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """A message of the stateless era, and its headers."""
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": method}
    if "name" in params:
        headers["mcp-name"] = params["name"]
    return asking(1, method, _meta=META, **params), headers


# standard input and output --------------------------------------------------------------------------------------------
async def test_lines_that_are_no_message_are_refused_and_the_next_is_answered() -> None:
    async with weather(count=1) as orc, await RawClient.start(orc.name) as client:
        for line, code in (
            (b"hello\n", -32700),
            (b"\xff\xfe\n", -32700),
            (b'{"a":' * 5000 + b"\n", -32700),
            (b"[]\n", -32600),
            (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]\n', -32600),
            (b"null\n", -32600),
            (b"{}\n", -32600),
            (b'{"jsonrpc":"1.0","id":1,"method":"ping"}\n', -32600),
            (b'{"jsonrpc":"2.0","id":null,"method":"ping"}\n', -32600),
            (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}\n', -32600),
            (b'{"jsonrpc":"2.0","id":true,"method":"ping"}\n', -32600),
            (b'{"jsonrpc":"2.0","id":1,"method":7}\n', -32600),
            (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}\n', -32600),
            (b'{"jsonrpc":"2.0","id":1}\n', -32600),
            (b'{"jsonrpc":"2.0","id":9,"method":"resources/list"}\n', -32601),
            (b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":7}}\n', -32602),
            (b'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"x","arguments":[]}}\n', -32602),
            (b'{"jsonrpc":"2.0","id":9,"method":"tools/list","params":{"cursor":"x"}}\n', -32602),
            (b'{"jsonrpc":"2.0","id":9,"method":"initialize","params":{}}\n', -32602),
        ):
            client.send(line)
            answer = await client.read()
            assert answer["error"]["code"] == code, line
        client.send(b'\n  \n{"jsonrpc":"2.0","id":1,"result":{}}\n{"jsonrpc":"2.0","method":"notifications/no"}\n')
        client.ask("a", "ping")
        assert await client.read() == {"jsonrpc": "2.0", "id": "a", "result": {}}


async def test_versions_are_agreed_on() -> None:
    async with weather(count=1) as orc, await RawClient.start(orc.name) as client:
        for number, (wanted, found) in enumerate(
            (("2025-06-18", "2025-06-18"), ("2025-03-26", "2025-03-26"), ("1999-01-01", "2025-11-25"))
        ):
            client.ask(number, "initialize", protocolVersion=wanted, capabilities={}, clientInfo={"name": "x"})
            assert (await client.read())["result"]["protocolVersion"] == found
        client.ask(8, "tools/list", _meta=META | {"io.modelcontextprotocol/protocolVersion": "2099-01-01"})
        error = (await client.read())["error"]
        assert error["code"] == -32022
        assert error["data"]["requested"] == "2099-01-01"
        assert "2026-07-28" in error["data"]["supported"]
        client.ask(9, "tools/list", _meta={"io.modelcontextprotocol/protocolVersion": "2026-07-28"})
        assert "clientCapabilities" in (await client.read())["error"]["message"]


async def test_half_lines_and_long_lines() -> None:
    async with weather(count=1) as orc, await RawClient.start(orc.name) as client:
        line = json.dumps(asking(1, "ping")).encode() + b"\r\n"
        for place in range(len(line)):
            client.send(line[place : place + 1])
            await asyncio.sleep(0)
        assert (await client.read())["id"] == 1
        for _ in range(100):  # 100 MB
            client.send(b"x" * (1 << 20))
            assert client.process.stdin is not None
            await client.process.stdin.drain()
        assert "more than" in (await client.read())["error"]["message"]
        client.send(b"\n")
        client.ask(2, "ping")
        assert (await client.read())["id"] == 2


async def test_an_id_that_is_used_twice_at_once_is_refused(journal: Path) -> None:
    async with weather(str(journal), count=1) as orc, await RawClient.start(orc.name) as client:
        client.call(1, "weather_sleeps", seconds=30)
        await noted(journal, "began")
        client.ask(1, "ping")
        assert "that of a request that runs" in (await client.read())["error"]["message"]
        client.tell("notifications/cancelled", requestId=1)
        await noted(journal, "cancelled")
        client.ask(1, "ping")
        assert (await client.read())["result"] == {}


async def test_a_cancelled_call_is_cancelled_at_the_agent_and_not_answered(journal: Path) -> None:
    async with weather(str(journal), count=1) as orc, await RawClient.start(orc.name) as client:
        client.call("a", "weather_sleeps", seconds=30)
        await noted(journal, "began")
        client.tell("notifications/cancelled", requestId="b")
        client.tell("notifications/cancelled", requestId=["a"])
        client.tell("notifications/cancelled")
        client.tell("notifications/cancelled", requestId="a")
        await noted(journal, "cancelled")
        client.ask("c", "ping")
        assert (await client.read())["id"] == "c"


async def test_too_many_calls_at_once_are_refused() -> None:
    async with weather(count=1) as orc, await RawClient.start(orc.name) as client:
        for number in range(80):
            client.call(number, "weather_sleeps", seconds=30)
        refused = [await client.read() for _ in range(16)]
        assert {answer["error"]["message"] for answer in refused} == {"64 calls run already"}


async def test_a_call_has_a_deadline() -> None:
    async with weather(count=1) as orc, await RawClient.start(orc.name, "--within", "0.5") as client:
        began = time.monotonic()
        client.call(1, "weather_sleeps", seconds=30)
        result = (await client.read())["result"]
        assert result["isError"]
        assert "did not answer in time" in result["content"][0]["text"]
        assert time.monotonic() - began < 20


async def test_the_end_of_input_ends_the_command_and_its_calls(journal: Path) -> None:
    async with weather(str(journal), count=1) as orc, await RawClient.start(orc.name) as client:
        client.call(1, "weather_sleeps", seconds=60)
        await noted(journal, "began")
        status, _, err = await client.end()
        assert (status, err) == (0, b"")
        await noted(journal, "cancelled")


async def test_short_calls_are_answered_before_the_end() -> None:
    async with weather(count=1) as orc, await RawClient.start(orc.name) as client:
        client.call(1, "weather_forecast", city="Rome")
        status, out, _ = await client.end()
        assert status == 0
        assert json.loads(out)["result"]["content"][0]["text"] == "Rome: 1 days of sun in c"


async def test_a_client_that_dies_ends_the_command_and_its_calls(journal: Path) -> None:
    async with weather(str(journal), count=1) as orc, await RawClient.start(orc.name) as client:
        client.call(1, "weather_sleeps", seconds=60)
        await noted(journal, "began")
        client.process.terminate()
        await asyncio.wait_for(client.process.wait(), 20)
        await noted(journal, "cancelled")


async def test_a_bus_that_is_not_there_is_said() -> None:
    async with await RawClient.start("no-such-bus") as client:
        status, out, err = await client.end()
        assert (status, out) == (1, b"")
        assert b"cannot join the bus 'no-such-bus'" in err


# over HTTP ------------------------------------------------------------------------------------------------------------
async def test_bodies_that_are_no_message_are_refused(journal: Path) -> None:
    async with served(journal) as (_, client):
        for body, code in (
            (b"hello", -32700),
            (b"", -32700),
            (b"[]", -32600),
            (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
            (b"{}", -32600),
            (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        ):
            answer = await client.post("/mcp", content=body, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
        for kind in ("text/plain", ""):
            answer = await client.post("/mcp", content=b"{}", headers={"content-type": kind})
            assert answer.status_code == 415
        assert (await client.put("/mcp", json={})).status_code == 405
        assert (await client.get("/mcp")).status_code == 405


async def test_messages_that_want_no_answer_get_none(journal: Path) -> None:
    async with served(journal) as (_, client):
        for message in (
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
            {"jsonrpc": "2.0", "id": 1, "result": {}},
        ):
            answer = await client.post("/mcp", json=message, headers={"mcp-session-id": "x"})
            assert (answer.status_code, answer.content) == (202, b"")


async def test_headers_must_say_what_the_body_says(journal: Path) -> None:
    async with served(journal) as (_, client):
        message, headers = stateless("tools/call", name="weather_forecast", arguments={"city": "Rome"})
        assert (await client.post("/mcp", json=message, headers=headers)).status_code == 200
        coded = headers | {"mcp-name": "=?base64?d2VhdGhlcl9mb3JlY2FzdA==?="}
        assert (await client.post("/mcp", json=message, headers=coded)).status_code == 200
        for name, value in (
            ("mcp-protocol-version", "2025-06-18"),
            ("mcp-method", "tools/list"),
            ("mcp-name", "weather_broken"),
            ("mcp-name", "=?base64?!?="),
        ):
            answer = await client.post("/mcp", json=message, headers=headers | {name: value})
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020), name
        for name in headers:
            less = {other: value for other, value in headers.items() if other != name}
            answer = await client.post("/mcp", json=message, headers=less)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020), name
        bare = asking(1, "tools/list")
        answer = await client.post("/mcp", json=bare, headers={"mcp-protocol-version": "2026-07-28"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
        answer = await client.post("/mcp", json=bare, headers={"mcp-protocol-version": "2099-01-01"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32022)


async def test_errors_have_the_status_of_their_era(journal: Path) -> None:
    """In the handshake era a 404 would say that the session is over."""
    async with served(journal) as (_, client):
        message, headers = stateless("resources/list")
        assert (await client.post("/mcp", json=message, headers=headers)).status_code == 404
        older = {"mcp-protocol-version": "2025-06-18"}
        answer = await client.post("/mcp", json=asking(1, "resources/list"), headers=older)
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32601)


async def test_a_client_that_leaves_cancels_its_call_at_the_agent(journal: Path) -> None:
    async with served(journal) as (_, client):
        message, headers = stateless("tools/call", name="weather_sleeps", arguments={"seconds": 60})
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/mcp", json=message, headers=headers, timeout=2)
        await noted(journal, "cancelled")


async def test_a_notification_cancels_a_call_of_its_session_alone(journal: Path) -> None:
    async with served(journal) as (_, client):
        begun = asking(0, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "x"})
        session = (await client.post("/mcp", json=begun)).headers["mcp-session-id"]
        headers = {"mcp-session-id": session, "mcp-protocol-version": "2025-06-18"}
        message = asking(7, "tools/call", name="weather_sleeps", arguments={"seconds": 60})
        call = asyncio.ensure_future(client.post("/mcp", json=message, headers=headers))
        await noted(journal, "began")
        told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
        await client.post("/mcp", json=told)
        await client.post("/mcp", json=told, headers={"mcp-session-id": "another"})
        twice = await client.post("/mcp", json=message, headers=headers)
        assert "that of a request that runs" in twice.json()["error"]["message"]
        assert not call.done()
        await client.post("/mcp", json=told, headers=headers)
        assert (await call).json()["error"]["message"] == "the call was cancelled"
        await noted(journal, "cancelled")


async def test_the_end_of_a_session_cancels_its_calls(journal: Path) -> None:
    async with served(journal) as (_, client):
        headers = {"mcp-session-id": "s", "mcp-protocol-version": "2025-06-18"}
        message = asking(7, "tools/call", name="weather_sleeps", arguments={"seconds": 60})
        call = asyncio.ensure_future(client.post("/mcp", json=message, headers=headers))
        await noted(journal, "began")
        assert (await client.delete("/mcp", headers=headers)).status_code == 200
        assert (await call).json()["error"]["message"] == "the call was cancelled"


async def test_the_callers_deadline_is_kept(journal: Path) -> None:
    async with served(journal) as (_, client):
        message, headers = stateless("tools/call", name="weather_sleeps", arguments={"seconds": 60})
        answer = await client.post("/mcp", json=message, headers=headers | {"three-mode-within": "0.5"})
        result = answer.json()["result"]
        assert result["isError"]
        assert "did not answer in time" in result["content"][0]["text"]


async def test_keys_and_origins_of_the_endpoint_hold() -> None:
    async with endpoint(api_keys=frozenset([KEY])) as at, httpx.AsyncClient(base_url=at.url) as client:
        message, headers = stateless("tools/list")
        assert (await client.post("/mcp", json=message, headers=headers)).status_code == 401
        allowed = headers | {"authorization": f"Bearer {KEY}"}
        assert (await client.post("/mcp", json=message, headers=allowed)).status_code == 200
        foreign = allowed | {"origin": "https://evil.example"}
        for request in (
            client.post("/mcp", json=message, headers=foreign),
            client.get("/mcp", headers=foreign),
            client.delete("/mcp", headers=foreign),
        ):
            assert (await request).status_code == 403
    async with endpoint() as at, httpx.AsyncClient(base_url=at.url) as client:
        rebound = headers | {"host": "evil.example"}
        assert (await client.post("/mcp", json=message, headers=rebound)).status_code == 403


async def test_too_large_and_too_many() -> None:
    async with endpoint(max_body=1000, max_event_readers=1) as at, httpx.AsyncClient(base_url=at.url) as client:
        message, headers = stateless("tools/list", padding="x" * 2000)
        assert (await client.post("/mcp", json=message, headers=headers)).status_code == 413
        listening, more = stateless("subscriptions/listen", notifications={"toolsListChanged": True})
        more["accept"] = "application/json, text/event-stream"
        async with client.stream("POST", "/mcp", json=listening, headers=more) as first:
            assert first.status_code == 200
            second = await client.post("/mcp", json=listening, headers=more)
            assert (second.status_code, second.json()["error"]["code"]) == (503, -32000)
            del more["accept"]
            assert (await client.post("/mcp", json=listening, headers=more | {"accept": "*"})).status_code == 406


async def test_those_who_listen_are_told_of_the_end() -> None:
    async with endpoint() as at, httpx.AsyncClient(base_url=at.url, timeout=30) as client:
        listening, headers = stateless("subscriptions/listen", notifications={"toolsListChanged": True})
        headers["accept"] = "text/event-stream"
        async with (
            client.stream("POST", "/mcp", json=listening, headers=headers) as stateless_one,
            client.stream("GET", "/mcp", headers={"accept": "text/event-stream"}) as older_one,
        ):
            lines = stateless_one.aiter_lines()
            assert "notifications/subscriptions/acknowledged" in [await anext(lines) for _ in range(2)][1]
            began = time.monotonic()
            assert await at.app.drain()
            rest = [line async for line in lines if line.startswith("data:")]
            assert json.loads(rest[-1].removeprefix("data:"))["result"]["resultType"] == "complete"
            assert [line async for line in older_one.aiter_lines() if line.startswith("data:")] == []
            assert time.monotonic() - began < 20
        message, headers = stateless("tools/list")
        refused = await client.post("/mcp", json=message, headers=headers)
        assert (refused.status_code, refused.json()["error"]["data"]) == (503, {"code": "draining"})
        assert refused.headers["retry-after"] == "1"


async def test_a_reader_that_stops_reading_holds_no_call(journal: Path) -> None:
    """Its call ends, and others are answered."""
    async with served(journal) as (at, client):
        port = int(at.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
        message, headers = stateless("tools/call", name="weather_tale", arguments={"words": 1_000_000})
        message["params"]["_meta"] = META | {"progressToken": "p"}
        body = json.dumps(message).encode()
        said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(
            f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\naccept: text/event-stream\r\n"
            f"three-mode-within: 1\r\n{said}content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await asyncio.sleep(0.2)
        other, headers = stateless("tools/call", name="weather_sleeps", arguments={"seconds": 0})
        assert (await client.post("/mcp", json=other, headers=headers)).status_code == 200
        await until(lambda: not at.app.metrics.in_flight, within=20)
        writer.close()
        del reader


async def test_without_a_bus_there_are_no_tools() -> None:
    async with endpoint() as at, httpx.AsyncClient(base_url=at.url) as client:
        message, headers = stateless("tools/call", name="x")
        answer = await client.post("/mcp", json=message, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
