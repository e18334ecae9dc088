"""Hooks of agents, `started` and `stopped`: an exception in one is an error of its agent, never of its host."""

import asyncio
import inspect
from collections.abc import Coroutine, Iterator
from typing import Any

from three_mode.agents.agent import Agent
from three_mode.agents.runtime import restoring
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.startup import Noted
from three_mode.agents.wire import errors as wire_errors
from three_mode.errors import ThreeModeError

GRACE = 2.0  # seconds that a current message, or a hook, may take when its agent is stopped

Hook = asyncio.Future[BaseException | None]
"""Running hook. Its result is the exception that it raised, or None."""


async def run_hooks(actors: list[Actor], hook: str) -> dict[str, ThreeModeError]:
    """Run a hook of all agents at once; return the errors. Agents that do not override the hook cost nothing."""
    limit = None if hook == "started" else GRACE
    tasks = {actor: asyncio.ensure_future(asyncio.wait_for(work, limit)) for actor, work in hooks_of(actors, hook)}
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    problems = ((actor, problem_of(actor, hook, task)) for actor, task in tasks.items())
    return {actor.name: problem for actor, problem in problems if problem is not None}


def hooks_of(actors: list[Actor], hook: str) -> Iterator[tuple[Actor, Coroutine[Any, Any, BaseException | None]]]:
    """Return the hook of each agent that overrides it, as a coroutine. With `started` goes what was kept before."""
    return ((actor, _outcome(actor, hook)) for actor in actors if has_hook(type(actor.agent), hook))


def has_hook(kind: type[Agent], hook: str) -> bool:
    """Return whether there is something to run for a hook of a class."""
    overrides = getattr(kind, hook) is not getattr(Agent, hook)
    return overrides or (hook == "started" and kind.restored is not Agent.restored)


def problem_of(actor: Actor, hook: str, ended: Hook) -> ThreeModeError | None:
    """Return the error of a hook that has ended, if it failed."""
    failure = asyncio.CancelledError() if ended.cancelled() else ended.exception()
    if failure is None:
        failure = ended.result()
    if failure is None:
        return None
    error = wire_errors.of_handler(failure, actor.name, hook)
    actor.note_error(error)
    if hook == "stopped":
        actor.owner.raised_unseen(actor, hook, error, failure)  # the agent ends all the same
    return error


async def _outcome(actor: Actor, hook: str) -> BaseException | None:
    """Return the exception of a hook. Raised in a task, SystemExit would end the loop, and all agents of this host."""
    try:
        if hook == "started":
            await restoring.restore(actor)
            if type(actor.agent).started is Agent.started:
                return None
        work = getattr(actor.agent, hook)()
        if hook == "started" and inspect.isawaitable(work):
            work = Noted(work, actor.owner.start_note, actor.name, hook)
        await work
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001
        return error
    return None
