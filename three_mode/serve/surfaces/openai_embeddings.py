"""OpenAI's embeddings: `/v1/embeddings`."""

from collections.abc import Sequence

from three_mode.serve import wire_in, wire_out
from three_mode.serve.asgi import AsgiExchange
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.intake import Intake
from three_mode.serve.routes import PathRoute


class EmbeddingsSurface:
    """Embeddings of one endpoint."""

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake

    def routes(self) -> Sequence[PathRoute]:
        return (PathRoute("POST", "/v1/embeddings", self._intake.whole(self._answer)),)

    async def _answer(self, exchange: AsgiExchange, body: bytes, within: float) -> str:
        asked, as_base64 = wire_in.read_embeddings(body, within)
        model = exchange.model = asked.model or ""
        with exchange.while_connected():
            embedded = await self._endpoint.embed(asked)
        self._endpoint.metrics.used(model, embedded.usage)
        await exchange.answer(200, wire_out.embeddings(embedded, as_base64))
        return model
