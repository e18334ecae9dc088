"""Agent of the benchmark of gRPC: it repeats its prompt, and streams as many words as are asked for."""

import asyncio
from collections.abc import AsyncIterator

from benchmarks._grpc_server import WORD
from three_mode import Agent, LLMRequest, LLMResponse, Usage, handler
from three_mode.messages import Chunk, Finish, Start, Text, TextDelta

AT_ONCE = 1024
BATCH = 20


class Talker(Agent):
    """Agent that does so little that the call to it is measured."""

    @handler(concurrent=AT_ONCE)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text(request.messages[-1].text),), model="echo", usage=Usage(3, 4))

    @handler(concurrent=AT_ONCE)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        yield [Start(model="talker")]
        for number in range(request.max_tokens or 1):
            yield [TextDelta(WORD)]
            if not number % BATCH:
                await asyncio.sleep(0)
        yield [Finish()]
