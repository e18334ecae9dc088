"""Shrink: which of its faults a failure takes, and what was explored until it came."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from three_mode.testing.world.faults import WorldFault


def failing(play: Callable[[], Any]) -> Exception | None:
    """Play; return the exception that it ends with, None if it ends well."""
    try:
        play()
    except Exception as error:  # noqa: BLE001  # that is what is looked for
        return error
    return None


def fewest(
    faults: Sequence[WorldFault], error: Exception, play: Callable[[list[WorldFault]], Exception | None]
) -> tuple[list[WorldFault], Exception]:
    """Return as few of the faults as still make the same kind of error, and that error.

    Each fault is left out in turn, larger groups of them first.
    """
    left, size = list(faults), len(faults)
    while size:
        place = 0
        while place < len(left):
            fewer = left[:place] + left[place + size :]
            found = play(fewer)
            if type(found) is type(error):
                left, error = fewer, found
            else:
                place += size
        size = size // 2
    return left, error


class Explored(msgspec.Struct, frozen=True):
    """What was run, in sum."""

    seeds: int = 0
    """Runs, each with a seed of its own."""
    seconds: float = 0.0
    """Seconds that passed in their worlds."""
    frames: int = 0
    """Frames that came to where they were sent."""

    def with_run(self, seconds: float, frames: int) -> "Explored":
        """Add a run."""
        return Explored(self.seeds + 1, self.seconds + seconds, self.frames + frames)
