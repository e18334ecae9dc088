"""The world that runs in this thread, for what stands in it in place of parts of the machine."""

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from three_mode.testing.world.simulation import Simulation

_current: "Simulation | None" = None
_thread = 0


def enter(world: "Simulation") -> None:
    """Make this the world of this thread."""
    global _current, _thread
    if _current is not None:
        raise RuntimeError("a world runs already in this process: run one after the other")
    _current, _thread = world, threading.get_ident()


def leave() -> None:
    """Run no world any more."""
    global _current
    _current = None


def running_world() -> "Simulation | None":
    """Return the world that runs in this thread; None where none does."""
    return _current if _current is not None and threading.get_ident() == _thread else None


def simulation() -> "Simulation":
    """Return the world that runs here."""
    found = running_world()
    if found is None:
        raise RuntimeError("no world runs here")
    return found


def running_loop() -> Any:
    """Return the loop of a world that runs now; None between the turns, and where no world runs."""
    world = running_world()
    return None if world is None else world.schedule.running
