"""Making agents from an order, making them anew in place, and ending them."""

import asyncio
import inspect
from collections.abc import Iterable
from functools import cache
from typing import Any

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.handlers.schema import Schema
from three_mode.agents.runtime.actor import Cell, State
from three_mode.agents.runtime.population import Population
from three_mode.agents.runtime.requests import FromBus
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.importing import ClassPath, load
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.errors import ConfigurationError, PeerLost, ThreeModeError
from transports.bus import BusError

_GRACE = 2.0  # seconds that a message in hand, or a hook, may take when its agent is stopped
_BATCH = 64  # agents made before the loop gets a turn


class Making:
    """An agent that is being made, or made anew, and what `stop` needs to end that."""

    __slots__ = ("task", "unwanted")

    def __init__(self) -> None:
        self.task: asyncio.Future[Any] | None = None
        self.unwanted = False


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
    cells = [Cell(f"{order.group}/{number}", order.group, specs, population) for number in order.numbers]
    making = {cell.name: Making() for cell in cells}
    population.making.update(making)
    try:
        made, failed = await _begun(kind, cells, order, population)
    finally:
        for name, one in making.items():
            _over(name, one, population)
    if not made:
        return failed
    for cell in made:
        cell.state = State.RUNNING
    names = population.add(made, order.roles)
    try:
        await population.link.bus.register(names, population.on_request, FromBus)
    except BusError as error:
        for cell in made:
            population.remove(cell)
        await _each(made, "stopped")
        raise ConfigurationError(f"{order.group}: {error}", hint="choose another name=") from None
    await population.listen([cell for cell in made if cell.state is not State.STOPPED])
    for cell in made:
        if cell in population.leaving and cell.state is State.RUNNING:  # it ended itself while it started
            population.leaves(cell)
    return failed


async def _begun(
    kind: type[Agent], cells: list[Cell], order: SpawnOrder, population: Population
) -> tuple[list[Cell], dict[str, ThreeModeError]]:
    """Those that were made and have started, and what became of the others."""
    failed: dict[str, ThreeModeError] = {}
    made = []
    for place, cell in enumerate(cells):
        cell.options = order
        try:
            cell.agent = make(kind, cell, order)
            made.append(cell)
        except BaseException as error:  # noqa: BLE001  # whatever its __init__ raised goes to whoever asked for it
            failed[cell.name] = wire_errors.of_handler(error, cell.name, "__init__")
        if place % _BATCH == _BATCH - 1:
            await asyncio.sleep(0)
    failed.update(await _each(made, "started", population))
    made = [cell for cell in made if cell.name not in failed]
    unwanted = {cell for cell in cells if population.making[cell.name].unwanted}
    if unwanted:
        await _each([cell for cell in made if cell in unwanted], "stopped")
        failed.update((cell.name, _unwanted(cell)) for cell in unwanted)
    return [cell for cell in made if cell not in unwanted], failed


def make(kind: type[Agent], cell: Cell, order: SpawnOrder) -> Agent:
    agent = kind.__new__(kind)
    cell.fresh()
    if cell.home.tape is not None:
        cell.home.tape.made(cell.name, order, cell.home.seed)
    agent._three_mode_cell = cell  # so that self.name is there in __init__
    given, named = init_schema(kind).decode_call(cell.name, "__init__", order.init)
    agent.__init__(*given, **named)  # type: ignore[misc]
    if order.mailbox is not None:
        agent.mailbox = order.mailbox
    return agent


async def restart(names: Iterable[str], population: Population, why: str) -> dict[str, ThreeModeError]:
    """Makes agents anew in place. Whose message was begun gets PeerLost at once; what waits is for the new one."""
    failed: dict[str, ThreeModeError] = {}
    for name in names:
        cell = population.cells.get(name)
        if cell is None:
            failed[name] = population.no_such(name, "restart")
            continue
        error = await _anew(cell, population, why)
        if error is not None:
            failed[name] = error
    return failed


