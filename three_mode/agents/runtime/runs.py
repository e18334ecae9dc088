"""A handler that runs as a coroutine: who waits for it, and how it is cancelled."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from three_mode.agents.handlers.declare import Spec
from three_mode.handling import Call

if TYPE_CHECKING:
    from three_mode.agents.runtime.actor import Actor
    from three_mode.agents.runtime.requests import Incoming, Parts


class Run(Call, eq=False, weakref=True):
    """The call itself, with what the cell has to know to end it: one object a message, not two."""

    actor: "Actor" = None  # type: ignore[assignment]  # never left out: those of a Call have defaults
    spec: Spec = None  # type: ignore[assignment]
    request: "Incoming" = None  # type: ignore[assignment]
    started: float = 0.0
    task: "asyncio.Future[None] | None" = None
    cancelled: str = ""
    since: float = 0.0
    """When it first had to wait."""
    parts: "Parts | None" = None
    """Of a stream, while it runs: the way out."""

    def cancel(self, reason: str) -> None:
        """The caller cancelled, died or ran out of time, or the agent is being stopped."""
        if not self.cancelled:
            self.cancelled = reason or "cancelled"
            tape = self.actor.home.tape
            if tape is not None:
                tape.ended(self.agent, self.turn, "cancel", self.cancelled.encode())
            if self.task is not None:
                self.task.cancel()

    def flow(self, *given: Any, **named: Any) -> "asyncio.Future[None] | None":
        """A stream whose parts come from elsewhere, if this one's do: what is done when they have gone."""
        assert self.spec.begins is not None
        self.parts = parts = self.request.open_parts()
        try:
            flow: asyncio.Future[None] | None = self.spec.begins(self.actor.agent, parts, *given, **named)
        except Exception as error:  # noqa: BLE001  # it belongs to the caller, as what a coroutine raises
            flow = asyncio.get_running_loop().create_future()
            flow.set_exception(error)
        return flow

    def flowed(self, flow: "asyncio.Future[None]") -> None:
        self.parts = None
        failure = asyncio.CancelledError() if flow.cancelled() else flow.exception()
        self.actor.ended(self, None, failure)

    async def stream(self, parts: AsyncGenerator[Any, None]) -> None:
        """Sends each part when the consumer has room for it; a slow one slows only this."""
        out, self.parts = self.parts or self.request.open_parts(), None
        async with aclosing(parts):
            async for part in parts:
                await out.send(part)
