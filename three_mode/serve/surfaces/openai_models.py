"""What can be asked: `/v1/models`, and each model of them."""

import time
from collections.abc import Sequence

from three_mode.serve import wire_out
from three_mode.serve.asgi import AsgiExchange
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.model_rule import unknown_model
from three_mode.serve.routes import PathRoute

PATH = "/v1/models"


class ModelsSurface:
    """Models of one endpoint."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint
        self._started = int(time.time())

    def routes(self) -> Sequence[PathRoute]:
        return PathRoute("GET", PATH, self._list), PathRoute("GET", PATH + "/", self._one)

    async def _list(self, exchange: AsgiExchange) -> str:
        await exchange.answer(200, wire_out.models(await self._endpoint.models(), self._started))
        return ""

    async def _one(self, exchange: AsgiExchange) -> str:
        name = exchange.path.removeprefix(PATH + "/")
        found = next((model for model in await self._endpoint.models() if model.id == name), None)
        if found is None:
            raise unknown_model(name)
        await exchange.answer(200, wire_out.model(found, self._started))
        return ""
