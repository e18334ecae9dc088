"""For those who run the endpoint: `/health`, which is `/healthz` too, and `/metrics`."""

from collections.abc import Sequence

from three_mode.serve.asgi import AsgiExchange
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.routes import PathRoute

_TEXT = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)


class OperationsSurface:
    """Health and metrics of one endpoint."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint

    def routes(self) -> Sequence[PathRoute]:
        health = (PathRoute("GET", path, self._health, public=True) for path in ("/health", "/healthz"))
        return *health, PathRoute("GET", "/metrics", self._metrics)

    async def _health(self, exchange: AsgiExchange) -> str:
        draining = self._endpoint.draining
        await exchange.answer(503 if draining else 200, b'{"status":"draining"}' if draining else b'{"status":"ok"}')
        return ""

    async def _metrics(self, exchange: AsgiExchange) -> str:
        events = self._endpoint.events
        await exchange.answer(200, self._endpoint.metrics.text(len(events), events.dropped), _TEXT)
        return ""
