"""The events of a task as a stream to one client."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from three_mode.a2a.values import StreamResponse, envelope
from three_mode.serve.chat import UNREAD
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.surfaces.a2a.record import TaskReader, TaskRecord
from three_mode.serve.surfaces.a2a.work import SHUTTING_DOWN
from three_mode.serve.watching import Disconnected, Watched

KEEP_ALIVE = 4.0  # seconds without an event, after which a sign of life goes out: clients give up a silent stream


class Outlet(Protocol):
    """Where the events of one stream go."""

    async def begin(self) -> None:
        """Events follow."""
        ...

    async def write(self, event: StreamResponse) -> None:
        """Sends an event; waits while the client takes none."""
        ...

    async def still_here(self) -> None:
        """A sign of life, where the way to the client needs one."""
        ...

    async def end(self) -> None:
        """No event follows."""
        ...

    def while_connected(self) -> Watched:
        """Cancels the block when the client goes away."""
        ...


class EventStream:
    """One stream: the task as it is, then its events until it is finished or waits for its user.

    A client that goes away, or does not read, ends its stream and nothing else. One that watches a task which waits
    for somebody's message is let go when its time is over, or when the endpoint drains.
    """

    def __init__(self, outlet: Outlet, record: TaskRecord, history: int | None, within: float) -> None:
        self._outlet, self._record, self._history, self._within = outlet, record, history, within

    async def send(self, endpoint: EndpointState, fail: Callable[[TaskRecord, str], None]) -> None:
        """Send it. `fail` ends a task that the end of the endpoint cuts off."""
        reader, record = self._record.open_reader(), self._record
        if record.state.waits:
            endpoint.at_drain.add(reader.close)
        try:
            async with asyncio.timeout(self._within + 2 * UNREAD):
                await self._outlet.begin()
                await self._outlet.write(envelope(record.task(self._history)))
                with self._outlet.while_connected():
                    await self._pass_on(reader)
                await self._outlet.end()
        except TimeoutError:
            raise Disconnected("the client did not read its events") from None
        except asyncio.CancelledError:
            if endpoint.cut:  # the stream says how its task ended
                fail(record, SHUTTING_DOWN)
                await self._write(reader)
                await self._outlet.end()
            raise
        finally:
            endpoint.at_drain.discard(reader.close)
            record.close_reader(reader)

    async def _pass_on(self, reader: TaskReader) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._within + UNREAD  # of the task's work, which ends before
        while loop.time() < until:
            if not await reader.wait(min(KEEP_ALIVE, until - loop.time())):
                await self._outlet.still_here()
                continue
            await self._write(reader)
            if reader.closed and not len(reader):
                return

    async def _write(self, reader: TaskReader) -> None:
        for event in reader.take():
            await self._outlet.write(envelope(event))
