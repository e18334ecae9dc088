"""Calls of `A2AService` by grpcio, as a client of another language makes them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from three_mode.a2a.protobuf import MESSAGES, SERVICE
from three_mode.grpc_messages import a2a_pb2 as pb

STREAMING = ("SendStreamingMessage", "SubscribeToTask")
PUSH = pb.TaskPushNotificationConfig, pb.TaskPushNotificationConfig
KNOWN = {
    **MESSAGES,
    "CreateTaskPushNotificationConfig": PUSH,
    "GetExtendedAgentCard": (pb.GetExtendedAgentCardRequest, pb.AgentCard),
}
Metadata = Sequence[tuple[str, str]]
VERSION: Metadata = (("a2a-version", "1.0"),)


class Calls:
    """Calls on one channel."""

    def __init__(self, channel: Any, metadata: Metadata) -> None:
        self._channel, self._metadata = channel, metadata

    def __getattr__(self, name: str) -> Any:
        asked, answered = KNOWN[name]
        kind = self._channel.unary_stream if name in STREAMING else self._channel.unary_unary
        method = kind(
            f"/{SERVICE}/{name}",
            request_serializer=asked.SerializeToString,
            response_deserializer=answered.FromString,
        )

        def call(metadata: Metadata | None = None, timeout: float = 30, **fields: Any) -> Any:
            return method(
                asked(**fields), metadata=tuple(self._metadata if metadata is None else metadata), timeout=timeout
            )

        return call


@asynccontextmanager
async def calls(url: str, *metadata: tuple[str, str]) -> AsyncIterator[Calls]:
    """Calls to an endpoint without TLS."""
    async with grpc.aio.insecure_channel(url.removeprefix("http://")) as channel:
        yield Calls(channel, (*VERSION, *metadata))


def said(text: str, **fields: Any) -> Any:
    """A message of the user."""
    return pb.Message(message_id="m", role=pb.ROLE_USER, parts=[pb.Part(text=text)], **fields)


async def refusal(call: Any) -> tuple[str, str, str]:
    """How a call is refused: its code, the name of the error, and the field that is wrong."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _end_of(call)
    error, reason, field = caught.value, "", ""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            said = status_pb2.Status.FromString(value)
            assert (said.code, said.message) == (error.code().value[0], error.details())
            for each in said.details:
                info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
                if each.Unpack(info):
                    reason = info.reason
                elif each.Unpack(bad):
                    field = bad.field_violations[0].field
    return error.code().name, reason, field


async def _end_of(call: Any) -> None:
    if hasattr(call, "__aiter__"):
        async for _ in call:
            pass
    else:
        await call
