"""What a world finds: a wait without an end, an invariant that does not hold."""

import asyncio
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from three_mode.testing.world.simulation import Simulation

_SHOWN = 12  # tasks that wait, in the text of an error


class WorldStuck(AssertionError):
    """A program in a world has not ended: something waits for what never comes."""


class InvariantBroken(AssertionError):
    """Something is so that an invariant says is never so."""


def invariant_broken(invariant: Any) -> InvariantBroken:
    """Return the error for an invariant that has returned False."""
    return InvariantBroken(f"{getattr(invariant, '__name__', invariant)} does not hold")


def waits(world: "Simulation") -> str:
    """Return what the processes of a world wait for, a line each."""
    lines = []
    for process in world.processes.values():
        if process.alive:
            tasks = sorted(asyncio.all_tasks(process.loop), key=lambda task: task.get_name() != process.label)
            places = [(task.get_coro(), _place(task.get_coro())) for task in tasks]
            lines += [f"\n  {process.label}: {work.__qualname__} waits at {place}" for work, place in places if place]  # type: ignore[union-attr]
    more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "".join(lines[:_SHOWN]) + more


def _place(work: Any) -> str:
    """Return where a coroutine waits: the innermost line that is not of asyncio; "" where it only stands by."""
    found = ""
    while work is not None:
        frame = getattr(work, "cr_frame", None) or getattr(work, "ag_frame", None) or getattr(work, "gi_frame", None)
        if frame is not None:
            if frame.f_code.co_name == "_stand_by":
                return ""
            if f"{os.sep}asyncio{os.sep}" not in frame.f_code.co_filename:
                found = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        work = getattr(work, "cr_await", None) or getattr(work, "ag_await", None) or getattr(work, "gi_yieldfrom", None)
    return found
