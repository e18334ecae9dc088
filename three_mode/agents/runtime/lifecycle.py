"""Making agents from an order, making them anew in place, and ending them.

A supervisor whose order was not answered in time gives it again. So an order names what shall be there: an agent that an
earlier order made, or is still making, is not made a second time.
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
from three_mode.agents.runtime.actor import Actor, State
from three_mode.agents.runtime.hooks import GRACE, Hook, hooks_of, problem_of, run_hooks
from three_mode.agents.runtime.making import Making, seconds_left, slow
from three_mode.agents.runtime.population import Population
from three_mode.agents.runtime.requests import FromBus
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.importing import ClassPath, load
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.errors import ConfigurationError, PeerLost, ThreeModeError
from transports.bus import BusError

_BATCH = 64  # agents made before the loop gets a turn


@cache
def _init_schema(kind: Any) -> Schema:
    """The arguments of a class's `__init__`."""
    init = inspect.getattr_static(kind, "__init__")
    if init is object.__init__:
        return Schema(kind.__qualname__, (), Any)
    return Schema.of(init)


def init_schema(kind: type[Agent]) -> Schema:
    return _init_schema(kind)  # type: ignore[arg-type]  # a class is hashable


def checked(path: ClassPath) -> type[Agent]:
    kind = load(path)
    if not issubclass(kind, Agent):
        raise ConfigurationError(f"{path} is no Agent", hint=f"class {path.name}(Agent): ...")
    return kind


async def spawn(order: SpawnOrder, population: Population, until: float = math.inf) -> dict[str, ThreeModeError]:
    """Makes the agents of an order and opens them to messages. Returns those that failed, with their errors.

    Agents that have not started by `until`, a time of `time.monotonic()`, count as failed and keep nobody waiting; each
    opens to messages when it has started after all.
    """
    kind = checked(order.target)
    specs = specs_of(kind)
    names = [f"{order.group}/{number}" for number in order.numbers]
    there = {
        name: population.making.get(name) for name in names if name in population.making or name in population.actors
    }
    # All actors first: the agents then lie side by side in memory, and a broadcast touches each of them.
    actors = [Actor(name, order.group, specs, population) for name in names if name not in there]
    making = {actor.name: Making() for actor in actors}
    population.making.update(making)
    failed: dict[str, ThreeModeError] = {}
    late: dict[str, ThreeModeError] = {}
    try:
        begun = await _begun(kind, actors, order, population, failed)
        for actor, hook in await _started(begun, population, until, failed):
            making[actor.name].opening = asyncio.ensure_future(_open_late(actor, hook, making[actor.name], population))
            late[actor.name] = slow(actor.name)
        wanted = [actor for actor in begun if actor.name not in late]
        while unwanted := [actor for actor in wanted if making[actor.name].unwanted]:  # more may come while these end
            wanted = [actor for actor in wanted if not making[actor.name].unwanted]
            await _dismiss(unwanted, failed)
        await _open([actor for actor in wanted if actor.name not in failed], population, failed)
    finally:
        for name, one in making.items():
            if name not in late:
                _over(name, one, population, failed.get(name))
    failed.update(late)
    for name, earlier in there.items():
        problem = await _there(name, earlier, order, population, until)
        if problem is not None:
            failed[name] = problem
    return failed


async def _begun(
    kind: type[Agent], actors: list[Actor], order: SpawnOrder, population: Population, failed: dict[str, ThreeModeError]
) -> list[Actor]:
    """Calls `__init__` of each. Returns those that could be made."""
    made = []
    for place, actor in enumerate(actors):
        actor.options = order
        try:
            actor.agent = make(kind, actor, order)
            made.append(actor)
        except BaseException as error:  # noqa: BLE001  # whatever its __init__ raised goes to whoever asked for it
            failed[actor.name] = wire_errors.of_handler(error, actor.name, "__init__")
        if place % _BATCH == _BATCH - 1:
            await asyncio.sleep(0)
    return made


