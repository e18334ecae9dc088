"""Requests of OpenAI's text completions, answered by whatever the endpoint hands out.

One answer is passed on as it comes. Several, of several prompts or of `n`, are calls side by side; their chunks are
mixed as they come, each with its number.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from secrets import token_hex
from typing import Any, TypeVar

from three_mode.errors import ThreeModeError
from three_mode.messages import Finish, LLMRequest
from three_mode.serve.asgi import EVENTS, AsgiExchange
from three_mode.serve.asked_as import KnownAs
from three_mode.serve.backend import ChatBackend
from three_mode.serve.chat import UNREAD
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.intake import Intake
from three_mode.serve.routes import PathRoute
from three_mode.serve.surfaces.openai_completions.body import CompletionsQuestion, read_completions
from three_mode.serve.surfaces.openai_completions.reply import TextChunkWriter, summed, text_completion
from three_mode.serve.watching import Disconnected
from three_mode.serve.wire_out import DONE

Result = TypeVar("Result")
_WAITING = 64  # events that wait for a slow client, before the models wait too


class CompletionsSurface:
    """Text completions of one endpoint."""

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake

    def routes(self) -> Sequence[PathRoute]:
        return (PathRoute("POST", "/v1/completions", self._intake.whole(self._answer)),)

    async def _answer(self, exchange: AsgiExchange, body: bytes, within: float) -> str:
        asked = await self._intake.read(read_completions, body, within)
        number, chat = f"cmpl-{token_hex(12)}", self._endpoint.chat
        assert chat is not None
        if asked.stream and len(asked.requests) == 1:
            await chat.streamed(exchange, asked.requests[0], partial(self._writer, asked), number)
        elif asked.stream:
            await self._stream_several(exchange, asked, number, within)
        else:
            await self._whole(exchange, asked, number)
        return asked.model

    def _writer(self, asked: CompletionsQuestion, number: str, index: int = 0) -> TextChunkWriter:
        return TextChunkWriter(
            number,
            asked.model,
            int(time.time()),
            index=index,
            echoed=asked.echoed(index),
            include_usage=asked.include_usage,
        )

    async def _whole(self, exchange: AsgiExchange, asked: CompletionsQuestion, number: str) -> None:
        with KnownAs(self._endpoint.events, asked.model, number), exchange.while_connected():
            replies = await _all_of([self._backend.chat_completion(request) for request in asked.requests])
        self._endpoint.metrics.used(asked.model, summed([reply.usage for reply in replies], asked.choices))
        echoed = [asked.echoed(index) for index in range(len(replies))]
        await exchange.answer(200, text_completion(replies, echoed, asked.choices, number))

    async def _stream_several(
        self, exchange: AsgiExchange, asked: CompletionsQuestion, number: str, within: float
    ) -> None:
        writers = [self._writer(asked, number, index) for index in range(len(asked.requests))]
        events: asyncio.Queue[bytes | Exception] = asyncio.Queue(_WAITING)
        try:
            async with asyncio.timeout(within + UNREAD):
                with KnownAs(self._endpoint.events, asked.model, number), exchange.while_connected():
                    await self._mixed(exchange, asked, writers, events)
                used = summed([writer.used for writer in writers], asked.choices)
                self._endpoint.metrics.used(asked.model, used)
                await exchange.end((writers[0].totals(used) if asked.include_usage else b"") + DONE)
        except ThreeModeError as error:
            if exchange.status == 0:
                raise
            await exchange.end(writers[0].broken(error))
        except TimeoutError:
            raise Disconnected("the client did not read its answer") from None

    async def _mixed(
        self,
        exchange: AsgiExchange,
        asked: CompletionsQuestion,
        writers: Sequence[TextChunkWriter],
        events: "asyncio.Queue[bytes | Exception]",
    ) -> None:
        """Writes the events of all answers as they come; raises the error of one that failed."""

        async def work() -> None:
            try:
                await _all_of([self._passed(*each, events) for each in zip(asked.requests, writers, strict=True)])
            except Exception as error:  # noqa: BLE001  # it is raised where the events are written
                await events.put(error)
            else:
                await events.put(b"")

        working = asyncio.ensure_future(work())
        try:
            while event := await events.get():
                if isinstance(event, Exception):
                    raise event
                if exchange.status == 0:
                    await exchange.begin(EVENTS)
                await exchange.write(event)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _passed(
        self, request: LLMRequest, writer: TextChunkWriter, events: "asyncio.Queue[bytes | Exception]"
    ) -> None:
        """Passes on the chunks of one answer."""
        async with self._backend.stream(request) as chunks:
            begun = False
            async for chunk in chunks:
                data = b"" if begun else writer.first()
                begun = True
                data += writer.last(chunk) if isinstance(chunk, Finish) else writer.write(chunk)
                if data:
                    await events.put(data)
                if isinstance(chunk, Finish):
                    break

    @property
    def _backend(self) -> ChatBackend:
        told = self._endpoint.told
        assert told is not None
        return told


async def _all_of(calls: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results of calls side by side. The first failure ends the others."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
