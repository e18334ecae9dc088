"""Lifecycle of agents: make them from an order, restart them in place, and stop them.

A supervisor whose order was not answered in time gives it again. So an order names the agents that have to be there: an
agent that an earlier order made, or is still making, is not made a second time.
"""

import asyncio
import contextlib
import inspect
import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.handlers.schema import Schema
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.hooks import GRACE, Hook, hooks_of, problem_of, run_hooks
from three_mode.agents.runtime.population import Population
from three_mode.agents.runtime.requests import FromBus
from three_mode.agents.runtime.startup import Startup, seconds_left, slow
from three_mode.agents.runtime.state import State
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.importing import ClassPath, load
from three_mode.agents.wire.orders import SpawnOrder, role_name
from three_mode.errors import ConfigurationError, PeerLost, ThreeModeError
from transports.bus import BusError

_BATCH = 64  # agents that are made before the event loop gets a turn


@cache
def _init_schema(kind: Any) -> Schema:
    """Return the schema of a class's `__init__`."""
    init = inspect.getattr_static(kind, "__init__")
    if init is object.__init__:
        return Schema(kind.__qualname__, (), Any)
    return Schema.of(init)


def init_schema(kind: type[Agent]) -> Schema:
    """Return the schema of a class's `__init__`."""
    return _init_schema(kind)  # type: ignore[arg-type]  # a class is hashable


def load_agent_class(path: ClassPath) -> type[Agent]:
    """Import a class, and check that it is an Agent."""
    kind = load(path)
    if not issubclass(kind, Agent):
        raise ConfigurationError(f"{path} is no Agent", hint=f"class {path.name}(Agent): ...")
    return kind


async def spawn(order: SpawnOrder, population: Population, until: float = math.inf) -> dict[str, ThreeModeError]:
    """Make the agents of an order and open them to messages. Return those that failed, with their errors.

    An agent that has not started by `until`, a time of `time.monotonic()`, counts as failed and delays no other; it
    opens to messages when it has started after all.
    """
    names = [f"{order.group}/{number}" for number in order.numbers]
    kind = _import_noted(names[0] if names else order.group, order, population)
    specs = specs_of(kind)
    earlier = {
        name: population.startups.get(name)
        for name in names
        if name in population.startups or name in population.actors
    }
    # All actors first: the agents then lie side by side in memory, and a broadcast touches each of them.
    actors = [Actor(name, order.group, specs, population) for name in names if name not in earlier]
    startups = {actor.name: Startup() for actor in actors}
    population.startups.update(startups)
    failed: dict[str, ThreeModeError] = {}
    late: dict[str, ThreeModeError] = {}
    try:
        made = await _make_all(kind, actors, order, population, failed)
        for actor, hook in await _run_started(made, population, until, failed):
            startup = startups[actor.name]
            startup.opening = asyncio.ensure_future(_open_late(actor, hook, startup, population))
            late[actor.name] = slow(actor.name)
        ready = [actor for actor in made if actor.name not in late]
        while stopped := [actor for actor in ready if startups[actor.name].cancelled]:  # more may be while these end
            ready = [actor for actor in ready if not startups[actor.name].cancelled]
            await _dismiss(stopped, failed)
        await _open([actor for actor in ready if actor.name not in failed], population, failed)
    finally:
        for name, startup in startups.items():
            if name not in late:
                _finish(name, startup, population, failed.get(name))
    failed.update(late)
    for name, running in earlier.items():
        problem = await _check_earlier(name, running, order, population, until)
        if problem is not None:
            failed[name] = problem
    return failed


def _import_noted(name: str, order: SpawnOrder, population: Population) -> type[Agent]:
    """Import the class of an order; the import counts as part of the first agent's start."""
    population.start_note.begin(name, "__init__")
    try:
        return load_agent_class(order.target)
    finally:
        population.start_note.end()


