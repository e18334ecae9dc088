"""A handler that runs as a coroutine: who waits for it, and how it is cancelled."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from three_mode.agents.declare import Spec
from three_mode.handling import Call, current

if TYPE_CHECKING:
    from three_mode.agents.cell import Cell
    from three_mode.agents.requests import Incoming, Parts


class Run(Call, eq=False, weakref=True):
    """The call itself, with what the cell has to know to end it: one object a message, not two."""

    cell: "Cell" = None  # type: ignore[assignment]  # never left out: those of a Call have defaults
    spec: Spec = None  # type: ignore[assignment]
    request: "Incoming" = None  # type: ignore[assignment]
    started: float = 0.0
    task: "asyncio.Task[None] | None" = None
    cancelled: str = ""
    since: float = 0.0
    """When it first had to wait."""
    parts: "Parts | None" = None
    """Of a stream: the way out, for a handler whose parts come from another thread."""

    def cancel(self, reason: str) -> None:
        """The caller cancelled, died or ran out of time, or the agent is being stopped."""
        if not self.cancelled:
            self.cancelled = reason or "cancelled"
            if self.task is not None:
                self.task.cancel()

    async def stream(self, parts: AsyncGenerator[Any, None]) -> None:
        """Sends each part when the consumer has room for it; a slow one slows only this."""
        self.parts = out = self.request.open_parts()
        try:
            async with aclosing(parts):
                async for part in parts:
                    await out.send(part)
        finally:
            self.parts = None  # tasks that the handler left behind inherit the run: they need not keep its message


def parts_of_this_run() -> "Parts | None":
    """The way out of the stream that is being handled, if one is."""
    run = current.get()
    return run.parts if isinstance(run, Run) else None
