"""One answer, whole or streamed: of `/v1/chat/completions`, and of other surfaces in their wire forms."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, Finish, LLMRequest, LLMResponse, Usage, UsageUpdate
from three_mode.serve import several, wire_out
from three_mode.serve.asgi import EVENTS, AsgiExchange
from three_mode.serve.asked_as import KnownAs
from three_mode.serve.backend import BatchingStream, ChatBackend, ChunkStream
from three_mode.serve.events import EventHub
from three_mode.serve.metrics import EndpointMetrics
from three_mode.serve.watching import Disconnected
from three_mode.serve.wire_in import ChatQuestion

UNREAD = 1.0  # seconds after its deadline for which a stream keeps its place where its client does not read


class AnswerWriter(Protocol):
    """Chunks of one answer as server-sent events of one surface."""

    def first(self) -> bytes: ...

    def write(self, chunk: Chunk) -> bytes: ...

    def broken(self, error: ThreeModeError) -> bytes:
        """The last event of an answer that broke off."""
        ...


class Chat:
    """Answers chat requests."""

    def __init__(self, backend: ChatBackend, events: EventHub, metrics: EndpointMetrics) -> None:
        self._backend, self._events, self._metrics = backend, events, metrics

    async def complete(self, exchange: AsgiExchange, asked: ChatQuestion) -> None:
        if asked.n > 1:
            await self._complete_several(exchange, asked)
            return
        await self.whole(
            exchange, asked.request, lambda response, number: wire_out.completion(response, number, asked.sent)
        )

    async def _complete_several(self, exchange: AsgiExchange, asked: ChatQuestion) -> None:
        model = exchange.model = asked.request.model or ""
        with KnownAs(self._events, model) as known, exchange.while_connected():
            responses = await several.answers(self._backend, several.requests(asked.request, asked.n))
        self._metrics.used(model, sum((response.usage for response in responses), Usage()))
        await exchange.answer(200, wire_out.completions(responses, known, asked.sent))

    async def stream(self, exchange: AsgiExchange, asked: ChatQuestion) -> None:
        model, created = asked.request.model or "", int(time.time())
        if asked.n > 1:
            await self.streamed(
                exchange,
                asked.request,
                lambda number: several.SeveralWriter(
                    asked.n, partial(wire_out.ChunkWriter, number, model, created, asked.include_usage, asked.sent)
                ),
                source=several.SeveralStreams(self._backend, several.requests(asked.request, asked.n)),
            )
            return
        await self.streamed(
            exchange,
            asked.request,
            lambda number: wire_out.ChunkWriter(number, model, created, asked.include_usage, asked.sent),
        )

    async def whole(
        self,
        exchange: AsgiExchange,
        request: LLMRequest,
        written: Callable[[LLMResponse, str], bytes],
        number: str | None = None,
        reply: Callable[[], Awaitable[LLMResponse]] | None = None,
    ) -> None:
        """`written` is the body of an answer and its number, which is a new one where None is given. `reply` is what is
        answered, in the place of the backend's."""
        model = exchange.model = request.model or ""
        with KnownAs(self._events, model, number) as known, exchange.while_connected():
            response = await (self._backend.chat_completion(request) if reply is None else reply())
        self._metrics.used(model, response.usage)
        await exchange.answer(200, written(response, known))

    async def streamed(
        self,
        exchange: AsgiExchange,
        request: LLMRequest,
        written: Callable[[str], AnswerWriter],
        number: str | None = None,
        source: ChunkStream | None = None,
    ) -> None:
        """The status goes out with the first chunk: a request that fails before has the status of its error. `source`
        has the chunks, in the place of the backend's answer."""
        model = exchange.model = request.model or ""
        with KnownAs(self._events, model, number) as known:
            writer = written(known)
            try:
                assert request.within is not None  # the caller's deadline, or the endpoint's
                async with asyncio.timeout(request.within + UNREAD):
                    try:
                        with exchange.while_connected():
                            async with source or self._backend.stream(request) as chunks:
                                used = await self._pass_on(exchange, chunks, writer)
                    except ThreeModeError as error:
                        if exchange.status == 0:
                            raise
                        await exchange.end(writer.broken(error))
                        return
                    self._metrics.used(model, used)
                    await exchange.end()
            except TimeoutError as error:
                if isinstance(error, ThreeModeError):
                    raise
                raise Disconnected("the client did not read its answer") from None

    async def _pass_on(self, exchange: AsgiExchange, chunks: ChunkStream, writer: AnswerWriter) -> Usage:
        """What has come by now goes out in one piece of the body: a burst of tokens costs little more than one."""
        used = Usage()
        async for batch in batches(chunks):
            events: list[bytes] = []
            if exchange.status == 0:
                await exchange.begin(EVENTS)
                events.append(writer.first())
            for chunk in batch:
                events.append(writer.write(chunk))
                used = usage_of(chunk, used)
                if isinstance(chunk, Finish):
                    break
            data = b"".join(events)
            if data:
                await exchange.write(data)
            if isinstance(chunk, Finish):
                break
        return used


async def batches(chunks: ChunkStream) -> AsyncIterator[Sequence[Chunk]]:
    """The chunks of a stream, as many at a time as have come; one at a time where the stream does not say."""
    if isinstance(chunks, BatchingStream):
        while batch := await chunks.batch():
            yield batch
    else:
        async for chunk in chunks:
            yield (chunk,)


def usage_of(chunk: Chunk, before: Usage) -> Usage:
    """The usage of a stream after a chunk."""
    return chunk.usage if isinstance(chunk, UsageUpdate) else before
