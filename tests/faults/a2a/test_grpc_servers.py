"""Servers of A2A over gRPC that hang, die, or send what the protocol does not know: each is an error with a name."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.support.a2a.hostile import Hostile, hostile
from tests.support.agents.until import until
from three_mode.a2a import A2AClient, A2AClientOptions
from three_mode.a2a.protobuf import SERVICE
from three_mode.errors import (
    AuthenticationError,
    BadReply,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    ReplyTooLarge,
    StreamInterrupted,
    ThreeModeError,
)
from three_mode.grpc_messages import a2a_pb2 as pb
from transports.http2 import PoolOptions

WORKING = pb.TaskStatus(state=pb.TASK_STATE_WORKING)
TASK = pb.StreamResponse(task=pb.Task(id="t", context_id="c", status=WORKING)).SerializeToString()
PIECE = pb.StreamResponse(
    artifact_update=pb.TaskArtifactUpdateEvent(
        task_id="t", append=True, artifact=pb.Artifact(artifact_id="a", parts=[pb.Part(text="x" * 10_000)])
    )
).SerializeToString()
Answer = Callable[[bytes, Any], AsyncIterator[bytes]]


async def hangs(message: bytes, context: Any) -> AsyncIterator[bytes]:
    await asyncio.sleep(60)
    yield b""


async def begins_and_hangs(message: bytes, context: Any) -> AsyncIterator[bytes]:
    yield TASK
    await asyncio.sleep(60)


async def ends_early(message: bytes, context: Any) -> AsyncIterator[bytes]:
    yield TASK


async def begins_and_fails(message: bytes, context: Any) -> AsyncIterator[bytes]:
    yield TASK
    await context.abort(grpc.StatusCode.UNAVAILABLE, "going down")


async def says_nothing(message: bytes, context: Any) -> AsyncIterator[bytes]:
    for _ in range(0):
        yield b""


async def garbage(message: bytes, context: Any) -> AsyncIterator[bytes]:
    yield b"\xff\xff"


async def empty_events(message: bytes, context: Any) -> AsyncIterator[bytes]:
    yield b""


async def a_task_without_a_status(message: bytes, context: Any) -> AsyncIterator[bytes]:
    yield pb.StreamResponse(task=pb.Task(id="t")).SerializeToString()


async def floods(message: bytes, context: Any) -> AsyncIterator[bytes]:
    yield TASK
    for _ in range(100):
        yield PIECE
    await asyncio.sleep(60)


async def one_that_is_too_long(message: bytes, context: Any) -> AsyncIterator[bytes]:
    yield PIECE * 20


async def refuses(message: bytes, context: Any) -> AsyncIterator[bytes]:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
    yield b""


async def refuses_the_message(message: bytes, context: Any) -> AsyncIterator[bytes]:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")
    yield b""


async def nothing(server: Hostile, method: str, writer: asyncio.StreamWriter) -> None:
    """The answer over HTTP, where its card alone is."""


@asynccontextmanager
async def serving(answer: Answer, cancelled: list[bytes]) -> AsyncIterator[str]:
    """The URL of an agent that streams so."""

    async def cancel(message: bytes, context: Any) -> bytes:
        cancelled.append(message)
        canceled = pb.TaskStatus(state=pb.TASK_STATE_CANCELED)
        return bytes(pb.Task(id="t", status=canceled).SerializeToString())

    methods = {
        "SendStreamingMessage": grpc.unary_stream_rpc_method_handler(answer),
        "CancelTask": grpc.unary_unary_rpc_method_handler(cancel),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with hostile(nothing, interface=f"127.0.0.1:{port}", binding="GRPC") as found:
        try:
            yield found.url
        finally:
            await server.stop(0)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (hangs, DeadlineExceeded),
        (begins_and_hangs, DeadlineExceeded),
        (ends_early, StreamInterrupted),
        (begins_and_fails, StreamInterrupted),
        (says_nothing, StreamInterrupted),
        (garbage, BadReply),
        (empty_events, BadReply),
        (a_task_without_a_status, BadReply),
        (floods, ReplyTooLarge),
        (one_that_is_too_long, ReplyTooLarge),
        (refuses, AuthenticationError),
        (refuses_the_message, InvalidRequest),
    ],
)
async def test_a_server_that_hangs_or_dies(answer: Answer, error: type[ThreeModeError]) -> None:
    options = A2AClientOptions(reply_bytes=100_000, pool=PoolOptions(trust_env=False))
    async with serving(answer, []) as url, A2AClient(url, options=options) as client:
        with pytest.raises(error):
            await client.send("hello", within=1.5)


async def test_a_task_that_nobody_waits_for_is_cancelled_there() -> None:
    cancelled: list[bytes] = []
    options = A2AClientOptions(pool=PoolOptions(trust_env=False))
    async with serving(begins_and_hangs, cancelled) as url, A2AClient(url, options=options) as client:
        async with client.stream("hello", within=30) as events:
            await anext(events)
        await until(lambda: bool(cancelled))
    assert pb.CancelTaskRequest.FromString(cancelled[0]).id == "t"


async def test_an_address_where_no_grpc_is() -> None:
    options = A2AClientOptions(pool=PoolOptions(trust_env=False))
    async with hostile(nothing, interface="127.0.0.1:1", binding="GRPC") as found:
        async with A2AClient(found.url, options=options) as client:
            with pytest.raises(ConnectionFailed):
                await client.send("hello", within=5)
    async with hostile(nothing, interface="http://[", binding="GRPC") as found:
        async with A2AClient(found.url, options=options) as client:
            with pytest.raises(BadReply, match="no URL"):
                await client.card()


@pytest.mark.parametrize("scheme", ["grpc+unix", "GRPC+Unix"])
async def test_a_card_leads_to_no_socket_of_this_machine(tmp_path: Path, scheme: str) -> None:
    accepted: list[bool] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(True)
        writer.close()

    path = tmp_path / "x.sock"
    options = A2AClientOptions(pool=PoolOptions(trust_env=False))
    async with (
        await asyncio.start_unix_server(accept, path),
        hostile(nothing, interface=f"{scheme}://{path}", binding="GRPC") as found,
        A2AClient(found.url, options=options) as client,
    ):
        with pytest.raises(BadReply, match="a socket of this machine"):
            await client.send("hello", within=5)
    assert not accepted


async def test_what_grpc_cannot_hold_is_refused_before_it_is_sent() -> None:
    options = A2AClientOptions(pool=PoolOptions(trust_env=False))
    async with serving(hangs, []) as url, A2AClient(url, options=options) as client:
        with pytest.raises(InvalidRequest, match="cannot be sent"):
            await client.send("\ud800", within=5)


async def test_another_machine_is_not_called_in_the_clear_where_its_card_came_by_tls() -> None:
    from three_mode.a2a.card import AgentInterface
    from three_mode.a2a.grpc_caller import GrpcCaller, address_of

    assert address_of("agents.example:50051", "https://agents.example/a2a/x") == "grpcs://agents.example:50051"
    assert address_of("agents.example:50051", "http://agents.example/a2a/x") == "grpc://agents.example:50051"
    assert address_of("https://agents.example", "http://x/") == "grpcs://agents.example:443"
    assert address_of("grpc+unix:///run/a.sock", "http://x/") == "grpc+unix:///run/a.sock"
    interface = AgentInterface(url="grpc://agents.example:1", protocol_binding="GRPC")
    with pytest.raises(ConfigurationError, match="readable"):
        GrpcCaller(A2AClient("https://agents.example"), interface, (), insecure=False)
