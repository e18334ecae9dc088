"""An agent in the making: what others need to end that, or to wait for what comes of it."""

import asyncio
import math
import time
from typing import Any

from three_mode.errors import DeadlineExceeded, ThreeModeError


class Making:
    """An agent that is being made, or made anew: what `stop` needs to end that, and what others wait for."""

    __slots__ = ("error", "opening", "over", "task", "unwanted")

    def __init__(self) -> None:
        self.task: asyncio.Future[Any] | None = None
        self.opening: asyncio.Task[None] | None = None  # goes on when the order is answered; held here while it runs
        self.unwanted = False
        self.over = asyncio.Event()
        self.error: ThreeModeError | None = None
        """Why the agent could not be made. Good once `over` is set."""

    async def result(self, name: str, until: float) -> ThreeModeError | None:
        """What became of the agent, or the error that it has not started by then."""
        try:
            async with asyncio.timeout(seconds_left(until)):
                await self.over.wait()
        except TimeoutError:
            return slow(name)
        return self.error


def slow(name: str) -> ThreeModeError:
    """The error of an agent whose start takes longer than it may."""
    return DeadlineExceeded(f"{name} has not started in time", stage="start")


def seconds_left(until: float) -> float | None:
    """Seconds until a time of `time.monotonic()`, as asyncio wants them."""
    return None if until == math.inf else max(0.0, until - time.monotonic())
