"""`/v1/chat/completions`: one answer, whole or streamed, told to whoever watches."""

import asyncio
import time

from three_mode.errors import ThreeModeError
from three_mode.messages import Finish
from three_mode.serve import faults, wire_out
from three_mode.serve.asgi import EVENTS, AsgiExchange
from three_mode.serve.backend import Backend, ChunkStream
from three_mode.serve.events import EventHub
from three_mode.serve.metrics import EndpointMetrics
from three_mode.serve.narration import Narration
from three_mode.serve.watching import Disconnected
from three_mode.serve.wire_in import ChatQuestion

UNREAD = 1.0  # seconds after its deadline for which a stream keeps its place where its client does not read


class Chat:
    """Answers chat requests."""

    def __init__(self, backend: Backend, events: EventHub, metrics: EndpointMetrics) -> None:
        self._backend, self._events, self._metrics = backend, events, metrics

    async def complete(self, exchange: AsgiExchange, asked: ChatQuestion) -> None:
        model = asked.request.model or ""
        told = Narration(self._events, model)
        try:
            with exchange.while_connected():
                response = await self._backend.chat_completion(asked.request)
            told.used = response.usage
            self._metrics.used(model, told.used)
            await exchange.answer(200, wire_out.completion(response, told.number))
        except (ThreeModeError, Disconnected) as error:
            told.end(error)
            raise
        told.end()

    async def stream(self, exchange: AsgiExchange, asked: ChatQuestion) -> None:
        """The status goes out with the first chunk: a request that fails before has the status of its error."""
        model = asked.request.model or ""
        told = Narration(self._events, model)
        writer = wire_out.ChunkWriter(told.number, model, int(time.time()), asked.include_usage)
        try:
            assert asked.request.within is not None  # the caller's deadline, or the endpoint's
            async with asyncio.timeout(asked.request.within + UNREAD):
                try:
                    with exchange.while_connected():
                        async with self._backend.stream(asked.request) as chunks:
                            await self._pass_on(exchange, chunks, writer, told)
                except ThreeModeError as error:
                    told.end(error)
                    if exchange.status == 0:
                        raise
                    await exchange.end(faults.event(error))
                    return
                self._metrics.used(model, told.used)
                await exchange.end()
        except Disconnected as error:
            told.end(error)
            raise
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            unread = Disconnected("the client did not read its answer")
            told.end(unread)
            raise unread from None
        told.end()

    async def _pass_on(
        self, exchange: AsgiExchange, chunks: ChunkStream, writer: wire_out.ChunkWriter, told: Narration
    ) -> None:
        async for chunk in chunks:
            if exchange.status == 0:
                await exchange.begin(EVENTS)
                await exchange.write(writer.first())
            data = writer.write(chunk)
            if data:
                await exchange.write(data)
            told.chunk(chunk)
            if isinstance(chunk, Finish):
                break
