"""Streamed replies at the consumer: parts arrive as fast as they are taken; leaving early stops the agent's handler."""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import msgspec

from three_mode.agents.handlers.codec import Decode, decode_marked_by
from three_mode.errors import BadResult
from transports.bus import BusError

if TYPE_CHECKING:
    from three_mode.agents.calling.session import Session

T = TypeVar("T")

# Parts that may be on their way. Asking for more, each time half of them has arrived, costs as much as a part.
CREDIT = 64


class Stream(Generic[T]):
    """Streamed reply at its consumer: iterate over it; enter it with `async with` to make an early exit prompt.

    `T` is the type of a part: what the handler's `AsyncIterator[T]` says.
    """

    __slots__ = ("_agent", "_decode", "_handler", "_parts", "_session", "_source")

    def __init__(self, source: Any, decode: Decode, session: "Session", agent: str, handler: str) -> None:
        self._source, self._decode, self._session = source, decode, session
        self._agent, self._handler = agent, handler
        self._parts: Any = None

    async def __aenter__(self) -> Self:
        try:
            self._parts = await self._source.__aenter__()
        except BusError as error:
            raise self._session.error(error, self._agent, self._handler) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._parts is None:
            if self._source is None:
                raise StopAsyncIteration  # the stream was closed before it began
            await self.__aenter__()
        try:
            part = await self._parts.__anext__()
        except StopAsyncIteration:
            await self.aclose()
            raise
        except BusError as error:
            await self.aclose()
            raise self._session.error(error, self._agent, self._handler) from None
        except BaseException:
            await self.aclose()
            raise
        try:
            item: T = self._decode(part.raw)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            item = await self._decode_marked(part.raw, error)
        return item

    async def _decode_marked(self, raw: bytes, error: Exception) -> T:
        try:
            item: T = decode_marked_by(self._decode, raw, error)
        except (msgspec.MsgspecError, ValueError, TypeError) as still:
            await self.aclose()
            said = f"{self._agent}.{self._handler} streamed something else than its hint says: {still}"
            raise BadResult(said, agent=self._agent, handler=self._handler) from None
        return item

    async def aclose(self) -> None:
        """Leave the stream: the handler is cancelled if it has not ended."""
        source, self._source = self._source, None
        if source is not None and self._parts is not None:
            await source.__aexit__(None, None, None)
