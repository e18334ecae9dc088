"""What is fuzzed: a target takes any bytes, and raises only where the product broke a promise.

Each target is an oracle of its own. It lets the errors pass that its part of the product documents, and raises for all
others; where there is an encoder it writes what was read and reads it again. What holds for every target is checked
around it (`checked`): the lines of Python that an input takes, and the memory, grow no faster than the input.
"""

import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

Shape = Literal["bytes", "text", "json", "msgpack"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One part of the product that reads what others wrote."""

    name: str
    run: Callable[[bytes], None]
    shape: Shape = "bytes"  #: how inputs are changed: as bytes alone, or as the values that they hold too
    longest: int = 4096  #: bytes of an input
    lines: int = 40_000  #: lines of Python that any input may take
    lines_a_byte: int = 400  #: and so many more for each byte of it
    memory: int = 8 << 20  #: bytes of memory that any input may take at once
    memory_a_byte: int = 2_000  #: and so many more for each byte of it


class TooMuch(AssertionError):
    """An input took more steps or more memory than its size explains."""


def checked(target: Target, data: bytes) -> None:
    """Run an input, and hold what it takes against the bounds of the target."""
    lines = _Lines(target.lines + target.lines_a_byte * len(data))
    most = target.memory + target.memory_a_byte * len(data)
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    sys.settrace(lines.call)
    try:
        target.run(data)
    finally:
        sys.settrace(None)
        peak = tracemalloc.get_traced_memory()[1] - before
        if not traced:
            tracemalloc.stop()
    if peak > most:
        raise TooMuch(f"an input of {len(data)} bytes took {peak} bytes of memory; {most} are the most")


class _Lines:
    """Counts lines, and ends a run that has too many: a loop without end is a finding, and no hang."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self.line

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise TooMuch(f"more than {self._most} lines of Python, the last in {frame.f_code.co_qualname}")
        return self.line
