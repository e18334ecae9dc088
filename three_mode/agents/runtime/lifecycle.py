"""Making agents from an order, making them anew in place, and ending them."""

import asyncio
import inspect
from collections.abc import Iterable
from functools import cache
from typing import Any

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.handlers.schema import Schema
from three_mode.agents.runtime.actor import Actor, State
from three_mode.agents.runtime.population import Making, Population
from three_mode.agents.runtime.requests import FromBus
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.importing import ClassPath, load
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.errors import ConfigurationError, PeerLost, ThreeModeError
from transports.bus import BusError

_GRACE = 2.0  # seconds that a message in hand, or a hook, may take when its agent is stopped
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


async def spawn(order: SpawnOrder, population: Population) -> dict[str, ThreeModeError]:
    """Makes the agents of an order and opens them to messages. Returns those that failed, with their errors."""
    kind = checked(order.target)
    specs = specs_of(kind)
    # All cells first: the agents then lie side by side in memory, and a broadcast touches each of them.
    actors = [Actor(f"{order.group}/{number}", order.group, specs, population) for number in order.numbers]
    making = {actor.name: Making() for actor in actors}
    population.making.update(making)
    try:
        made, failed = await _begun(kind, actors, order, population)
    finally:
        for name, one in making.items():
            _over(name, one, population)
    if not made:
        return failed
    for actor in made:
        actor.state = State.RUNNING
    names = population.add(made, order.roles)
    try:
        await population.session.bus.register(names, population.on_request, FromBus)
    except BusError as error:
        for actor in made:
            population.remove(actor)
        await _each(made, "stopped")
        raise ConfigurationError(f"{order.group}: {error}", hint="choose another name=") from None
    await population.listen([actor for actor in made if actor.state is not State.STOPPED])
    for actor in made:
        if actor in population.leaving and actor.state is State.RUNNING:  # it ended itself while it started
            population.leaves(actor)
    return failed


async def _begun(
    kind: type[Agent], actors: list[Actor], order: SpawnOrder, population: Population
) -> tuple[list[Actor], dict[str, ThreeModeError]]:
    """Those that were made and have started, and what became of the others."""
    failed: dict[str, ThreeModeError] = {}
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
    failed.update(await _each(made, "started", population))
    made = [actor for actor in made if actor.name not in failed]
    unwanted = {actor for actor in actors if population.making[actor.name].unwanted}
    if unwanted:
        await _each([actor for actor in made if actor in unwanted], "stopped")
        failed.update((actor.name, _unwanted(actor)) for actor in unwanted)
    return [actor for actor in made if actor not in unwanted], failed


def make(kind: type[Agent], actor: Actor, order: SpawnOrder) -> Agent:
    agent = kind.__new__(kind)
    actor.reset_random()
    if actor.owner.tape is not None:
        actor.owner.tape.made(actor.name, order, actor.owner.seed)
    agent._three_mode_actor = actor  # so that self.name is there in __init__
    given, named = init_schema(kind).decode_call(actor.name, "__init__", order.init)
    agent.__init__(*given, **named)  # type: ignore[misc]
    if order.mailbox is not None:
        agent.mailbox = order.mailbox
    return agent


async def restart(names: Iterable[str], population: Population, why: str) -> dict[str, ThreeModeError]:
    """Makes agents anew in place. Whose message was begun gets PeerLost at once; what waits is for the new one."""
    failed: dict[str, ThreeModeError] = {}
    for name in names:
        actor = population.actors.get(name)
        if actor is None:
            failed[name] = population.no_such(name, "restart")
            continue
        error = await _anew(actor, population, why)
        if error is not None:
            failed[name] = error
    return failed


async def _anew(actor: Actor, population: Population, why: str) -> ThreeModeError | None:
    """One after another: who is made anew already is so again, once that is done."""
    while (earlier := population.making.get(actor.name)) is not None and earlier.task is not None:
        if earlier.task.done():
            break  # whoever waited for it has not had a turn yet
        await asyncio.wait([earlier.task])
    if actor.state is State.STOPPED:
        return _unwanted(actor)
    one = population.making[actor.name] = Making()
    one.task = population.loop.create_task(_made_anew(actor, population, why))
    try:
        await asyncio.wait([one.task])
    finally:
        _over(actor.name, one, population)
    return _unwanted(actor) if one.task.cancelled() else one.task.result()


