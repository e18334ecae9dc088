"""Ctrl-C that waits for the end of what is being shown.

Python may raise it anywhere in the terminal library, which then shows a piece once more with the next one, or never again anything.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def whole() -> Iterator[None]:
    """What is done in here is done whole, and Ctrl-C comes behind it. A second one does not wait: the terminal may take nothing."""
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield  # nobody is interrupted here
        return
    came: list[FrameType | None] = []

    def wait(number: int, frame: FrameType | None) -> None:
        came.append(frame)
        if len(came) > 1:
            came.clear()
            before(number, frame)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        before(signal.SIGINT, came[0])
