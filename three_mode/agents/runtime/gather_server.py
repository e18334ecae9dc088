"""Gather at the receiving host: each agent gets its own request, and their answers go back together."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.handlers.declare import Spec
from three_mode.agents.wire.orders import GatherOrder
from three_mode.errors import BadResult, ThreeModeError
from three_mode.messages import encode_error
from transports.bus import BusError, Encoded, Request

if TYPE_CHECKING:
    from three_mode.agents.runtime.population import Population
    from three_mode.agents.runtime.requests import Arguments, Parts

_decode_order = decoder_for(GatherOrder)
_PART_BYTES = 24 * 1024  # answers go back in parts of about this size


class GatherServer:
    """One gather among agents of this process: it collects answers and sends them in parts."""

    __slots__ = (
        "_cancel",
        "_flushing",
        "_left",
        "_out",
        "_population",
        "_ready",
        "_size",
        "_started",
        "call",
        "deadline",
        "max_answer",
        "sender",
        "trace",
    )

    def __init__(self, request: Request, population: "Population") -> None:
        order: GatherOrder = _decode_order(request.raw)
        self._population, self._out = population, request.open_stream()
        self.call, self.sender, self.trace, self.deadline = (
            order.call,
            request.sender,
            request.trace,
            request.deadline,
        )
        limit = population.session.bus.options.payload_limit
        self.max_answer = max(limit // 2, limit - 2 * _PART_BYTES)  # bytes: an answer travels with others
        self._ready: list[tuple[int, bool, bytes]] = []
        self._size, self._left = 0, len(order.names)
        self._cancel: dict[int, Callable[[str], None]] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._started = False
        request.on_cancel(self._cancelled)
        for index, name in enumerate(order.names):
            self._ask(index, name, order.handler)
        self._started = True
        self._flush()

    def _ask(self, index: int, name: str, handler: str) -> None:
        request = GatheredRequest(self, index, self.deadline, self.trace)
        actor = self._population.actors.get(name)
        spec = actor.specs.get(handler) if actor is not None else None
        if actor is None or spec is None:
            request.refuse(self._population.no_such(name, handler))
        else:
            actor.accept(spec, request)

    def add_answer(self, index: int, good: bool, content: bytes) -> None:
        """Add the answer of agent `index`; `good`: it is a result, not an encoded error."""
        self._cancel.pop(index, None)
        self._left -= 1
        self._ready.append((index, good, content))
        self._size += len(content)
        if self._started:
            self._flush()

    def set_cancel(self, index: int, callback: Callable[[str], None]) -> None:
        """Have `callback` called when the caller cancels while agent `index` has not answered."""
        self._cancel[index] = callback

    def _cancelled(self, reason: str) -> None:
        waiting, self._cancel = self._cancel, {}
        for callback in waiting.values():
            callback(reason)
        if self._flushing is not None:
            self._flushing.cancel()

    def _flush(self) -> None:
        """Send ready answers: at once while there is credit, else from a task that waits for it."""
        if self._flushing is not None:
            return
        if self._left and self._size < _PART_BYTES:
            # More answers may be ready in this turn of the loop: one part for all of them.
            self._flushing = self._population.loop.create_task(self._drain())
            return
        while self._ready:
            count, size = self._next_part()
            if not self._out.try_send(self._encode_part(count)):
                self._flushing = self._population.loop.create_task(self._drain())
                return
            self._drop_sent(count, size)
        if not self._left:
            self._out.end()

    def _next_part(self) -> tuple[int, int]:
        """Return how many of the ready answers go into the next part, and their bytes."""
        if self._size < _PART_BYTES:
            return len(self._ready), self._size
        size = count = 0
        for _, _, content in self._ready:
            size, count = size + len(content), count + 1
            if size >= _PART_BYTES:
                break
        return count, size

    def _encode_part(self, count: int) -> Encoded:
        return Encoded(encode([(index, good, msgspec.Raw(raw)) for index, good, raw in self._ready[:count]]))

    def _drop_sent(self, count: int, size: int) -> None:
        del self._ready[:count]
        self._size -= size

    async def _drain(self) -> None:
        """Send ready answers, waiting for credit."""
        try:
            await asyncio.sleep(0)
            while self._ready:
                count, size = self._next_part()
                part = self._encode_part(count)
                self._drop_sent(count, size)
                await self._out.send(part)
            if not self._left:
                self._out.end()
        except BusError:
            self._cancelled("the caller has gone")
        finally:
            self._flushing = None


class GatheredRequest(msgspec.Struct, eq=False):
    """Request that one agent of a gather gets."""

    server: GatherServer
    index: int
    deadline: float
    trace: str
    answered: bool = False
    streams: ClassVar[bool] = False
    tells: ClassVar[bool] = False

    @property
    def sender(self) -> str:
        return self.server.sender

    @property
    def raw(self) -> bytes:
        return self.server.call

    def arguments(self, agent: str, spec: Spec) -> "Arguments":
        return spec.schema.decode_call(agent, spec.name, self.server.call)

    def answer(self, result: Any) -> None:
        if not self.answered:
            content = encode(result)
            if len(content) > self.server.max_answer:
                raise BadResult(
                    f"a result of {len(content)} bytes is too large: {self.server.max_answer} can be gathered"
                )
            self.answered = True
            self.server.add_answer(self.index, True, content)

    def refuse(self, error: ThreeModeError) -> None:
        if not self.answered:
            self.answered = True
            self.server.add_answer(self.index, False, encode(encode_error(error)))

    def abandoned(self) -> None:
        self.answered = True

    def raised(self, agent: str) -> None:
        """Do nothing: the caller gets the error."""

    def on_cancel(self, callback: Callable[[str], None]) -> None:
        self.server.set_cancel(self.index, callback)

    def open_parts(self) -> "Parts":
        raise TypeError("a call to many gives one answer each")