def _over(name: str, one: Making, population: Population) -> None:
    if population.making.get(name) is one:
        del population.making[name]


async def _made_anew(actor: Actor, population: Population, why: str) -> ThreeModeError | None:
    actor.state = State.STARTING
    population.leaving.discard(actor)
    for fanout in actor.fanouts:
        fanout.update_busy(actor)  # a broadcast waits for the new one, as everything else does
    order: SpawnOrder = actor.options
    await _settle(actor, f"is being restarted: {why}" if why else "is being restarted", waiting_too=False)
    await _each([actor], "stopped")
    try:
        actor.agent = make(checked(order.target), actor, order)
    except BaseException as error:  # noqa: BLE001
        return wire_errors.of_handler(error, actor.name, "__init__")
    problem = (await _each([actor], "started")).get(actor.name)
    if problem is not None:
        return problem
    if actor.state is not State.STARTING:
        return _unwanted(actor)
    for fanout in actor.fanouts:
        fanout.refresh_agents()
    actor.restarts += 1
    actor.resume()
    if actor in population.leaving:  # it ended itself while it started
        population.leaves(actor)
    return None


def _unwanted(actor: Actor) -> ThreeModeError:
    return PeerLost(f"{actor.name} was stopped while it was made", agent=actor.name)


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
            fanout.update_busy(actor)
    await _wait_for_what_runs(actors)
    gone = [name for actor in actors for name in population.remove(actor)]
    await asyncio.gather(*(_settle(actor, why or "was stopped", waiting_too=True) for actor in actors))
    await _each(actors, "stopped")
    if gone:
        try:
            await population.session.bus.unregister(gone)
        except BusError:
            pass  # the bus has gone, and the names with it
    return unknown


async def _interrupt(making: list[Making]) -> None:
    """Ends the making of agents that nobody wants any more, also where a `started` never ends."""
    for one in making:
        one.unwanted = True
        if one.task is not None:
            one.task.cancel()
    tasks = [one.task for one in making if one.task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=_GRACE)


async def _wait_for_what_runs(actors: list[Actor]) -> None:
    tasks = [run.task for actor in actors for run in actor.runs if run.task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=_GRACE)


async def _settle(actor: Actor, why: str, waiting_too: bool) -> None:
    """Ends what waits and runs; a run that will not end is left behind, and said so."""
    tasks = actor.drop_work(why, waiting_too)
    if tasks:
        _, left = await asyncio.wait(tasks, timeout=_GRACE)
        if left:
            actor.last_error = f"{len(left)} handlers ignored their cancellation"
    actor.run, actor.side = None, None


async def _each(actors: list[Actor], hook: str, population: Population | None = None) -> dict[str, ThreeModeError]:
    """Runs a hook of each at once; those that do not override it cost nothing. With a population, `stop` may end them."""
    actors = [actor for actor in actors if getattr(type(actor.agent), hook) is not getattr(Agent, hook)]
    if not actors:
        return {}
    limit = None if hook == "started" else _GRACE
    tasks = [asyncio.ensure_future(asyncio.wait_for(_outcome(actor, hook), limit)) for actor in actors]
    for actor, task in zip(actors, tasks, strict=True):
        one = population.making[actor.name] if population is not None else Making()
        one.task = task
        if one.unwanted:
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    failed: dict[str, ThreeModeError] = {}
    for actor, result in zip(actors, results, strict=True):
        if isinstance(result, BaseException):
            failed[actor.name] = wire_errors.of_handler(result, actor.name, hook)
            actor.note_error(failed[actor.name])
    return failed


async def _outcome(actor: Actor, hook: str) -> BaseException | None:
    """What a hook raised. A task would hand SystemExit to the loop, and so to all who live here."""
    try:
        await getattr(actor.agent, hook)()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001
        return error
    return None
