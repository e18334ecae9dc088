"""Running the hooks of agents, `started` and `stopped`: what they raise is an error of their agent, never of its host."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from three_mode.agents import faults
from three_mode.agents.agent import Agent
from three_mode.agents.cell import Cell
from three_mode.errors import ThreeModeError

GRACE = 2.0  # seconds that a message in hand, or a hook, may take when its agent is stopped

Hook = asyncio.Future[BaseException | None]
"""A hook that runs: what it raised is its result."""


async def run_hooks(cells: list[Cell], hook: str) -> dict[str, ThreeModeError]:
    """Runs a hook of each at once; those that do not override it cost nothing."""
    limit = None if hook == "started" else GRACE
    tasks = {cell: asyncio.ensure_future(asyncio.wait_for(work, limit)) for cell, work in hooks_of(cells, hook)}
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    problems = ((cell, problem_of(cell, hook, task)) for cell, task in tasks.items())
    return {cell.name: problem for cell, problem in problems if problem is not None}


def hooks_of(cells: list[Cell], hook: str) -> Iterator[tuple[Cell, Coroutine[Any, Any, BaseException | None]]]:
    """The hook of each that overrides it, still to be awaited."""
    return (
        (cell, _outcome(cell, hook)) for cell in cells if getattr(type(cell.agent), hook) is not getattr(Agent, hook)
    )


def problem_of(cell: Cell, hook: str, ended: Hook) -> ThreeModeError | None:
    """The error of a hook that has ended, if it failed."""
    failure = asyncio.CancelledError() if ended.cancelled() else ended.exception()
    if failure is None:
        failure = ended.result()
    if failure is None:
        return None
    error = faults.of_handler(failure, cell.name, hook)
    cell.note(error)
    return error


async def _outcome(cell: Cell, hook: str) -> BaseException | None:
    """What a hook raised. A task would hand SystemExit to the loop, and so to all who live here."""
    try:
        await getattr(cell.agent, hook)()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001
        return error
    return None