async def _make_all(
    kind: type[Agent], actors: list[Actor], order: SpawnOrder, population: Population, failed: dict[str, ThreeModeError]
) -> list[Actor]:
    """Call `__init__` of each agent. Return those that could be made."""
    made = []
    for index, actor in enumerate(actors):
        actor.options = order
        try:
            actor.agent = make(kind, actor, order)
            made.append(actor)
        except BaseException as error:  # noqa: BLE001  # any exception of __init__ goes to the caller of the spawn
            failed[actor.name] = wire_errors.of_handler(error, actor.name, "__init__")
        if index % _BATCH == _BATCH - 1:
            await asyncio.sleep(0)
    return made


async def _run_started(
    actors: list[Actor], population: Population, until: float, failed: dict[str, ThreeModeError]
) -> list[tuple[Actor, Hook]]:
    """Run `started` of all agents at once. Return those whose hook has not ended by `until`."""
    hooks = {actor: asyncio.ensure_future(work) for actor, work in hooks_of(actors, "started")}
    for actor, hook in hooks.items():
        startup = population.startups[actor.name]
        startup.task = hook
        if startup.cancelled:
            hook.cancel()
    if not hooks:
        return []
    _, running = await asyncio.wait(hooks.values(), timeout=seconds_left(until))
    for actor, hook in hooks.items():
        if hook not in running and (problem := problem_of(actor, "started", hook)) is not None:
            failed[actor.name] = problem
    return [(actor, hook) for actor, hook in hooks.items() if hook in running]


async def _open_late(actor: Actor, hook: Hook, startup: Startup, population: Population) -> None:
    """Open an agent to messages that was slow to start, and that nobody waits for any more."""
    failed: dict[str, ThreeModeError] = {}
    try:
        await asyncio.wait([hook])
        problem = problem_of(actor, "started", hook)
        if problem is not None:
            failed[actor.name] = problem
        if startup.cancelled:
            await _dismiss([actor], failed)
        if not failed:
            await _open([actor], population, failed)
    finally:
        _finish(actor.name, startup, population, failed.get(actor.name))


async def _dismiss(actors: list[Actor], failed: dict[str, ThreeModeError]) -> None:
    """End agents that were stopped before they were open to messages."""
    await run_hooks([actor for actor in actors if actor.name not in failed], "stopped")
    failed.update((actor.name, _stopped(actor.name)) for actor in actors)


async def _open(actors: list[Actor], population: Population, failed: dict[str, ThreeModeError]) -> None:
    """Open agents that have started to messages."""
    if not actors:
        return
    for actor in actors:
        actor.state = State.RUNNING
    order: SpawnOrder = actors[0].options
    names = population.add(actors, order.roles)
    try:
        await population.session.bus.register(names, population.on_request, FromBus)
    except BusError as error:
        await _take_back(actors, population)
        await _register_roles(order, population)
        refused = ConfigurationError(f"{order.group}: {error}", hint="choose another name=")
        failed.update((actor.name, refused) for actor in actors)
        return
    try:
        await population.listen([actor for actor in actors if actor.state is not State.STOPPED])
    except BusError as error:
        await _unregister(await _take_back(actors, population), population)
        failed.update((actor.name, wire_errors.from_bus(error, actor.name, "listen")) for actor in actors)
        return
    for actor in actors:
        if actor in population.leaving and actor.state is State.RUNNING:  # the agent ended itself while it started
            population.leaves(actor)


async def _register_roles(order: SpawnOrder, population: Population) -> None:
    """Register the roles of an order that failed for those who have them from another order, at the same moment."""
    left = [role_name(role, population.label) for role in order.roles if population.roles.get(role)]
    if left:
        with contextlib.suppress(BusError):  # the bus has ended
            await population.session.bus.register(left, population.on_request, FromBus)


async def _take_back(actors: list[Actor], population: Population) -> list[str]:
    """End agents that could not be opened. Return the names to take off the bus."""
    gone = [name for actor in actors for name in population.remove(actor)]
    await run_hooks(actors, "stopped")
    return gone


async def _unregister(names: list[str], population: Population) -> None:
    """Take names off the bus."""
    if names:
        with contextlib.suppress(BusError):  # the bus has ended, and the names with it
            await population.session.bus.unregister(names)


