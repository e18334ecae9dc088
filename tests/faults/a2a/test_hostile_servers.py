"""Servers that hang, die, or send what the protocol does not know: each is an error with a name, in bounded time."""

import asyncio
from typing import Any

import pytest

from tests.support.a2a.hostile import Hostile, begin, document, hostile, rpc, task
from tests.support.agents.until import until
from three_mode import LLMRequest, Orchestrator
from three_mode.a2a import A2AAgent, A2AClient, A2AClientOptions
from three_mode.errors import (
    AuthenticationError,
    BadReply,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    LLMError,
    NotFound,
    ProviderOverloaded,
    RateLimit,
    ReplyTooLarge,
    ServerError,
    StreamInterrupted,
    ThreeModeError,
)
from transports.http2 import PoolOptions

OPTIONS = A2AClientOptions(pool=PoolOptions(trust_env=False))


async def nothing(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def begins_and_hangs(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
    await begin(writer, {"task": task()})
    await asyncio.sleep(60)


async def begins_and_dies(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
    await begin(writer, {"task": task()})
    writer.transport.abort()


async def ends_early(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
    await begin(writer, {"task": task()})


async def dies(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def floods(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
    artifact = {"artifactId": "a", "parts": [{"text": "x" * 10_000}]}
    await begin(
        writer, {"task": task()}, *[{"artifactUpdate": {"taskId": "t", "artifact": artifact, "append": True}}] * 100
    )
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (nothing, DeadlineExceeded),
        (begins_and_hangs, DeadlineExceeded),
        (begins_and_dies, StreamInterrupted),
        (ends_early, StreamInterrupted),
        (dies, ConnectionFailed),
        (floods, ReplyTooLarge),
    ],
)
async def test_a_server_that_hangs_or_dies(reply: Any, error: type[ThreeModeError]) -> None:
    options = A2AClientOptions(reply_bytes=100_000, pool=PoolOptions(trust_env=False))
    async with hostile(reply) as server, A2AClient(server.url, options=options) as client:
        started = asyncio.get_running_loop().time()
        with pytest.raises(error):
            await client.send("hello", within=1.0)
        assert asyncio.get_running_loop().time() - started < 10


async def test_a_task_that_nobody_waits_for_is_cancelled_there() -> None:
    async with hostile(begins_and_hangs) as server:
        async with A2AClient(server.url, options=OPTIONS) as client:
            sending = asyncio.create_task(client.send("hello", within=30))
            await until(lambda: bool(server.asked))
            await asyncio.sleep(0.2)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        cancels = [body["params"] for _, body in server.asked if body["method"] == "CancelTask"]
        assert cancels == [{"id": "t"}]


GARBAGE = [
    b"",
    b"<html>not this one</html>",
    b"{",
    b"[]",
    b"null",
    b'{"jsonrpc":"2.0","id":1}',
    b'{"jsonrpc":"2.0","id":1,"result":7}',
    b'{"jsonrpc":"2.0","id":1,"result":{}}',
    b'{"jsonrpc":"2.0","id":1,"result":{"task":{"id":"t"}}}',
    b'{"jsonrpc":"2.0","id":1,"result":{"task":{"id":"t","status":{"state":"ASLEEP"}}}}',
    b'{"jsonrpc":"2.0","id":1,"result":{"message":{"messageId":"m","role":"ROLE_AGENT","parts":[]}}}',
    b'{"jsonrpc":"2.0","id":1,"error":"no"}',
    b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 5_000,
]


@pytest.mark.parametrize("data", GARBAGE)
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_answer_that_is_none(data: bytes, streaming: bool) -> None:
    async def answer(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
        await document(writer, data)

    async with hostile(answer, streaming=streaming) as server, A2AClient(server.url, options=OPTIONS) as client:
        with pytest.raises(BadReply):
            await client.send("hello", within=5)


@pytest.mark.parametrize("data", [each for each in GARBAGE if each])
async def test_an_event_that_is_none(data: bytes) -> None:
    async def answer(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
        await begin(writer, {"task": task()}, data)

    async with hostile(answer) as server, A2AClient(server.url, options=OPTIONS) as client:
        with pytest.raises(BadReply):
            await client.send("hello", within=5)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        ("401 Unauthorized", {"error": "who?"}, AuthenticationError),
        ("404 Not Found", b"<html>", NotFound),
        ("429 Too Many Requests", {}, RateLimit),
        ("503 Service Unavailable", {}, ProviderOverloaded),
        ("500 Oh", {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "a bug"}}, ServerError),
        ("302 Found", {}, InvalidRequest),
        ("200 OK", {"jsonrpc": "2.0", "id": 1, "error": {"code": -32001, "message": "no task"}}, NotFound),
        ("200 OK", {"jsonrpc": "2.0", "id": 1, "error": {"code": -32009, "message": "version"}}, InvalidRequest),
        ("200 OK", {"jsonrpc": "2.0", "id": 1, "error": {"code": 12, "message": "?"}}, ServerError),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refusal_has_its_name(status: str, body: Any, error: type[LLMError], streaming: bool) -> None:
    async def answer(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
        await document(writer, body, status)

    async with hostile(answer, streaming=streaming) as server, A2AClient(server.url, options=OPTIONS) as client:
        with pytest.raises(error) as raised:
            await client.send("hello", within=5)
        assert type(raised.value) is error


async def test_no_error_shows_the_key() -> None:
    key = "sk-a-key-that-is-long-enough"

    async def answer(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
        said = f"the key {key} is wrong"
        await document(writer, {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": said}})

    async with hostile(answer) as server, A2AClient(server.url, key=key, options=OPTIONS) as client:
        with pytest.raises(ServerError) as raised:
            await client.send("hello", within=5)
        assert f"authorization: bearer {key}" in server.asked[0][0].lower()
    assert key not in str(raised.value)


async def test_a_key_does_not_follow_a_card_to_another_server() -> None:
    async with hostile(nothing) as other, hostile(nothing, interface=f"{other.url}/rpc") as server:
        async with A2AClient(server.url, key="sk-a-key-that-is-long-enough", options=OPTIONS) as client:
            with pytest.raises(BadReply, match="leads to"):
                await client.send("hello", within=5)
        assert not other.asked


async def test_a_task_that_its_server_does_not_wait_for_is_asked_for() -> None:
    states = ["TASK_STATE_SUBMITTED", "TASK_STATE_WORKING", "TASK_STATE_COMPLETED"]

    async def answer(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
        state = task(states.pop(0))
        await document(writer, rpc({"task": state} if method == "SendMessage" else state))

    async with hostile(answer, streaming=False) as server, A2AClient(server.url, options=OPTIONS) as client:
        found = await client.send("hello", within=10)
    assert found == await _as_task(task("TASK_STATE_COMPLETED"))
    assert [body["method"] for _, body in server.asked] == ["SendMessage", "GetTask", "GetTask"]


async def _as_task(value: dict[str, Any]) -> Any:
    import msgspec

    from three_mode.a2a import Task

    return msgspec.convert(value, Task)


WITH_A_SECRET = "http://user:secret@127.0.0.1"  # pragma: allowlist secret


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "no url", "http://", WITH_A_SECRET])
def test_what_is_no_url_is_said_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError):
        A2AClient(url)


async def test_an_agent_that_cannot_be_reached_is_an_error_of_its_spawn() -> None:
    async with Orchestrator(hosts=0) as orc:
        with pytest.raises(ConnectionFailed):
            await orc.spawn(A2AAgent, name="gone", url="http://127.0.0.1:9", within=10)
        with pytest.raises(ConfigurationError, match="NO_SUCH_KEY"):
            await orc.spawn(A2AAgent, name="gone", url="http://127.0.0.1:9", api_key_env="NO_SUCH_KEY", within=10)


async def test_a_call_of_an_agent_on_the_bus_ends_in_its_time() -> None:
    async with hostile(begins_and_hangs) as server, Orchestrator(hosts=0) as orc:
        await orc.spawn(A2AAgent, name="slow", url=server.url)
        said: Any = {"role": "user", "content": "hello"}
        with pytest.raises(DeadlineExceeded):
            await orc.llm.chat_completion(LLMRequest(model="agent:slow", messages=[said], within=0.5))
        with pytest.raises(DeadlineExceeded):
            await orc.any("slow").ask(A2AAgent.send, "hello", within=0.5)
        await until(lambda: any(body["method"] == "CancelTask" for _, body in server.asked))
