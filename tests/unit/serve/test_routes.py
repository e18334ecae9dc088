"""Which path is answered by whom."""

import pytest

from three_mode.serve.asgi import AsgiExchange
from three_mode.serve.routes import PathRoute, Routes


async def answer(exchange: AsgiExchange) -> str:
    return exchange.path


ROUTES = Routes(
    [
        PathRoute("GET", "/v1/models", answer),
        PathRoute("", "/v1/", answer),
        PathRoute("GET", "/v1/models/", answer),
    ]
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v1/models", "/v1/models"),
        ("/v1/models/", "/v1/models/"),
        ("/v1/models/qwen/3", "/v1/models/"),
        ("/v1/modelsqwen", "/v1/"),
        ("/v1/", "/v1/"),
        ("/v1", None),
        ("/", None),
        ("", None),
    ],
)
def test_the_nearest_route_above_a_path_answers(path: str, found: str | None) -> None:
    route = ROUTES.find(path)
    assert (route and route.path) == found


def test_those_of_a_path_of_their_own_are_listed() -> None:
    assert [route.path for route in ROUTES] == ["/v1/models"]
