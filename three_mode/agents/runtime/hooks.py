"""Running the hooks of agents, `started` and `stopped`: what they raise is an error of their agent, never of its host."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from three_mode.agents.agent import Agent
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.wire import errors as wire_errors
from three_mode.errors import ThreeModeError

GRACE = 2.0  # seconds that a message in hand, or a hook, may take when its agent is stopped

Hook = asyncio.Future[BaseException | None]
"""A hook that runs: what it raised is its result."""


async def run_hooks(actors: list[Actor], hook: str) -> dict[str, ThreeModeError]:
    """Runs a hook of each at once; those that do not override it cost nothing."""
    limit = None if hook == "started" else GRACE
    tasks = {actor: asyncio.ensure_future(asyncio.wait_for(work, limit)) for actor, work in hooks_of(actors, hook)}
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    problems = ((actor, problem_of(actor, hook, task)) for actor, task in tasks.items())
    return {actor.name: problem for actor, problem in problems if problem is not None}


def hooks_of(actors: list[Actor], hook: str) -> Iterator[tuple[Actor, Coroutine[Any, Any, BaseException | None]]]:
    """The hook of each that overrides it, still to be awaited."""
    return (
        (actor, _outcome(actor, hook))
        for actor in actors
        if getattr(type(actor.agent), hook) is not getattr(Agent, hook)
    )


def problem_of(actor: Actor, hook: str, ended: Hook) -> ThreeModeError | None:
    """The error of a hook that has ended, if it failed."""
    failure = asyncio.CancelledError() if ended.cancelled() else ended.exception()
    if failure is None:
        failure = ended.result()
    if failure is None:
        return None
    error = wire_errors.of_handler(failure, actor.name, hook)
    actor.note(error)
    return error


async def _outcome(actor: Actor, hook: str) -> BaseException | None:
    """What a hook raised. A task would hand SystemExit to the loop, and so to all who live here."""
    try:
        await getattr(actor.agent, hook)()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001
        return error
    return None