async def _anew(cell: Cell, population: Population, why: str) -> ThreeModeError | None:
    """One after another: who is made anew already is so again, once that is done."""
    while (earlier := population.making.get(cell.name)) is not None and earlier.task is not None:
        if earlier.task.done():
            break  # whoever waited for it has not had a turn yet
        await asyncio.wait([earlier.task])
    if cell.state is State.STOPPED:
        return _unwanted(cell)
    one = population.making[cell.name] = Making()
    one.task = population.loop.create_task(_made_anew(cell, population, why))
    try:
        await asyncio.wait([one.task])
    finally:
        _over(cell.name, one, population)
    return _unwanted(cell) if one.task.cancelled() else one.task.result()


def _over(name: str, one: Making, population: Population) -> None:
    if population.making.get(name) is one:
        del population.making[name]


async def _made_anew(cell: Cell, population: Population, why: str) -> ThreeModeError | None:
    cell.state = State.STARTING
    population.leaving.discard(cell)
    for fanout in cell.fanouts:
        fanout.look(cell)  # a broadcast waits for the new one, as everything else does
    order: SpawnOrder = cell.options
    await _settle(cell, f"is being restarted: {why}" if why else "is being restarted", waiting_too=False)
    await _each([cell], "stopped")
    try:
        cell.agent = make(checked(order.target), cell, order)
    except BaseException as error:  # noqa: BLE001
        return wire_errors.of_handler(error, cell.name, "__init__")
    problem = (await _each([cell], "started")).get(cell.name)
    if problem is not None:
        return problem
    if cell.state is not State.STARTING:
        return _unwanted(cell)
    for fanout in cell.fanouts:
        fanout.changed()
    cell.restarts += 1
    cell.resume()
    if cell in population.leaving:  # it ended itself while it started
        population.leaves(cell)
    return None


def _unwanted(cell: Cell) -> ThreeModeError:
    return PeerLost(f"{cell.name} was stopped while it was made", agent=cell.name)


async def stop(names: Iterable[str], population: Population, why: str) -> list[str]:
    """Ends agents: what is in hand may finish, what waits gets PeerLost, the names leave the bus. Returns the unknown."""
    names = tuple(names)
    await _interrupt([population.making[name] for name in names if name in population.making])
    cells = [population.cells[name] for name in names if name in population.cells]
    unknown = [name for name in names if name not in population.cells]
    for cell in cells:
        cell.state = State.STOPPING
        population.leaving.discard(cell)
        for fanout in cell.fanouts:
            fanout.look(cell)
    await _wait_for_what_runs(cells)
    gone = [name for cell in cells for name in population.remove(cell)]
    await asyncio.gather(*(_settle(cell, why or "was stopped", waiting_too=True) for cell in cells))
    await _each(cells, "stopped")
    if gone:
        try:
            await population.link.bus.unregister(gone)
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


async def _wait_for_what_runs(cells: list[Cell]) -> None:
    tasks = [run.task for cell in cells for run in cell.runs if run.task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=_GRACE)


async def _settle(cell: Cell, why: str, waiting_too: bool) -> None:
    """Ends what waits and runs; a run that will not end is left behind, and said so."""
    tasks = cell.drop_work(why, waiting_too)
    if tasks:
        _, left = await asyncio.wait(tasks, timeout=_GRACE)
        if left:
            cell.last_error = f"{len(left)} handlers ignored their cancellation"
    cell.run, cell.side = None, None


async def _each(cells: list[Cell], hook: str, population: Population | None = None) -> dict[str, ThreeModeError]:
    """Runs a hook of each at once; those that do not override it cost nothing. With a population, `stop` may end them."""
    cells = [cell for cell in cells if getattr(type(cell.agent), hook) is not getattr(Agent, hook)]
    if not cells:
        return {}
    limit = None if hook == "started" else _GRACE
    tasks = [asyncio.ensure_future(asyncio.wait_for(_outcome(cell, hook), limit)) for cell in cells]
    for cell, task in zip(cells, tasks, strict=True):
        one = population.making[cell.name] if population is not None else Making()
        one.task = task
        if one.unwanted:
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    failed: dict[str, ThreeModeError] = {}
    for cell, result in zip(cells, results, strict=True):
        if isinstance(result, BaseException):
            failed[cell.name] = wire_errors.of_handler(result, cell.name, hook)
            cell.note(failed[cell.name])
    return failed


async def _outcome(cell: Cell, hook: str) -> BaseException | None:
    """What a hook raised. A task would hand SystemExit to the loop, and so to all who live here."""
    try:
        await getattr(cell.agent, hook)()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001
        return error
    return None
