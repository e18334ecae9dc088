"""One message being handled: `Run`, and the cycle that it would close with a message that waits for it."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, Protocol

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.declare import Spec
from three_mode.agents.handlers.extensions import exact
from three_mode.agents.runtime.journal import Journal
from three_mode.agents.runtime.requests import Incoming, Parts
from three_mode.errors import CallCycle
from three_mode.handling import HandledCall, in_chain


class RunOwner(Protocol):
    """Interface of the population of a run's actor."""

    @property
    def journal(self) -> Journal | None: ...


class RunActor(Protocol):
    """Interface of the actor that a run belongs to."""

    @property
    def agent(self) -> Agent: ...
    @property
    def owner(self) -> RunOwner: ...
    def run_ended(self, run: "Run", result: Any, failure: BaseException | None) -> None: ...


class Run(HandledCall, eq=False, weakref=True):
    """The call itself, with what its actor needs to end it: one object a message, not two."""

    actor: RunActor = None  # type: ignore[assignment]  # always given; a struct wants a default after those of its base
    spec: Spec = None  # type: ignore[assignment]
    request: Incoming = None  # type: ignore[assignment]
    started: float = 0.0
    """When it began, or was queued, if this run is timed; else 0."""
    task: "asyncio.Future[None] | None" = None
    """What drives the handler, once it has had to wait."""
    cancelled: str = ""
    """Why it was cancelled; empty if it was not."""
    since: float = 0.0
    """When it first had to wait."""
    parts: Parts | None = None
    """Outgoing parts of a stream that `start_flow` opened, until the stream itself takes them."""

    def cancel(self, reason: str) -> None:
        """End the handler: its caller cancelled, died or ran out of time, or the agent is being stopped."""
        if not self.cancelled:
            self.cancelled = reason or "cancelled"
            journal = self.actor.owner.journal
            if journal is not None:
                journal.ended(self.agent, self.turn, "cancel", self.cancelled.encode())
            if self.task is not None:
                self.task.cancel()

    def start_flow(self, *args: Any, **kwargs: Any) -> "asyncio.Future[None] | None":
        """Begin a stream whose parts come from elsewhere; None if the handler has to make this one (see `begins`)."""
        assert self.spec.begins is not None
        self.parts = parts = self.request.open_parts()
        try:
            flow: asyncio.Future[None] | None = self.spec.begins(self.actor.agent, parts, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # it belongs to the caller, as an exception of a coroutine does
            flow = asyncio.get_running_loop().create_future()
            flow.set_exception(error)
        return flow

    def flow_ended(self, flow: "asyncio.Future[None]") -> None:
        """End the run with the outcome of its flow."""
        self.parts = None
        failure = asyncio.CancelledError() if flow.cancelled() else flow.exception()
        self.actor.run_ended(self, None, failure)

    async def stream(self, parts: AsyncGenerator[Any, None]) -> None:
        """Send each part when its consumer has room for it: a slow consumer slows this run alone."""
        out, self.parts = self.parts or self.request.open_parts(), None
        marked = self.spec.schema.open_result
        async with aclosing(parts):
            async for part in parts:
                await out.send(exact(part) if marked else part)


def cycle_error(agent: str, handler: str, chain: str, blocking: Iterable[Run | None]) -> CallCycle | None:
    """Return an error if waiting would deadlock: each run ahead of the message already waits for the message's sender.

    `chain`: the calls that wait for one another up to the message. `blocking`: the runs that it would wait for.
    """
    runs = [run for run in blocking if run is not None]
    if not runs or not all(in_chain(chain, agent, run.turn) for run in runs):
        return None
    callers = " -> ".join(link.rpartition(":")[0] for link in chain.split(">"))
    return CallCycle(
        f"{agent} is busy with a call that waits for this one: {callers} -> {agent}",
        hint="use tell, or make the handler concurrent",
        agent=agent,
        handler=handler,
    )