async def _started(
    actors: list[Actor], population: Population, until: float, failed: dict[str, ThreeModeError]
) -> list[tuple[Actor, Hook]]:
    """Runs `started` of each at once. Returns those whose hook has not ended by `until`."""
    hooks = {actor: asyncio.ensure_future(work) for actor, work in hooks_of(actors, "started")}
    for actor, hook in hooks.items():
        one = population.making[actor.name]
        one.task = hook
        if one.unwanted:
            hook.cancel()
    if not hooks:
        return []
    _, running = await asyncio.wait(hooks.values(), timeout=seconds_left(until))
    for actor, hook in hooks.items():
        if hook not in running and (problem := problem_of(actor, "started", hook)) is not None:
            failed[actor.name] = problem
    return [(actor, hook) for actor, hook in hooks.items() if hook in running]


async def _open_late(actor: Actor, hook: Hook, one: Making, population: Population) -> None:
    """Opens an agent that was slow to start, for which nobody waits any more."""
    failed: dict[str, ThreeModeError] = {}
    try:
        await asyncio.wait([hook])
        problem = problem_of(actor, "started", hook)
        if problem is not None:
            failed[actor.name] = problem
        if one.unwanted:
            await _dismiss([actor], failed)
        if not failed:
            await _open([actor], population, failed)
    finally:
        _over(actor.name, one, population, failed.get(actor.name))


async def _dismiss(actors: list[Actor], failed: dict[str, ThreeModeError]) -> None:
    """Ends agents that were stopped before they were open to messages."""
    await run_hooks([actor for actor in actors if actor.name not in failed], "stopped")
    failed.update((actor.name, _stopped(actor.name)) for actor in actors)


async def _open(actors: list[Actor], population: Population, failed: dict[str, ThreeModeError]) -> None:
    """Opens agents that have started to messages."""
    if not actors:
        return
    for actor in actors:
        actor.state = State.RUNNING
    order: SpawnOrder = actors[0].options
    names = population.add(actors, order.roles)
    try:
        await population.session.bus.register(names, population.on_request, FromBus)
    except BusError as error:
        await _shut(actors, population)
        refused = ConfigurationError(f"{order.group}: {error}", hint="choose another name=")
        failed.update((actor.name, refused) for actor in actors)
        return
    try:
        await population.listen([actor for actor in actors if actor.state is not State.STOPPED])
    except BusError as error:
        await _unregister(await _shut(actors, population), population)
        failed.update((actor.name, wire_errors.from_bus(error, actor.name, "listen")) for actor in actors)
        return
    for actor in actors:
        if actor in population.leaving and actor.state is State.RUNNING:  # it ended itself while it started
            population.leaves(actor)


async def _shut(actors: list[Actor], population: Population) -> list[str]:
    """Takes back agents that could not be opened. Returns the names that went with them."""
    gone = [name for actor in actors for name in population.remove(actor)]
    await run_hooks(actors, "stopped")
    return gone


async def _unregister(names: list[str], population: Population) -> None:
    if names:
        with contextlib.suppress(BusError):  # the bus has gone, and the names with it
            await population.session.bus.unregister(names)


async def _there(
    name: str, earlier: Making | None, order: SpawnOrder, population: Population, until: float
) -> ThreeModeError | None:
    """Why an agent that an earlier order made, or is making, is not what this order wants."""
    problem = await earlier.result(name, until) if earlier is not None else None
    if problem is not None:
        return problem
    actor = population.actors.get(name)
    if actor is None:
        return _stopped(name)
    if msgspec.structs.replace(actor.options, numbers=order.numbers) != order:
        return ConfigurationError(f"{name} is here already, made by another order", hint="choose another name=")
    return None


def make(kind: type[Agent], actor: Actor, order: SpawnOrder) -> Agent:
    agent = kind.__new__(kind)
    actor.fresh()
    if actor.owner.tape is not None:
        actor.owner.tape.made(actor.name, order, actor.owner.seed)
    agent._three_mode_actor = actor  # so that self.name is there in __init__
    given, named = init_schema(kind).decode_call(actor.name, "__init__", order.init)
    agent.__init__(*given, **named)  # type: ignore[misc]
    return agent


async def restart(
    names: Iterable[str], population: Population, why: str, ticket: int = 0, until: float = math.inf
) -> dict[str, ThreeModeError]:
    """Makes agents anew in place. Whose message was begun gets PeerLost at once; what waits is for the new one.

    An order that is given again has the `ticket` of the first: what the first has done, or is doing, is not done twice.
    """
    failed: dict[str, ThreeModeError] = {}
    for name in names:
        actor = population.actors.get(name)
        if actor is None:
            failed[name] = population.no_such(name, "restart")
            continue
        error = await _anew(actor, population, why, ticket, until)
        if error is not None:
            failed[name] = error
    return failed


