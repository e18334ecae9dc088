"""Requests of OpenAI's text completions, answered by whatever the endpoint hands out.

One answer is passed on as it comes. Several, of several prompts or of `n`, are calls side by side; their chunks are
mixed as they come, each with its number.
"""

import time
from collections.abc import Sequence
from functools import partial
from secrets import token_hex

from three_mode.serve import several
from three_mode.serve.asgi import AsgiExchange
from three_mode.serve.asked_as import KnownAs
from three_mode.serve.backend import ChatBackend
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.intake import Intake
from three_mode.serve.routes import PathRoute
from three_mode.serve.surfaces.openai_completions.body import CompletionsQuestion, read_completions
from three_mode.serve.surfaces.openai_completions.reply import (
    SeveralTextsWriter,
    TextChunkWriter,
    summed,
    text_completion,
)


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
            source = several.SeveralStreams(self._backend, asked.requests)
            await chat.streamed(exchange, asked.requests[0], partial(self._several_writer, asked), number, source)
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
            asked=asked.sent,
        )

    async def _whole(self, exchange: AsgiExchange, asked: CompletionsQuestion, number: str) -> None:
        model = exchange.model = asked.model
        with KnownAs(self._endpoint.events, model, number), exchange.while_connected():
            replies = await several.answers(self._backend, asked.requests)
        self._endpoint.metrics.used(model, summed([reply.usage for reply in replies], asked.choices))
        echoed = [asked.echoed(index) for index in range(len(replies))]
        await exchange.answer(200, text_completion(replies, echoed, asked.choices, number, asked.sent))

    def _several_writer(self, asked: CompletionsQuestion, number: str) -> SeveralTextsWriter:
        writers = [self._writer(asked, number, index) for index in range(len(asked.requests))]
        return SeveralTextsWriter(writers, asked.choices, asked.include_usage)

    @property
    def _backend(self) -> ChatBackend:
        told = self._endpoint.told
        assert told is not None
        return told
