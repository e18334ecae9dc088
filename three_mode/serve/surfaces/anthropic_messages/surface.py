"""Requests of Anthropic's Messages API, answered by whatever the endpoint hands out."""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from three_mode.errors import DeadlineExceeded, ThreeModeError
from three_mode.messages import LLMResponse
from three_mode.serve.asgi import AsgiExchange, Header
from three_mode.serve.asked_as import new_name
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.intake import Intake
from three_mode.serve.routes import AskedWhole, PathRoute, no_such_path
from three_mode.serve.surfaces.anthropic_messages.body import MessagesQuestion, read_messages
from three_mode.serve.surfaces.anthropic_messages.events import EventWriter
from three_mode.serve.surfaces.anthropic_messages.refusals import anthropic_fault
from three_mode.serve.surfaces.anthropic_messages.reply import message
from three_mode.serve.wire_in import STREAMED

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"


class MessagesSurface:
    """Messages of one endpoint. A request to one of its paths is refused in its shape, whatever the reason."""

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake

    def routes(self) -> Sequence[PathRoute]:
        return (
            PathRoute(
                "POST",
                MESSAGES,
                self._intake.whole(self._create),
                refused_as=anthropic_fault,
                read_whole=read_whole,
            ),
            PathRoute("POST", COUNT, self._intake.whole(self._count), refused_as=anthropic_fault),
            PathRoute("", MESSAGES + "/", no_such_path, refused_as=anthropic_fault),
        )

    async def _create(self, exchange: AsgiExchange, body: bytes, within: float) -> str:
        asked = await self._intake.read(read_messages, body, within)
        chat, model = self._endpoint.chat, asked.request.model or ""
        assert chat is not None
        number, request_id = _new_number()
        exchange.always = (*exchange.always, request_id)
        if asked.stream:
            await chat.streamed(
                exchange,
                asked.request,
                lambda known: EventWriter(known, model, asked.shows_thinking, asked.sent),
                number,
            )
        else:
            await chat.whole(exchange, asked.request, partial(_written, asked), number)
        return model

    async def _count(self, exchange: AsgiExchange, body: bytes, within: float) -> str:
        """The tokens of a request: exact where whoever answers can count, else about as many."""
        request = (await self._intake.read(read_messages, body, within)).request
        exchange.model = request.model or ""
        try:
            with exchange.while_connected():
                async with asyncio.timeout(within):
                    found = await self._endpoint.count(request)
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            raise DeadlineExceeded(f"the tokens were not counted within {within:g} s") from None
        said = {"input_tokens": found.tokens, "three_mode": {"exact": found.exact}}
        await exchange.answer(200, msgspec.json.encode(said))
        return request.model or ""


def read_whole(body: bytes, within: float, most_messages: int) -> AskedWhole | None:
    """A request for an answer that is not streamed."""
    if STREAMED.search(body):
        return None
    asked = read_messages(body, within, most_messages)
    if asked.stream:
        return None
    number, request_id = _new_number()
    return AskedWhole(asked.request, partial(_written, asked), number, (request_id,))


def _new_number() -> tuple[str, Header]:
    """The number of an answer, and the header that says it."""
    number = new_name("msg_", 24)
    return number, (b"request-id", number.encode())


def _written(asked: MessagesQuestion, response: LLMResponse, number: str) -> bytes:
    return message(response, number, asked.shows_thinking, asked.sent)
