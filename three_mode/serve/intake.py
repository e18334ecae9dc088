"""Takes a request in: its deadline, its body within the limits, and its place while it is answered."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from three_mode.errors import DeadlineExceeded
from three_mode.serve.asgi import AsgiExchange, Refused
from three_mode.serve.endpoint import EndpointState, overloaded
from three_mode.serve.faults import fault
from three_mode.serve.routes import Answer
from three_mode.serve.watching import CutShort

Asked = TypeVar("Asked")
WITHIN = b"three-mode-within"
READ_BESIDE = 1 << 17  # bytes of a body that take milliseconds to read
# Answers a request whose body is whole, within so many seconds, and says which model it named.
Answering = Callable[[AsgiExchange, bytes, float], Awaitable[str]]


class Intake:
    """Requests of one endpoint, on their way to whoever answers them."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint, self._options = endpoint, endpoint.options

    def whole(self, answer: Answering) -> Answer:
        """The answer to a request once its body is whole: it has a place meanwhile."""
        return partial(self._held, answer)

    async def _held(self, answer: Answering, exchange: AsgiExchange) -> str:
        self._endpoint.admit()
        within = self.within(exchange)
        body = await self.body(exchange, within)
        self._endpoint.hold(len(body))
        try:
            return await answer(exchange, body, within)
        finally:
            self._endpoint.release(len(body))

    def within(self, exchange: AsgiExchange) -> float:
        """The caller's deadline, or ours."""
        return self.seconds(exchange.header(WITHIN))

    def seconds(self, given: str | None) -> float:
        """The caller's deadline, as its header says it, or ours."""
        if given is None:
            return self._options.default_within
        try:
            seconds = float(given)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise Refused(fault(400, f"{WITHIN.decode()} is a number of seconds above 0", "bad_deadline"))
        return min(seconds, self._options.longest_within)

    async def body(self, exchange: AsgiExchange, within: float) -> bytes:
        """A client that stops half-way holds no place, and its memory no longer than it may wait for the answer."""
        try:
            body = await exchange.body(self._options.max_body, within, self._endpoint.bodies)
        except TimeoutError:
            raise DeadlineExceeded(f"the body did not come whole within {within:g} s") from None
        except CutShort:
            raise Refused(overloaded("too many bytes of requests are being read")) from None
        self._endpoint.admit(len(body))
        return body

    async def read(self, read: Callable[[bytes, float, int], Asked], body: bytes, within: float) -> Asked:
        """A large body is read beside the loop, so that others are answered meanwhile."""
        if len(body) < READ_BESIDE:
            return read(body, within, self._options.max_messages)
        return await asyncio.to_thread(read, body, within, self._options.max_messages)
