"""Messages of gRPC and of MCP, alone and in a session."""

import math
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from tests.fuzz.loop import run, turns
from tests.fuzz.pieces import cut, parts
from tests.fuzz.target import Target
from tests.fuzz.targets.endpoint import Headers, asked
from three_mode.a2a import protobuf as a2a
from three_mode.a2a import rpc as a2a_rpc
from three_mode.errors import InvalidRequest
from three_mode.grpc_messages import convert
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.grpc_messages.errors import read_error
from three_mode.mcp.client.content import content_of
from three_mode.mcp.offered import SeveralSources
from three_mode.mcp.rpc import (
    RpcAnswer,
    RpcFailure,
    RpcNotification,
    RpcRequest,
    read_message,
    write_failure,
    write_notification,
    write_request,
    write_result,
)
from three_mode.mcp.server import McpServer
from three_mode.mcp.stdio_server import StdioServer
from transports.grpc import (
    GrpcError,
    GrpcStatus,
    Unframer,
    frame,
    read_binary,
    read_timeout,
    write_binary,
    write_timeout,
)
from transports.grpc import read_message as read_text
from transports.grpc import write_message as write_text

MOST = 4_096  # bytes of a message of gRPC
ENCODINGS = (b"identity", b"gzip", b"deflate")
PATHS = (
    "/three_mode.v1.LLMService/ChatCompletion",
    "/three_mode.v1.LLMService/StreamingChat",
    "/three_mode.v1.LLMService/Embed",
    "/three_mode.v1.LLMService/Converse",
    "/three_mode.v1.LLMService/ListModels",
    "/lf.a2a.v1.A2AService/SendMessage",
    "/lf.a2a.v1.A2AService/ListTasks",
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/three_mode.v1.AgentService/Ask",
)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def framing(data: bytes) -> None:
    """Messages behind each other, however they are cut and packed; and the values of metadata."""
    if not data:
        return
    encoding = ENCODINGS[data[0] % 3]
    whole, pieces = cut(data)
    found = _unframed([whole], encoding)
    assert _unframed(pieces, encoding) == found, "another cut gives other messages"
    for message in found[0]:
        assert len(message) <= MOST
        for each in ENCODINGS:
            assert Unframer(each, MOST).feed(frame(message, each)) == [message]
    assert read_text(write_text(whole.decode("utf-8", "replace"))) == whole.decode("utf-8", "replace")
    assert read_binary(write_binary(whole)) == whole
    read_text(whole)
    try:
        read_binary(whole)
    except ValueError as error:
        assert str(error)
    try:
        seconds = read_timeout(whole)
    except GrpcError as error:
        assert error.status is GrpcStatus.INVALID_ARGUMENT
    else:
        assert read_timeout(write_timeout(seconds)) >= seconds * (1 - 1e-9)
    read_error(GrpcStatus.INTERNAL, "it failed", whole)


def _unframed(pieces: list[bytes], encoding: bytes) -> tuple[list[bytes], str]:
    unframer, found = Unframer(encoding, MOST), []
    try:
        for piece in pieces:
            found += unframer.feed(piece)
        unframer.end()
    except GrpcError as error:
        return [], error.status.name
    return found, ""


_READ: tuple[tuple[Any, Any, Any], ...] = (
    (pb.ChatRequest, convert.read_request, convert.write_request),
    (pb.Message, convert.read_message, convert.write_message),
    (pb.EmbedRequest, convert.read_embed_request, convert.write_embed_request),
    (pb.ChatResponse, convert.read_response, convert.write_response),
    (pb.ChatChunk, convert.read_chunk, convert.write_chunk),
    (pb.EmbedResponse, convert.read_embedded, convert.write_embedded),
    (pb.ToolResult, convert.read_tool_result, convert.write_tool_result),
)


def messages(data: bytes) -> None:
    """The first byte says which message it is; a value that is read is written as a message that says the same."""
    if not data:
        return
    kind, read, write = _READ[data[0] % len(_READ)]
    try:
        message = kind.FromString(data[1:])
    except DecodeError:
        return
    try:
        value = read(message)
    except InvalidRequest as error:
        assert str(error)
        return
    again = read(kind.FromString(write(value).SerializeToString()))
    assert again == value or _holds_nan(value), f"{again} instead of {value}"


