"""Startup: an agent that is being made or restarted, for others that wait for it or end it."""

import asyncio
import math
import time
from typing import Any

from three_mode.errors import DeadlineExceeded, ThreeModeError


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
