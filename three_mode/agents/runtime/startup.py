"""Startup: an agent that is being made or restarted, for others that wait for it or end it."""

import asyncio
import math
import time
from collections.abc import Awaitable, Generator
from typing import Any, Protocol

from three_mode.errors import DeadlineExceeded, ThreeModeError


class StartNotes(Protocol):
    """Interface of the note that says whose start runs, for the case that the process ends in the middle of it."""

    def begin(self, agent: str, hook: str) -> None:
        """Note that the code of an agent that is being made runs from now on."""
        ...

    def end(self) -> None:
        """Note that this code runs no longer."""
        ...


class NoNotes:
    """Notes that nobody reads."""

    def begin(self, agent: str, hook: str) -> None:
        """Note nothing."""

    def end(self) -> None:
        """Note nothing."""


class Noted:
    """Awaitable that notes each step of a hook, and not the waits between: other agents run then."""

    __slots__ = ("_agent", "_hook", "_notes", "_work")

    def __init__(self, work: Awaitable[Any], notes: StartNotes, agent: str, hook: str) -> None:
        self._work, self._notes, self._agent, self._hook = work, notes, agent, hook

    def __await__(self) -> Generator[Any, Any, Any]:
        steps, notes = self._work.__await__(), self._notes
        value: Any = None
        thrown: BaseException | None = None
        while True:
            notes.begin(self._agent, self._hook)
            try:
                waits_for = steps.throw(thrown) if thrown is not None else steps.send(value)
            except StopIteration as stop:
                return stop.value
            finally:
                notes.end()
            value = thrown = None
            try:
                value = yield waits_for
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as error:  # noqa: BLE001  # it is for the hook: CancelledError from its task
                thrown = error


class Startup:
    """Startup of one agent."""

    __slots__ = ("cancelled", "done", "error", "opening", "task")

    def __init__(self) -> None:
        self.task: asyncio.Future[Any] | None = None  # the hook or the restart that runs now
        self.opening: asyncio.Task[None] | None = None  # goes on after the answer to the order; kept here while it runs
        self.cancelled = False  # the agent was stopped meanwhile
        self.done = asyncio.Event()
        self.error: ThreeModeError | None = None
        """Why the agent could not be made, once `done` is set."""

    async def result(self, name: str, until: float) -> ThreeModeError | None:
        """Wait for the end of the startup, up to `until`; return its error, or that the agent has not started."""
        try:
            async with asyncio.timeout(seconds_left(until)):
                await self.done.wait()
        except TimeoutError:
            return slow(name)
        return self.error


def slow(name: str) -> ThreeModeError:
    """Return the error of an agent that has not started in time."""
    return DeadlineExceeded(f"{name} has not started in time", stage="start")


def seconds_left(until: float) -> float | None:
    """Return the seconds until a time of `time.monotonic()`, for asyncio: None for no limit."""
    return None if until == math.inf else max(0.0, until - time.monotonic())
