"""Which path is answered by whom."""

from collections.abc import Sequence
from typing import Any

import pytest

from three_mode.serve.asgi import AsgiExchange
from three_mode.serve.routes import ClosingSurface, LateSurface, PathRoute, Routes, close_all


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


class Holding:
    """A surface that holds something."""

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.closed = fails, 0

    def routes(self) -> Sequence[PathRoute]:
        return [PathRoute("GET", "/held", answer)]

    async def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("it is gone already")


class Plain:
    """A surface that holds nothing."""

    def routes(self) -> Sequence[PathRoute]:
        return []


async def test_a_surface_that_was_never_made_is_not_made_to_be_closed() -> None:
    made: list[Holding] = []

    def make() -> Holding:
        made.append(Holding())
        return made[-1]

    late = LateSurface(make, "/held")
    await late.close()
    assert not made
    exchange: Any = AsgiExchange({"type": "http", "method": "GET", "path": "/held", "headers": []}, *(None,) * 3)  # type: ignore[arg-type]
    await late.routes()[0].answer(exchange)
    await late.close()
    assert [each.closed for each in made] == [1]


async def test_one_that_cannot_be_closed_keeps_no_other_from_it(caplog: pytest.LogCaptureFixture) -> None:
    failing, well = Holding(fails=True), Holding()
    assert not isinstance(Plain(), ClosingSurface)
    await close_all([failing, Plain(), well])
    assert (failing.closed, well.closed) == (1, 1)
    assert "Holding could not be closed" in caplog.text
