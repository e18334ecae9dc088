"""One question over the bus, without a coroutine of the bus's own in between: each level of coroutines is paid for at every call,
and this one would be in every call of an agent.
"""

import asyncio
from functools import partial
from typing import Any

from transports.bus import Bus, BusError, Encoded, Message

Answer = Message | BusError


def begin(
    bus: Bus, to: str, payload: bytes, topic: str, within: float, trace: str, sender: str
) -> "tuple[asyncio.Future[Answer], Any]":
    """Asks at once. The future gets the answer, or the error that came in its place, as a value; whoever waits for it and is
    cancelled cancels the call, so that the far side ends."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    call = bus.call(
        to,
        Encoded(payload),
        partial(_arrived, future),
        topic=topic,
        within=within,
        trace=trace,
        sender=sender,
    )
    return future, call


def _arrived(future: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)