def _holds_nan(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, msgspec.Struct):
        return any(_holds_nan(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, dict):
        return any(map(_holds_nan, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_nan, value))


def a2a_messages(data: bytes) -> None:
    """Messages of A2A over gRPC: requests, and answers at a client."""
    if not data:
        return
    method = sorted(a2a.MESSAGES)[data[0] % len(a2a.MESSAGES)]
    takes, _ = a2a.MESSAGES[method]
    try:
        message = takes.FromString(data[1:])
    except DecodeError:
        return
    try:
        value = a2a.read(message, a2a_rpc.PARAMETERS[method])
    except msgspec.ValidationError as error:
        assert str(error)
        return
    written = a2a.write_call(method, value)
    assert a2a.read(takes.FromString(written), a2a_rpc.PARAMETERS[method]) == value or _holds_nan(value)


def calls(data: bytes) -> None:
    """A call of gRPC to the endpoint: the first byte says which method and how its message is packed."""
    if not data:
        return
    path, encoding = PATHS[data[0] % len(PATHS)], ENCODINGS[data[0] // len(PATHS) % 3]
    body = data[1:] if data[0] > 200 else b"".join(frame(part, encoding) for part in parts(data[1:], 4))
    headers: Headers = (
        (b"content-type", b"application/grpc"),
        (b"grpc-encoding", encoding),
        (b"grpc-timeout", b"2S"),
        (b"te", b"trailers"),
    )
    answered = run(asked(path, body, headers))
    assert answered.status == 200
    unframer = Unframer(b"identity")
    unframer.feed(answered.body)
    unframer.end()
    if answered.trailers:
        status = GrpcStatus(int(answered.trailers[b"grpc-status"]))
        said = read_text(answered.trailers.get(b"grpc-message", b""))
        assert status is not GrpcStatus.UNKNOWN, said
        assert "unforeseen" not in said, said


def mcp_messages(data: bytes) -> None:
    """A message of MCP is read or refused, and one that was read is written as one that says the same."""
    try:
        message = read_message(data)
    except RpcFailure as failure:
        assert failure.message
        again = read_message(write_failure(failure))
        assert isinstance(again, RpcAnswer)
        assert again.failure is not None
        assert (again.failure.code, again.failure.message) == (failure.code, failure.message)
        return
    if isinstance(message, RpcRequest):
        assert read_message(write_request(message.id, message.method, message.params)) == message
    elif isinstance(message, RpcNotification):
        assert read_message(write_notification(message.method, message.params)) == message
    elif message.result is not None:
        assert message.id is None or read_message(write_result(message.id, message.result)) == message
        try:
            content_of(message.result)
        except msgspec.ValidationError as error:
            assert str(error)


def mcp_session(data: bytes) -> None:
    """Lines of a client of `three-mode mcp`: each answer is a line with a message, and none comes twice."""
    said: list[bytes] = []

    async def session() -> None:
        _, pieces = cut(data)

        async def read(_: int) -> bytes:
            await turns(2)
            return pieces.pop(0) if pieces else b""

        async def write(line: bytes) -> None:
            said.append(line)

        await StdioServer(McpServer(SeveralSources([])), read, write, 1.0).run()

    run(session())
    for line in said:
        assert line.endswith(b"\n")
        assert b"\n" not in line[:-1]
        read_message(line)


TARGETS = (
    Target(name="grpc_framing", run=framing, lines_a_byte=1_000),
    Target(name="grpc_messages", run=messages),
    Target(name="grpc_a2a_messages", run=a2a_messages),
    Target(name="grpc_calls", run=calls, lines=400_000, lines_a_byte=4_000, memory=64 << 20),
    Target(name="mcp_messages", run=mcp_messages, shape="json"),
    Target(name="mcp_session", run=mcp_session, lines=300_000, lines_a_byte=4_000),
)
