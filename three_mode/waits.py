"""What calls to models wait for, told to whoever looks: a rate limit, a connection, the queue of a model.

Whoever looks puts a function into `listeners`. Nothing is told, or measured, while there is none. It is called in the
context of the call that has waited, once the wait is over; times are seconds of `time.perf_counter`.
"""

import time
from collections.abc import Callable
from typing import Literal

Wait = Literal["limiter", "retry", "network", "model queue"]
WaitListener = Callable[[Wait, float, float], None]
listeners: list[WaitListener] = []


def tell(what: Wait, begin: float, end: float) -> None:
    """A call has waited from one time to another."""
    for listener in tuple(listeners):
        listener(what, begin, end)


def tell_until_now(what: Wait, seconds: float) -> None:
    """A call has waited for so long, and goes on now."""
    if listeners:
        now = time.perf_counter()
        tell(what, now - seconds, now)
