"""A process that forks after it joined: rings and doorbells stay its parent's, and the child's buses say so."""

import os
import weakref
from typing import TYPE_CHECKING

from transports.bus.errors import Forked

if TYPE_CHECKING:
    from transports.bus.bus import Bus

joined: "weakref.WeakSet[Bus]" = weakref.WeakSet()


def _after_fork() -> None:
    for bus in list(joined):
        bus.forked(
            Forked(
                f"this process was forked after it joined the bus {bus.name!r}: rings and doorbells are its parent's. Start"
                " processes with the spawn method, or join in the child"
            )
        )
    joined.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
