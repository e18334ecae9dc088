"""What a world finds: a wait without an end, an invariant that does not hold."""

import asyncio
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
            for task in sorted(asyncio.all_tasks(process.loop), key=lambda task: task.get_name()):
                frames = task.get_stack(limit=1)
                where = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "its end"
                lines.append(f"\n  {process.label}: {task.get_coro().__qualname__} waits at {where}")  # type: ignore[union-attr]
    more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "".join(lines[:_SHOWN]) + more
