"""Conversations that are kept, where the backend keeps some: `/v1/conversations`."""

import asyncio
from collections.abc import Sequence

import msgspec

from three_mode.errors import DeadlineExceeded, ThreeModeError
from three_mode.serve.asgi import AsgiExchange, Refused
from three_mode.serve.conversations import PATH, ConversationBackend, answer
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.faults import fault
from three_mode.serve.intake import Intake
from three_mode.serve.routes import PathRoute


class ConversationsSurface:
    """Conversations of one endpoint."""

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake

    def routes(self) -> Sequence[PathRoute]:
        return PathRoute("", PATH, self._answer), PathRoute("", PATH + "/", self._answer)

    async def _answer(self, exchange: AsgiExchange) -> str:
        self._endpoint.admit()
        talks = self._endpoint.backend
        if not isinstance(talks, ConversationBackend):
            raise Refused(fault(404, "this endpoint keeps no conversations (--talks FILE)", "no_such_path"))
        within = self._intake.within(exchange)
        body = await self._intake.body(exchange, within) if exchange.method == "POST" else b""
        try:
            async with asyncio.timeout(within):
                found = await answer(talks, exchange.method, exchange.path, exchange.query, body)
        except LookupError:
            raise Refused(fault(404, "no such path or method of conversations", "no_such_path")) from None
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            raise DeadlineExceeded(f"the conversation was not free within {within:g} s") from None
        await exchange.answer(200, msgspec.json.encode(found))
        return ""
