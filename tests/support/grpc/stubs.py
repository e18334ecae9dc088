"""Clients of grpcio for the endpoint's services, as their generated stubs would be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from three_mode.grpc_messages import agents_pb2, llm_pb2

LLM, AGENTS = "three_mode.v1.LLMService", "three_mode.v1.AgentService"
METHODS: dict[str, tuple[str, str, Any, Any]] = {
    "ChatCompletion": (LLM, "unary_unary", llm_pb2.ChatRequest, llm_pb2.ChatResponse),
    "StreamingChat": (LLM, "unary_stream", llm_pb2.ChatRequest, llm_pb2.ChatChunk),
    "Converse": (LLM, "stream_stream", llm_pb2.ConverseInput, llm_pb2.ConverseOutput),
    "Embed": (LLM, "unary_unary", llm_pb2.EmbedRequest, llm_pb2.EmbedResponse),
    "ListModels": (LLM, "unary_unary", llm_pb2.ListModelsRequest, llm_pb2.ListModelsResponse),
    "Ask": (AGENTS, "unary_unary", agents_pb2.AskRequest, agents_pb2.AskReply),
    "Stream": (AGENTS, "unary_stream", agents_pb2.AskRequest, agents_pb2.AskReply),
    "Tell": (AGENTS, "unary_unary", agents_pb2.AskRequest, agents_pb2.TellReply),
    "Broadcast": (AGENTS, "unary_unary", agents_pb2.BroadcastRequest, agents_pb2.BroadcastReply),
}


class Stub:
    """One method of each name; of `grpc` or `grpc.aio`, as the channel is."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        service, kind, asked, answered = METHODS[name]
        return getattr(self._channel, kind)(
            f"/{service}/{name}",
            request_serializer=asked.SerializeToString,
            response_deserializer=answered.FromString,
        )


async def end_of(call: Any) -> tuple[grpc.StatusCode, str, int]:
    """The code and text that a streamed call ends with, and how many messages came before."""
    count = 0
    try:
        async for _ in call:
            count += 1
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or "", count
    return await call.code(), "", count


@asynccontextmanager
async def stub(url: str) -> AsyncIterator[Stub]:
    """A stub of grpc.aio for an endpoint without TLS."""
    async with grpc.aio.insecure_channel(url.removeprefix("http://")) as channel:
        yield Stub(channel)


def chat(model: str, text: str = "good day", **fields: Any) -> llm_pb2.ChatRequest:
    """A request of one message."""
    return llm_pb2.ChatRequest(model=model, messages=[llm_pb2.Message(role="user", content=text)], **fields)
