"""Making agents from an order, making them anew in place, and ending them."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterable
from functools import cache
from typing import Any

from three_mode.agents import faults
from three_mode.agents.agent import Agent
from three_mode.agents.cell import Cell, State
from three_mode.agents.declare import specs_of
from three_mode.agents.importing import ClassPath, load
from three_mode.agents.orders import SpawnOrder
from three_mode.agents.population import Population
from three_mode.agents.requests import FromBus
from three_mode.agents.schema import Schema
from three_mode.errors import ConfigurationError, ThreeModeError
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
    specs, failed, made = specs_of(kind), {}, []
    # All cells first: the agents then lie side by side in memory, and a broadcast touches each of them.
    cells = [Cell(f"{order.group}/{number}", order.group, specs, population) for number in order.numbers]
    for place, cell in enumerate(cells):
        cell.options = order
        try:
            cell.agent = make(kind, cell, order)
            made.append(cell)
        except Exception as error:  # noqa: BLE001  # whatever its __init__ raised goes to whoever asked for it
            failed[cell.name] = faults.of_handler(error, cell.name, "__init__")
        if place % _BATCH == _BATCH - 1:
            await asyncio.sleep(0)
    failed.update(await _each(made, "started"))
    made = [cell for cell in made if cell.name not in failed]
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
        raise ConfigurationError(f"{order.group}: {error}", hint="choose another name=") from None
    await population.listen(made)
    return failed


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
    cell.state = State.STARTING
    order: SpawnOrder = cell.options
    await _settle(cell, f"is being restarted: {why}" if why else "is being restarted", waiting_too=False)
    await _each([cell], "stopped")
    try:
        cell.agent = make(checked(order.target), cell, order)
    except Exception as error:  # noqa: BLE001
        return faults.of_handler(error, cell.name, "__init__")
    problem = (await _each([cell], "started")).get(cell.name)
    if problem is not None:
        return problem
    for fanout in cell.fanouts:
        fanout.changed()
    cell.restarts += 1
    cell.resume()
    return None


async def stop(names: Iterable[str], population: Population, why: str) -> list[str]:
    """Ends agents: what is in hand may finish, what waits gets PeerLost, the names leave the bus. Returns the unknown."""
    cells = [population.cells[name] for name in names if name in population.cells]
    unknown = [name for name in names if name not in population.cells]
    for cell in cells:
        cell.state = State.STOPPING
        for fanout in cell.fanouts:
            fanout.look(cell)
    await _wait_for_turns(cells)
    gone = [name for cell in cells for name in population.remove(cell)]
    await asyncio.gather(*(_settle(cell, why or "was stopped", waiting_too=True) for cell in cells))
    await _each(cells, "stopped")
    if gone:
        try:
            await population.link.bus.unregister(gone)
        except BusError:
            pass  # the bus has gone, and the names with it
    return unknown


async def _wait_for_turns(cells: list[Cell]) -> None:
    tasks = [cell.run.task for cell in cells if cell.run is not None and cell.run.task is not None]
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


async def _each(cells: list[Cell], hook: str) -> dict[str, ThreeModeError]:
    """Runs a hook of each at once; those that do not override it cost nothing."""
    cells = [cell for cell in cells if getattr(type(cell.agent), hook) is not getattr(Agent, hook)]
    if not cells:
        return {}
    calls: list[Callable[[], Coroutine[Any, Any, None]]] = [getattr(cell.agent, hook) for cell in cells]
    limit = None if hook == "started" else _GRACE
    results = await asyncio.gather(
        *(asyncio.wait_for(call(), limit) for call in calls), return_exceptions=True
    )
    failed: dict[str, ThreeModeError] = {}
    for cell, result in zip(cells, results, strict=True):
        if isinstance(result, BaseException):
            failed[cell.name] = faults.of_handler(result, cell.name, hook)
            cell.note(failed[cell.name])
    return failed
