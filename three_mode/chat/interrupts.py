"""Delay of Ctrl-C until the terminal library is done.

Python may raise KeyboardInterrupt anywhere in that library, which then shows a piece of text twice, or shows nothing
any more.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def delayed_interrupt() -> Iterator[None]:
    """Delays Ctrl-C until the end of the block. A second Ctrl-C interrupts at once: the terminal may be blocked."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return
    interrupts: list[FrameType | None] = []

    def delay(number: int, frame: FrameType | None) -> None:
        interrupts.append(frame)
        if len(interrupts) > 1:
            interrupts.clear()
            before(number, frame)

    signal.signal(signal.SIGINT, delay)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        before(signal.SIGINT, interrupts[0])
