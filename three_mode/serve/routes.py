"""Which path is answered by whom. A surface says its routes, the application asks for the one of a request. Pure."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from three_mode.messages import LLMRequest, LLMResponse
from three_mode.serve.asgi import AsgiExchange, Headers, Refused
from three_mode.serve.faults import EndpointFault, fault

log = logging.getLogger("three_mode.serve")
# Answers a request, and says which model it named; "" where none.
Answer = Callable[[AsgiExchange], Awaitable[str]]


class AskedWhole(NamedTuple):
    """What a client asked for whose answer is the reply to one request, and is not streamed."""

    request: LLMRequest
    written: Callable[[LLMResponse, str], bytes]
    """The body of an answer, from the reply and its number."""
    number: str | None = None
    """The number of the answer; None: one as chat completions have."""
    always: Headers = ()
    """Headers that go with the answer, whatever it is."""


# The body of a request within so many seconds, of so many messages at most. None: its answer is of another kind. What
# does not fit is an error, as it is in the route's answer.
ReadWhole = Callable[[bytes, float, int], AskedWhole | None]


class PathRoute(NamedTuple):
    """A path and its answer. One that ends with "/" stands for every path below it, except "/" itself."""

    method: str
    """"" takes each method: the answer knows what it makes of them."""
    path: str
    answer: Answer
    public: bool = False
    """Whether it is answered to everybody, without a key."""
    refused_as: Callable[[EndpointFault], EndpointFault] | None = None
    """The shape of a refusal in the protocol of the surface; None: OpenAI's."""
    read_whole: ReadWhole | None = None
    """Reads what may be answered at once, and says the same of it as the answer does; None: nothing may."""
    behind: "Callable[[str], PathRoute | None] | None" = None
    """The routes of a surface that is made late: the one of a path, once it is there."""


class Surface(Protocol):
    """A protocol in which clients speak to what the endpoint hands out."""

    def routes(self) -> Sequence[PathRoute]: ...


@runtime_checkable
class ClosingSurface(Surface, Protocol):
    """A surface that holds something, which it lets go when the endpoint ends."""

    async def close(self) -> None: ...


async def close_all(surfaces: Iterable[Surface]) -> None:
    """Closes the surfaces that hold something. One that fails keeps no other from it."""
    for surface in surfaces:
        if isinstance(surface, ClosingSurface):
            try:
                await surface.close()
            except Exception:
                log.exception("%s could not be closed", type(surface).__name__)


class Routes:
    """The routes of an endpoint, by path."""

    def __init__(self, routes: Iterable[PathRoute]) -> None:
        every = list(routes)
        below = [route for route in every if route.path.endswith("/") and route.path != "/"]
        self._exact = {route.path: route for route in every if route not in below}
        self._below = sorted(below, key=lambda route: -len(route.path))

    def __iter__(self) -> Iterator[PathRoute]:
        """Those of a path of their own."""
        return iter(self._exact.values())

    def find(self, path: str) -> PathRoute | None:
        """The route of a path; of several that stand above it, the nearest."""
        found = self._exact.get(path)
        if found is None:
            found = next((route for route in self._below if path.startswith(route.path)), None)
        return found


class LateSurface:
    """A surface that is made, and whose code is imported, with the first request to one of its paths."""

    def __init__(
        self,
        make: Callable[[], Surface],
        *paths: str,
        refused_as: Callable[[EndpointFault], EndpointFault] | None = None,
        public: bool = False,
    ) -> None:
        """`refused_as`: the shape of a refusal before the surface is asked. `public`: whether the surface is answered
        to everybody, without a key."""
        self._make, self._paths, self._refused_as, self._public = make, paths, refused_as, public
        self._surface: Surface | None = None
        self._routes: Routes | None = None

    def routes(self) -> Sequence[PathRoute]:
        made = PathRoute("", "", self._answer, self._public, refused_as=self._refused_as, behind=self._find)
        return [made._replace(path=path) for path in self._paths]

    def _find(self, path: str) -> PathRoute | None:
        return None if self._routes is None else self._routes.find(path)

    async def _answer(self, exchange: AsgiExchange) -> str:
        if self._routes is None:
            self._surface = self._make()
            self._routes = Routes(self._surface.routes())
        route = self._routes.find(exchange.path)
        return await no_such_path(exchange) if route is None else await answered(route, exchange)

    async def close(self) -> None:
        """Closes the surface, if it was ever made and holds something."""
        if self._surface is not None:
            await close_all([self._surface])


async def answered(route: PathRoute, exchange: AsgiExchange) -> str:
    """Answers a request by its route, if that takes the method."""
    if route.method not in ("", exchange.method):
        raise Refused(fault(405, f"{exchange.path} takes {route.method}", "method_not_allowed"))
    return await route.answer(exchange)


async def no_such_path(exchange: AsgiExchange) -> str:
    """The answer to a path that a surface does not know, in its shape."""
    raise Refused(fault(404, f"there is no path {exchange.path[:200]!r}", "no_such_path"))
