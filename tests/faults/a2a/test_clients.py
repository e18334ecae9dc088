"""Clients that send nonsense, ask for others' tasks, open too many, do not read, or go away."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.a2a.cast import Narrator, Parrot, Twofold, Waiter
from tests.support.a2a.running import message, running
from tests.support.agents.until import until
from tests.support.serve.endpoint import endpoint
from three_mode.serve.surfaces.a2a import streams

VERSION = {"A2A-Version": "1.0"}


def client(url: str, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={**VERSION, **headers}, timeout=30, trust_env=False)


def rpc(method: str, params: Any = None, number: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {} if params is None else params}


@pytest.mark.parametrize(
    ("body", "code", "number"),
    [
        (b"", -32700, None),
        (b"{", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"[" * 100_000, -32600, None),
        (b"[]", -32600, None),
        (b'"SendMessage"', -32600, None),
        (b'{"jsonrpc":"1.0","id":4,"method":"GetTask"}', -32600, 4),
        (b'{"jsonrpc":"2.0","id":4}', -32600, 4),
        (b'{"jsonrpc":"2.0","id":4,"method":7}', -32600, 4),
        (b'{"jsonrpc":"2.0","id":{"a":1},"method":"GetTask"}', -32600, None),
        (b'{"jsonrpc":"2.0","method":"GetTask","params":{"id":"x"}}', -32600, None),
        (b'[{"jsonrpc":"2.0","id":4,"method":"GetTask"}]', -32600, None),
        (b'{"jsonrpc":"2.0","id":"a","method":"message/send"}', -32601, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"__init__"}', -32601, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"GetTask"}', -32602, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"GetTask","params":[1]}', -32602, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"GetTask","params":{"id":""}}', -32602, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"GetTask","params":{"id":"x","historyLength":-1}}', -32001, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"ListTasks","params":{"pageSize":101}}', -32602, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"ListTasks","params":{"status":"SLEEPING"}}', -32602, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"ListTasks","params":{"pageToken":"?"}}', -32602, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"GetExtendedAgentCard"}', -32004, "a"),
        (b'{"jsonrpc":"2.0","id":"a","method":"DeleteTaskPushNotificationConfig"}', -32003, "a"),
    ],
)
async def test_what_is_no_request_is_refused_with_its_code(body: bytes, code: int, number: Any) -> None:
    async with endpoint() as found, client(found.url) as http:
        said = await http.post("/a2a/echo", content=body)
        assert (said.status_code, said.json()["error"]["code"], said.json()["id"]) == (200, code, number)
        assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({}, ""),
        ({"message": {"role": "ROLE_USER", "parts": [{"text": "x"}]}}, "message"),
        ({"message": {"messageId": "m", "role": "user", "parts": [{"text": "x"}]}}, "message.role"),
        ({"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "x"}]}}, "message.role"),
        ({"message": {"messageId": "m", "role": "ROLE_USER", "parts": []}}, "message.parts"),
        ({"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{}]}}, "message.parts[0]"),
        (
            {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x", "url": "y"}]}},
            "message.parts[0]",
        ),
        ({**message("x"), "configuration": {"historyLength": "many"}}, "configuration.historyLength"),
        ({**message("x"), "configuration": {"historyLength": -2}}, "historyLength"),
        (message("x", metadata={"skill": "dance"}), "message.metadata"),
    ],
)
async def test_what_is_no_message_names_its_field(sent: Any, field: str) -> None:
    async with endpoint() as found, client(found.url) as http:
        said = await http.post("/a2a/echo/message:send", json=sent)
        error = said.json()["error"]
        assert (said.status_code, error["details"][0]["reason"]) == (400, "INVALID_PARAMS")
        assert [each["field"] for each in error["details"][1]["fieldViolations"]] == [field] if field else True


async def test_other_versions_are_refused() -> None:
    async with endpoint() as found, httpx.AsyncClient(base_url=found.url, trust_env=False) as http:
        for headers in ({}, {"A2A-Version": ""}, {"A2A-Version": "0.3"}, {"A2A-Version": "2.0"}):
            said = await http.post("/a2a/echo", json=rpc("SendMessage", message("x")), headers=headers)
            assert said.json()["error"]["code"] == -32009
            said = await http.post("/a2a/echo/message:send", json=message("x"), headers=headers)
            assert said.json()["error"]["details"][0]["reason"] == "VERSION_NOT_SUPPORTED"
        said = await http.post("/a2a/echo/message:send?A2A-Version=1.0.1", json=message("x"))
        assert said.json()["task"]["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_parts_that_nobody_can_read_are_refused() -> None:
    async with endpoint() as found, client(found.url) as http:
        for part in (
            {"url": "file:///etc/passwd", "mediaType": "image/png"},
            {"url": "https://example.com/x"},
            {"raw": "AA==", "mediaType": "video/mp4"},
            {"raw": "AA=="},
        ):
            sent = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [part]}}
            said = await http.post("/a2a/echo", json=rpc("SendMessage", sent))
            assert said.json()["error"]["code"] == -32005
        assert not found.backend.seen


async def test_web_hooks_are_refused() -> None:
    async with endpoint() as found, client(found.url) as http:
        sent = {**message("x"), "configuration": {"taskPushNotificationConfig": {"url": "http://127.0.0.1:1/"}}}
        said = await http.post("/a2a/echo", json=rpc("SendMessage", sent))
        assert said.json()["error"]["code"] == -32003
        assert not found.backend.seen


async def test_a_task_is_its_owners_alone() -> None:
    keys = frozenset(("first-key-of-two", "other-key-of-two"))
    async with running(Parrot, Twofold, api_keys=keys) as found:
        async with (
            client(found.url, authorization="Bearer first-key-of-two") as first,
            client(found.url, authorization="Bearer other-key-of-two") as other,
            client(found.url) as nobody,
        ):
            task = (await first.post("/a2a/parrot/message:send", json=message("mine"))).json()["task"]
            mine = f"/a2a/parrot/tasks/{task['id']}"
            assert (await first.get(mine)).status_code == 200
            assert (await first.get(f"/a2a/twofold/tasks/{task['id']}")).status_code == 404  # another agent's
            unknown = (await other.get("/a2a/parrot/tasks/unknown")).json()["error"]["message"]
            for said in (
                await other.get(mine),
                await other.post(f"{mine}:cancel"),
                await other.post(f"{mine}:subscribe"),
                await other.post("/a2a/parrot/message:send", json=message("yours", taskId=task["id"])),
            ):
                assert (said.status_code, said.json()["error"]["message"]) == (404, unknown)
            assert (await other.get("/a2a/parrot/tasks")).json()["tasks"] == []
            sent = message("yours", contextId=task["contextId"])  # an id that is known gives nothing away
            said = (await other.post("/a2a/parrot/message:send", json=sent)).json()["task"]
            assert said["artifacts"][0]["parts"] == [{"text": "user: yours"}]
            refused = await nobody.get(mine)
            assert (refused.status_code, refused.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
            assert (await nobody.get("/.well-known/agent-card.json")).status_code == 401
            card = (await first.get("/a2a/parrot/.well-known/agent-card.json")).json()
            assert card["securitySchemes"]["bearer"]["httpAuthSecurityScheme"] == {"scheme": "Bearer"}


async def test_more_tasks_than_there_is_room_for() -> None:
    async with running(Parrot, Waiter, max_in_flight=16, max_tasks=50) as found, client(found.url) as http:
        sent = {**message("x"), "configuration": {"returnImmediately": True}}
        answers = await asyncio.gather(*(http.post("/a2a/waiter/message:send", json=sent) for _ in range(16)))
        assert [said.status_code for said in answers] == [200] * 16
        refused = await http.post("/a2a/waiter/message:send", json=sent)
        assert (refused.status_code, refused.json()["error"]["status"]) == (503, "UNAVAILABLE")
        assert refused.headers["retry-after"]
        refused = await http.post("/a2a/waiter", json=rpc("SendMessage", sent))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, -32603)
        # What the tasks of one agent wait for keeps nobody from asking a model.
        asked = {"model": "parrot", "messages": [{"role": "user", "content": "x"}]}
        assert (await http.post("/v1/chat/completions", json=asked)).status_code == 200
        for task in (await http.get("/a2a/waiter/tasks")).json()["tasks"]:
            assert (await http.post(f"/a2a/waiter/tasks/{task['id']}:cancel")).status_code == 200
        made = [
            (await http.post("/a2a/parrot/message:send", json=message("x"))).json()["task"]["id"] for _ in range(52)
        ]
        assert (
            await http.get(f"/a2a/parrot/tasks/{made[1]}")
        ).status_code == 404  # the oldest finished ones went first
        assert (await http.get(f"/a2a/parrot/tasks/{made[2]}")).status_code == 200
        assert (await http.get("/a2a/waiter/tasks")).json()["totalSize"] == 0


async def test_pages_lead_through_all_tasks_once() -> None:
    async with endpoint() as found, client(found.url) as http:
        made = [
            (await http.post("/a2a/echo/message:send", json=message(f"{number}"))).json()["task"]["id"]
            for number in range(7)
        ]
        seen: list[str] = []
        token = ""
        while True:
            page = (await http.get("/a2a/echo/tasks", params={"pageSize": 3, "pageToken": token})).json()
            seen += [task["id"] for task in page["tasks"]]
            assert "artifacts" not in page["tasks"][0]
            token = page["nextPageToken"]
            if not token:
                break
        assert seen == made[::-1]


async def test_an_answer_that_is_too_long_fails_its_task() -> None:
    async with endpoint(max_tasks_bytes=1 << 20) as found, client(found.url) as http:
        found.backend.available_models = _flood  # type: ignore[method-assign]
        said = (await http.post("/a2a/flood/message:send", json=message("x"))).json()["task"]
        assert said["status"]["state"] == "TASK_STATE_FAILED"
        assert "bytes" in said["status"]["message"]["parts"][0]["text"]
        await until(lambda: found.backend.running == 0)
        said = await http.post("/a2a/flood/message:send", json=message("x" * 200_000))
        assert (said.status_code, said.json()["error"]["details"][0]["reason"]) == (400, "INVALID_PARAMS")
        assert (await http.get("/a2a/flood/tasks")).json()["totalSize"] == 1


async def _flood() -> Any:
    from three_mode.serve import ModelInfo

    return [ModelInfo("flood"), ModelInfo("forever")]


async def test_a_reader_that_is_slow_loses_nothing_and_slows_nobody() -> None:
    async with endpoint() as found, client(found.url) as http:
        text = " ".join(f"word{number}" for number in range(30_000))
        sent = json.dumps(message(text)).encode()
        host, port = found.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 12)
        writer.write(
            b"POST /a2a/echo/message:stream HTTP/1.1\r\nhost: localhost\r\na2a-version: 1.0\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(sent), sent)
        )
        await writer.drain()
        await until(lambda: bool(found.backend.seen))
        started = asyncio.get_running_loop().time()
        said = (await http.post("/a2a/echo/message:send", json=message("quick"))).json()["task"]
        assert said["artifacts"][0]["parts"] == [{"text": "quick "}]
        assert asyncio.get_running_loop().time() - started < 5
        tasks: list[Any] = []
        while len(tasks) < 2:  # the flood is over before its reader has read a byte
            tasks = (await http.get("/a2a/echo/tasks", params={"status": "TASK_STATE_COMPLETED"})).json()["tasks"]
            await asyncio.sleep(0.01)
        heard = "".join([line async for line in _texts(reader)])
        assert heard == text + " "
        writer.close()


async def _texts(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    """The texts of a stream of events, chunked as HTTP/1.1 has it."""
    left = b""
    while data := await reader.read(1 << 16):
        *lines, left = (left + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                for part in event.get("artifactUpdate", {}).get("artifact", {}).get("parts", ()):
                    yield part["text"]


async def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE", 0.05)
    async with running(Waiter) as found, client(found.url) as http:
        async with http.stream("POST", "/a2a/waiter/message:stream", json=message("x")) as said:
            lines = [line async for line in _first(said.aiter_lines(), 12)]
    assert lines.count(": ") >= 2


async def _first(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        count -= 1
        if not count:
            return


async def test_a_client_that_goes_away_leaves_its_task_running() -> None:
    async with running(Narrator, Waiter) as found, client(found.url) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/a2a/waiter/message:send", json=message("x"), timeout=0.3)
        async with http.stream("POST", "/a2a/waiter/message:stream", json=message("y")):
            pass
        await until(lambda: found.app.metrics.in_flight == 2)  # the work of both, and no request
        listed = (await http.get("/a2a/waiter/tasks")).json()["tasks"]
        assert [task["status"]["state"] for task in listed] == ["TASK_STATE_WORKING"] * 2
        for task in listed:
            await http.post(f"/a2a/waiter/tasks/{task['id']}:cancel")
        await until(lambda: found.app.metrics.in_flight == 0)


async def test_each_task_has_a_deadline() -> None:
    async with running(Waiter) as found, client(found.url) as http:
        said = await http.post("/a2a/waiter/message:send", json=message("x"), headers={"three-mode-within": "0.3"})
        task = said.json()["task"]
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert "in time" in task["status"]["message"]["parts"][0]["text"]


async def test_a_cancelled_task_of_a_model_stops_it() -> None:
    async with endpoint() as found, client(found.url) as http:
        found.backend.available_models = _flood  # type: ignore[method-assign]
        async with http.stream("POST", "/a2a/forever/message:stream", json=message("x")) as said:
            lines = said.aiter_lines()
            number = json.loads((await anext(lines)).removeprefix("data: "))["task"]["id"]
            await until(lambda: found.backend.running == 1)
            cancelled = await http.post(f"/a2a/forever/tasks/{number}:cancel")
            assert cancelled.json()["status"]["state"] == "TASK_STATE_CANCELED"
            assert cancelled.json()["artifacts"][0]["parts"][0]["text"].startswith("on ")  # what it said stays
            last = [line async for line in lines if line.startswith("data: ")][-1]
            assert json.loads(last[6:])["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"
        await asyncio.wait_for(found.backend.cancelled.wait(), 5)
        assert found.backend.running == 0
        assert found.app.metrics.in_flight == 0