async def _check_earlier(
    name: str, running: Startup | None, order: SpawnOrder, population: Population, until: float
) -> ThreeModeError | None:
    """Return why an agent that an earlier order made, or is making, is not what this order wants; None if it is."""
    problem = await running.result(name, until) if running is not None else None
    if problem is not None:
        return problem
    actor = population.actors.get(name)
    if actor is None:
        return _stopped(name)
    if msgspec.structs.replace(actor.options, numbers=order.numbers, rank=order.rank) != order:
        return ConfigurationError(f"{name} is here already, made by another order", hint="choose another name=")
    return None


def make(kind: type[Agent], actor: Actor, order: SpawnOrder) -> Agent:
    """Make the agent of an actor, with the arguments of an order."""
    owner = actor.owner
    actor.reset_random()
    actor.incarnation = ""
    if owner.journal is not None:
        owner.journal.made(actor.name, order, owner.seed)
    owner.start_note.begin(actor.name, "__init__")
    try:
        agent = kind.__new__(kind)
        agent._three_mode_actor = actor  # so that self.name is there in __init__
        args, kwargs = init_schema(kind).decode_call(actor.name, "__init__", order.init)
        agent.__init__(*args, **kwargs)  # type: ignore[misc]
    finally:
        owner.start_note.end()
    return agent


async def restart(
    names: Iterable[str], population: Population, why: str, ticket: int = 0, until: float = math.inf
) -> dict[str, ThreeModeError]:
    """Restart agents in place. Callers of begun messages get PeerLost at once; queued messages go to the new agent.

    An order that is given again has the `ticket` of the first: an agent that the first has restarted, or is restarting,
    is not restarted twice.
    """
    failed: dict[str, ThreeModeError] = {}
    for name in names:
        actor = population.actors.get(name)
        if actor is None:
            failed[name] = population.no_such(name, "restart")
            continue
        error = await _restart_one(actor, population, why, ticket, until)
        if error is not None:
            failed[name] = error
    return failed


async def _restart_one(
    actor: Actor, population: Population, why: str, ticket: int, until: float
) -> ThreeModeError | None:
    """Restart an agent, after an earlier restart that still runs, unless that one has the same ticket."""
    while True:
        earlier = population.startups.get(actor.name)
        if ticket and population.tickets.get(actor.name) == ticket:
            if earlier is not None:
                return await earlier.result(actor.name, until)
            if actor.state is not State.STARTING:
                return None
        if earlier is None or earlier.task is None or earlier.task.done():
            break
        await asyncio.wait([earlier.task], timeout=seconds_left(until))
        if not earlier.task.done():
            break
    if seconds_left(until) == 0.0:
        return slow(actor.name)  # not begun: there is no time left to report the outcome
    if actor.state is State.STOPPED:
        return _stopped(actor.name)
    startup = population.startups[actor.name] = Startup()
    population.tickets[actor.name] = ticket
    startup.task = population.loop.create_task(_replace_agent(actor, population, why))
    startup.opening = population.loop.create_task(_when_replaced(actor, startup, population))
    return await startup.result(actor.name, until)


async def _when_replaced(actor: Actor, startup: Startup, population: Population) -> None:
    """Finish a startup with the outcome of its restart."""
    assert startup.task is not None
    error: ThreeModeError | None = _stopped(actor.name)
    try:
        await asyncio.wait([startup.task])
        if not startup.task.cancelled():
            failure = startup.task.exception()
            error = startup.task.result() if failure is None else wire_errors.of_handler(failure, actor.name, "restart")
    finally:
        _finish(actor.name, startup, population, error)


def _finish(name: str, startup: Startup, population: Population, error: ThreeModeError | None) -> None:
    """End a startup, with the error of its agent or none."""
    startup.error = error
    startup.done.set()
    if population.startups.get(name) is startup:
        del population.startups[name]


