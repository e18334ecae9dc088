"""A host sends events of its agents' calls in batches, and says what it could not send."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from three_mode.agents.host import forwarding
from three_mode.agents.host.llm_events import LLMEventForwarder
from three_mode.events import ConnectionHub, ResponseChunk
from three_mode.events.values import ANY_EVENT
from transports.bus import BusError


class Line:
    """A bus that keeps what is sent, or is broken; and a connection that may come late."""

    def __init__(self) -> None:
        self.bus, self.broken, self.sent = self, False, list[list[Any]]()
        self.event_hub, self._late = ConnectionHub(), list[Callable[[Any], None]]()
        self.there = True

    def when_llm(self, told: Callable[[Any], None]) -> None:
        if self.there:
            told(self)
        else:
            self._late.append(told)

    def comes(self) -> None:
        self.there = True
        for told in self._late:
            told(self)

    def send(self, to: str, payload: Any, topic: str, sender: str) -> None:
        if self.broken:
            raise BusError("nobody is there")
        self.sent.append(msgspec.msgpack.decode(payload.raw, type=list[ANY_EVENT]))  # type: ignore[valid-type]

    def tell(self, count: int) -> None:
        for number in range(count):
            self.event_hub.publish(ResponseChunk(time=0.0, text=str(number)))


async def test_what_cannot_wait_is_lost_and_counted() -> None:
    line: Any = Line()
    forwarder = LLMEventForwarder(line, "host-1")
    forwarder.listen(["response_chunk"], 60)
    line.tell(forwarding.WAITING + 5)
    forwarder.close()
    first = line.sent[0][0]
    assert (first.kind, first.count) == ("gap", 5)
    assert sum(map(len, line.sent)) == forwarding.WAITING + 1
    assert not line.event_hub.wanted


async def test_what_the_bus_refuses_is_told_with_the_next_message() -> None:
    line: Any = Line()
    forwarder = LLMEventForwarder(line, "host-1")
    forwarder.listen(["response_chunk"], 60)
    line.broken = True
    line.tell(3)
    await asyncio.sleep(2 * forwarding.PAUSE)
    line.broken = False
    line.tell(1)
    forwarder.close()
    (batch,) = line.sent
    assert [(event.kind, getattr(event, "count", None)) for event in batch] == [("gap", 3), ("response_chunk", None)]


async def test_a_connection_that_comes_later_is_listened_to_and_a_lease_ends() -> None:
    line: Any = Line()
    line.there = False
    forwarder = LLMEventForwarder(line, "host-1")
    forwarder.listen(["response_chunk"], 60)
    line.comes()
    assert line.event_hub.wanted == {"response_chunk"}
    forwarder.listen(["retry"], 0.01)
    assert line.event_hub.wanted == {"retry"}
    async with asyncio.timeout(5):
        while line.event_hub.wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
