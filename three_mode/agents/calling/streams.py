"""A streamed reply at its consumer. Parts come as fast as they are taken; leaving early stops the agent's handler."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from three_mode.agents.handlers.codec import Decode
from three_mode.agents.handlers.declare import spec_of
from three_mode.errors import BadResult
from three_mode.handling import NOBODY, current
from transports.bus import BusError, Encoded

if TYPE_CHECKING:
    from three_mode.agents.calling.caller import Caller
    from three_mode.agents.calling.session import Session

# Parts on their way: asking for more of them, at every half, costs as much as a part.
CREDIT = 64


class Stream:
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

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Any:
        if self._parts is None:
            if self._source is None:
                raise StopAsyncIteration  # it was left before it began
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
            return self._decode(part.raw)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            await self.aclose()
            said = f"{self._agent}.{self._handler} streamed something else than its hint says: {error}"
            raise BadResult(said, agent=self._agent, handler=self._handler) from None

    async def aclose(self) -> None:
        """Leaves: the far side is cancelled if it has not ended."""
        source, self._source = self._source, None
        if source is not None and self._parts is not None:
            await source.__aexit__(None, None, None)


class Streaming:
    """One handler, of whatever agents have it, and whatever of a stream from it is always the same."""

    __slots__ = ("_caller", "_encode", "_read", "_topic")

    def __init__(self, handler: Callable[..., Any], caller: "Caller") -> None:
        spec = spec_of(handler)
        self._topic, self._encode, self._read = spec.name, spec.schema.encode_call, spec.schema.result
        self._caller = caller

    def begin(self, to: str, given: tuple[Any, ...], within: float) -> Stream:
        """Asks the agent `to` for one at once. `within` is no more than what remains of the call that this is part of."""
        caller, topic, call = self._caller, self._topic, current.get()
        session = caller.session
        trace = "" if call is NOBODY and session.tracer is None else caller.outgoing(call, to, topic)
        payload = Encoded(self._encode(to, topic, given, {}))
        parts = session.bus.stream(
            to, payload, topic=topic, within=within, credit=CREDIT, trace=trace, sender=caller.name
        )
        try:
            parts.begin()
        except BusError as error:
            raise session.error(error, to, topic) from None
        stream = Stream(parts, self._read, session, to, topic)
        stream._parts = parts
        return stream
