"""OpenAI's chat completions: `/v1/chat/completions`, whole and streamed."""

from collections.abc import Sequence
from functools import partial

from three_mode.serve import wire_in, wire_out
from three_mode.serve.asgi import AsgiExchange
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.intake import Intake
from three_mode.serve.routes import AskedWhole, PathRoute

PATH = "/v1/chat/completions"


class ChatSurface:
    """Chat completions of one endpoint."""

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake

    def routes(self) -> Sequence[PathRoute]:
        return (PathRoute("POST", PATH, self._intake.whole(self._answer), read_whole=read_whole),)

    async def _answer(self, exchange: AsgiExchange, body: bytes, within: float) -> str:
        asked = await self._intake.read(wire_in.read_chat, body, within)
        chat = self._endpoint.chat
        assert chat is not None
        await (chat.stream if asked.stream else chat.complete)(exchange, asked)
        return asked.request.model or ""


def read_whole(body: bytes, within: float, most_messages: int) -> AskedWhole | None:
    """A request for one answer that is not streamed."""
    if wire_in.STREAMED.search(body):
        return None
    asked = wire_in.read_chat(body, within, most_messages)
    if asked.stream or asked.n > 1:
        return None
    return AskedWhole(
        asked.request, partial(wire_out.completion, asked=asked.sent) if asked.sent else wire_out.completion
    )
