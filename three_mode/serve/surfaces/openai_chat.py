"""OpenAI's chat completions: `/v1/chat/completions`, whole and streamed."""

from collections.abc import Sequence

from three_mode.serve import wire_in
from three_mode.serve.asgi import AsgiExchange
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.intake import Intake
from three_mode.serve.routes import PathRoute


class ChatSurface:
    """Chat completions of one endpoint."""

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake

    def routes(self) -> Sequence[PathRoute]:
        return (PathRoute("POST", "/v1/chat/completions", self._intake.whole(self._answer)),)

    async def _answer(self, exchange: AsgiExchange, body: bytes, within: float) -> str:
        asked = await self._intake.read(wire_in.read_chat, body, within)
        chat = self._endpoint.chat
        assert chat is not None
        await (chat.stream if asked.stream else chat.complete)(exchange, asked)
        return asked.request.model or ""