async def _replace_agent(actor: Actor, population: Population, why: str) -> ThreeModeError | None:
    """End the agent of an actor, and make and start a new one. Return why that failed."""
    actor.state = State.STARTING
    population.leaving.discard(actor)
    for fanout in actor.fanouts:
        fanout.update_busy(actor)  # broadcasts wait for the new agent, as all messages do
    order: SpawnOrder = actor.options
    await _drop_runs(actor, f"is being restarted: {why}" if why else "is being restarted", waiting_too=False)
    await run_hooks([actor], "stopped")
    try:
        kind = _import_noted(actor.name, order, population)
        actor.agent = make(kind, actor, order)
        if specs_of(kind) is not actor.specs:  # its module was loaded anew
            await _take_new_class(actor, kind, population)
    except BaseException as error:  # noqa: BLE001
        return wire_errors.of_handler(error, actor.name, "__init__")
    problem = (await run_hooks([actor], "started")).get(actor.name)
    if problem is not None:
        return problem
    if actor.state is not State.STARTING:
        return _stopped(actor.name)
    for fanout in actor.fanouts:
        fanout.refresh_agents()
    actor.restarts += 1
    actor.resume()
    if actor in population.leaving:  # the agent ended itself while it started
        population.leaves(actor)
    return None


async def _take_new_class(actor: Actor, kind: type[Agent], population: Population) -> None:
    """Give an actor the handlers of its new class: for its subscriptions, and for the messages that wait."""
    for fanout in actor.fanouts:
        fanout.remove(actor)
    actor.fanouts = ()
    actor.take_specs(specs_of(kind))
    await population.listen([actor])


def _stopped(name: str) -> ThreeModeError:
    """Return the error of an agent that was stopped before it could be called."""
    return PeerLost(f"{name} was stopped while it was made", agent=name)


async def stop(names: Iterable[str], population: Population, why: str) -> list[str]:
    """Stop agents: current messages may finish, queued ones get PeerLost, names leave the bus. Return unknown names.

    An agent that another order stops already is not stopped twice: this order waits for the end of that one.
    """
    names = tuple(names)
    await _cancel_startups([population.startups[name] for name in names if name in population.startups])
    earlier = {population.ending[name] for name in names if name in population.ending}
    actors = [population.actors[name] for name in names if name in population.actors and name not in population.ending]
    unknown = [name for name in names if name not in population.actors and name not in population.ending]
    ended = population.loop.create_future()
    population.ending.update((actor.name, ended) for actor in actors)
    try:
        await _end(actors, population, why)
    finally:
        ended.set_result(None)
        for actor in actors:
            del population.ending[actor.name]
    if earlier:
        await asyncio.wait(earlier)
    return unknown


async def _end(actors: list[Actor], population: Population, why: str) -> None:
    """End agents that are open to messages."""
    for actor in actors:
        actor.state = State.STOPPING
        population.leaving.discard(actor)
        for fanout in actor.fanouts:
            fanout.update_busy(actor)
    await _wait_for_runs(actors)
    gone = [name for actor in actors for name in population.remove(actor)]
    await asyncio.gather(*(_drop_runs(actor, why or "was stopped", waiting_too=True) for actor in actors))
    await run_hooks(actors, "stopped")
    await _unregister(gone, population)


async def _cancel_startups(startups: list[Startup]) -> None:
    """End startups, also those whose `started` never ends."""
    for startup in startups:
        startup.cancelled = True
        if startup.task is not None:
            startup.task.cancel()
    ends = [startup.opening or startup.task for startup in startups]
    tasks = [task for task in ends if task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE)


async def _wait_for_runs(actors: list[Actor]) -> None:
    """Wait until current messages are done, for a moment."""
    tasks = [run.task for actor in actors for run in actor.runs if run.task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE)


async def _drop_runs(actor: Actor, why: str, waiting_too: bool) -> None:
    """End runs, and queued messages if wanted; a run that ignores its cancellation is left behind, and noted."""
    tasks = actor.drop_work(why, waiting_too)
    if tasks:
        _, left = await asyncio.wait(tasks, timeout=GRACE)
        if left:
            actor.last_error = f"{len(left)} handlers ignored their cancellation"
    actor.run, actor.side = None, None