async def _anew(actor: Actor, population: Population, why: str, ticket: int, until: float) -> ThreeModeError | None:
    """One after another: an agent that is made anew already is so again once that is done, unless the ticket is the same."""
    while True:
        earlier = population.making.get(actor.name)
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
        return slow(actor.name)  # not begun: nobody would hear what comes of it
    if actor.state is State.STOPPED:
        return _stopped(actor.name)
    one = population.making[actor.name] = Making()
    population.tickets[actor.name] = ticket
    one.task = population.loop.create_task(_made_anew(actor, population, why))
    one.opening = population.loop.create_task(_when_anew(actor, one, population))
    return await one.result(actor.name, until)


async def _when_anew(actor: Actor, one: Making, population: Population) -> None:
    assert one.task is not None
    error: ThreeModeError | None = _stopped(actor.name)
    try:
        await asyncio.wait([one.task])
        if not one.task.cancelled():
            failure = one.task.exception()
            error = one.task.result() if failure is None else wire_errors.of_handler(failure, actor.name, "restart")
    finally:
        _over(actor.name, one, population, error)


def _over(name: str, one: Making, population: Population, error: ThreeModeError | None) -> None:
    one.error = error
    one.over.set()
    if population.making.get(name) is one:
        del population.making[name]


async def _made_anew(actor: Actor, population: Population, why: str) -> ThreeModeError | None:
    actor.state = State.STARTING
    population.leaving.discard(actor)
    for fanout in actor.fanouts:
        fanout.look(actor)  # a broadcast waits for the new one, as everything else does
    order: SpawnOrder = actor.options
    await _settle(actor, f"is being restarted: {why}" if why else "is being restarted", waiting_too=False)
    await run_hooks([actor], "stopped")
    try:
        actor.agent = make(checked(order.target), actor, order)
    except BaseException as error:  # noqa: BLE001
        return wire_errors.of_handler(error, actor.name, "__init__")
    problem = (await run_hooks([actor], "started")).get(actor.name)
    if problem is not None:
        return problem
    if actor.state is not State.STARTING:
        return _stopped(actor.name)
    for fanout in actor.fanouts:
        fanout.changed()
    actor.restarts += 1
    actor.resume()
    if actor in population.leaving:  # it ended itself while it started
        population.leaves(actor)
    return None


def _stopped(name: str) -> ThreeModeError:
    return PeerLost(f"{name} was stopped while it was made", agent=name)


async def stop(names: Iterable[str], population: Population, why: str) -> list[str]:
    """Ends agents: what is in hand may finish, what waits gets PeerLost, the names leave the bus. Returns the unknown."""
    names = tuple(names)
    await _interrupt([population.making[name] for name in names if name in population.making])
    actors = [population.actors[name] for name in names if name in population.actors]
    unknown = [name for name in names if name not in population.actors]
    for actor in actors:
        actor.state = State.STOPPING
        population.leaving.discard(actor)
        for fanout in actor.fanouts:
            fanout.look(actor)
    await _wait_for_what_runs(actors)
    gone = [name for actor in actors for name in population.remove(actor)]
    await asyncio.gather(*(_settle(actor, why or "was stopped", waiting_too=True) for actor in actors))
    await run_hooks(actors, "stopped")
    await _unregister(gone, population)
    return unknown


async def _interrupt(making: list[Making]) -> None:
    """Ends the making of agents that nobody wants any more, also where a `started` never ends."""
    for one in making:
        one.unwanted = True
        if one.task is not None:
            one.task.cancel()
    ends = [one.opening or one.task for one in making]
    tasks = [task for task in ends if task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE)


async def _wait_for_what_runs(actors: list[Actor]) -> None:
    tasks = [run.task for actor in actors for run in actor.runs if run.task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE)


async def _settle(actor: Actor, why: str, waiting_too: bool) -> None:
    """Ends what waits and runs; a run that will not end is left behind, and said so."""
    tasks = actor.drop_work(why, waiting_too)
    if tasks:
        _, left = await asyncio.wait(tasks, timeout=GRACE)
        if left:
            actor.last_error = f"{len(left)} handlers ignored their cancellation"
    actor.run, actor.side = None, None
