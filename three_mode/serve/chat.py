"""`/v1/chat/completions`: one answer, whole or streamed, told to whoever watches."""

import asyncio
import time
from itertools import count
from secrets import token_hex

from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, Finish, Usage, UsageUpdate
from three_mode.serve import faults, wire_out
from three_mode.serve.asgi import EVENTS, AsgiExchange
from three_mode.serve.backend import Backend, ChunkStream
from three_mode.serve.events import RESPONSE_CHUNK, RESPONSE_COMPLETE, RESPONSE_START, EventHub
from three_mode.serve.metrics import EndpointMetrics
from three_mode.serve.watching import Disconnected
from three_mode.serve.wire_in import ChatQuestion

UNREAD = 1.0  # seconds after its deadline for which a stream keeps its place where its client does not read


class Chat:
    """Answers chat requests."""

    def __init__(self, backend: Backend, events: EventHub, metrics: EndpointMetrics) -> None:
        self._backend, self._events, self._metrics = backend, events, metrics

    async def complete(self, exchange: AsgiExchange, asked: ChatQuestion) -> None:
        number, started = _number(), time.perf_counter()
        model = asked.request.model or ""
        self._events.publish(RESPONSE_START, request_id=number, model=model)
        used = Usage()
        try:
            with exchange.while_connected():
                response = await self._backend.chat_completion(asked.request)
            used = response.usage
            self._metrics.used(model, used)
            await exchange.answer(200, wire_out.completion(response, number))
        except (ThreeModeError, Disconnected) as error:
            self._complete(number, model, started, used, error)
            raise
        self._complete(number, model, started, used)

    async def stream(self, exchange: AsgiExchange, asked: ChatQuestion) -> None:
        """The status goes out with the first chunk: a request that fails before has the status of its error."""
        number, started = _number(), time.perf_counter()
        model = asked.request.model or ""
        writer = wire_out.ChunkWriter(number, model, int(time.time()), asked.include_usage)
        self._events.publish(RESPONSE_START, request_id=number, model=model)
        used = Usage()
        try:
            assert asked.request.within is not None  # the caller's deadline, or the endpoint's
            async with asyncio.timeout(asked.request.within + UNREAD):
                try:
                    with exchange.while_connected():
                        async with self._backend.stream(asked.request) as chunks:
                            used = await self._pass_on(exchange, chunks, writer, number)
                except ThreeModeError as error:
                    self._complete(number, model, started, used, error)
                    if exchange.status == 0:
                        raise
                    await exchange.end(faults.event(error))
                    return
                self._metrics.used(model, used)
                await exchange.end()
        except Disconnected as error:
            self._complete(number, model, started, used, error)
            raise
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            unread = Disconnected("the client did not read its answer")
            self._complete(number, model, started, used, unread)
            raise unread from None
        self._complete(number, model, started, used)

    async def _pass_on(
        self, exchange: AsgiExchange, chunks: ChunkStream, writer: wire_out.ChunkWriter, number: str
    ) -> Usage:
        used = Usage()
        async for chunk in chunks:
            if exchange.status == 0:
                await exchange.begin(EVENTS)
                await exchange.write(writer.first())
            data = writer.write(chunk)
            if data:
                await exchange.write(data)
            if chunk.text:
                self._events.publish(RESPONSE_CHUNK, request_id=number, text=chunk.text)
            used = _usage(chunk, used)
            if isinstance(chunk, Finish):
                break
        return used

    def _complete(
        self, number: str, model: str, started: float, used: Usage, error: BaseException | None = None
    ) -> None:
        if not self._events:
            return
        said = {"error": type(error).__name__} if error else {}
        self._events.publish(
            RESPONSE_COMPLETE,
            request_id=number,
            model=model,
            latency=time.perf_counter() - started,
            usage=wire_out.usage(used),
            **said,
        )


def _usage(chunk: Chunk, before: Usage) -> Usage:
    return chunk.usage if isinstance(chunk, UsageUpdate) else before


# It names a request and guards nothing: a name of this process, and a number.
_PROCESS, _numbers = f"chatcmpl-{token_hex(12)}", count(1)


def _number() -> str:
    return f"{_PROCESS}{next(_numbers):08x}"
