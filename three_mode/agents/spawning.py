"""Making agents from an order, making them anew in place, and ending them.

A supervisor whose order was not answered in time gives it again. So an order names what shall be there: an agent that an
earlier order made, or is still making, is not made a second time.
"""

import asyncio
import contextlib
import inspect
import math
import time
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from three_mode.agents import faults
from three_mode.agents.agent import Agent
from three_mode.agents.cell import Cell, State
from three_mode.agents.declare import specs_of
from three_mode.agents.hooks import GRACE, Hook, hooks_of, problem_of, run_hooks
from three_mode.agents.importing import ClassPath, load
from three_mode.agents.orders import SpawnOrder
from three_mode.agents.population import Population
from three_mode.agents.requests import FromBus
from three_mode.agents.schema import Schema
from three_mode.errors import ConfigurationError, DeadlineExceeded, PeerLost, ThreeModeError
from transports.bus import BusError

_BATCH = 64  # agents made before the loop gets a turn


class Making:
    """An agent that is being made, or made anew: what `stop` needs to end that, and what others wait for."""

    __slots__ = ("error", "opening", "over", "task", "unwanted")

    def __init__(self) -> None:
        self.task: asyncio.Future[Any] | None = None
        self.opening: asyncio.Task[None] | None = None  # goes on when the order is answered; held here while it runs
        self.unwanted = False
        self.over = asyncio.Event()
        self.error: ThreeModeError | None = None
        """Why the agent could not be made. Good once `over` is set."""

    async def result(self, name: str, until: float) -> ThreeModeError | None:
        """What became of the agent, or the error that it has not started by then."""
        try:
            async with asyncio.timeout(_left(until)):
                await self.over.wait()
        except TimeoutError:
            return _slow(name)
        return self.error


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
        name: population.making.get(name) for name in names if name in population.making or name in population.cells
    }
    # All cells first: the agents then lie side by side in memory, and a broadcast touches each of them.
    cells = [Cell(name, order.group, specs, population) for name in names if name not in there]
    making = {cell.name: Making() for cell in cells}
    population.making.update(making)
    failed: dict[str, ThreeModeError] = {}
    late: dict[str, ThreeModeError] = {}
    try:
        begun = await _begun(kind, cells, order, population, failed)
        for cell, hook in await _started(begun, population, until, failed):
            making[cell.name].opening = asyncio.ensure_future(_open_late(cell, hook, making[cell.name], population))
            late[cell.name] = _slow(cell.name)
        wanted = [cell for cell in begun if cell.name not in late]
        while unwanted := [cell for cell in wanted if making[cell.name].unwanted]:  # more may come while these end
            wanted = [cell for cell in wanted if not making[cell.name].unwanted]
            await _dismiss(unwanted, failed)
        await _open([cell for cell in wanted if cell.name not in failed], population, failed)
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
    kind: type[Agent], cells: list[Cell], order: SpawnOrder, population: Population, failed: dict[str, ThreeModeError]
) -> list[Cell]:
    """Calls `__init__` of each. Returns those that could be made."""
    made = []
    for place, cell in enumerate(cells):
        cell.options = order
        try:
            cell.agent = make(kind, cell, order)
            made.append(cell)
        except BaseException as error:  # noqa: BLE001  # whatever its __init__ raised goes to whoever asked for it
            failed[cell.name] = faults.of_handler(error, cell.name, "__init__")
        if place % _BATCH == _BATCH - 1:
            await asyncio.sleep(0)
    return made


async def _started(
    cells: list[Cell], population: Population, until: float, failed: dict[str, ThreeModeError]
) -> list[tuple[Cell, Hook]]:
    """Runs `started` of each at once. Returns those whose hook has not ended by `until`."""
    hooks = {cell: asyncio.ensure_future(work) for cell, work in hooks_of(cells, "started")}
    for cell, hook in hooks.items():
        one = population.making[cell.name]
        one.task = hook
        if one.unwanted:
            hook.cancel()
    if not hooks:
        return []
    _, running = await asyncio.wait(hooks.values(), timeout=_left(until))
    for cell, hook in hooks.items():
        if hook not in running and (problem := problem_of(cell, "started", hook)) is not None:
            failed[cell.name] = problem
    return [(cell, hook) for cell, hook in hooks.items() if hook in running]


async def _open_late(cell: Cell, hook: Hook, one: Making, population: Population) -> None:
    """Opens an agent that was slow to start, for which nobody waits any more."""
    failed: dict[str, ThreeModeError] = {}
    try:
        await asyncio.wait([hook])
        problem = problem_of(cell, "started", hook)
        if problem is not None:
            failed[cell.name] = problem
        if one.unwanted:
            await _dismiss([cell], failed)
        if not failed:
            await _open([cell], population, failed)
    finally:
        _over(cell.name, one, population, failed.get(cell.name))


async def _dismiss(cells: list[Cell], failed: dict[str, ThreeModeError]) -> None:
    """Ends agents that were stopped before they were open to messages."""
    await run_hooks([cell for cell in cells if cell.name not in failed], "stopped")
    failed.update((cell.name, _stopped(cell.name)) for cell in cells)


async def _open(cells: list[Cell], population: Population, failed: dict[str, ThreeModeError]) -> None:
    """Opens agents that have started to messages."""
    if not cells:
        return
    for cell in cells:
        cell.state = State.RUNNING
    order: SpawnOrder = cells[0].options
    names = population.add(cells, order.roles)
    try:
        await population.link.bus.register(names, population.on_request, FromBus)
    except BusError as error:
        await _shut(cells, population)
        refused = ConfigurationError(f"{order.group}: {error}", hint="choose another name=")
        failed.update((cell.name, refused) for cell in cells)
        return
    try:
        await population.listen([cell for cell in cells if cell.state is not State.STOPPED])
    except BusError as error:
        await _unregister(await _shut(cells, population), population)
        failed.update((cell.name, faults.from_bus(error, cell.name, "listen")) for cell in cells)
        return
    for cell in cells:
        if cell in population.leaving and cell.state is State.RUNNING:  # it ended itself while it started
            population.leaves(cell)


async def _shut(cells: list[Cell], population: Population) -> list[str]:
    """Takes back agents that could not be opened. Returns the names that went with them."""
    gone = [name for cell in cells for name in population.remove(cell)]
    await run_hooks(cells, "stopped")
    return gone


async def _unregister(names: list[str], population: Population) -> None:
    if names:
        with contextlib.suppress(BusError):  # the bus has gone, and the names with it
            await population.link.bus.unregister(names)


async def _there(
    name: str, earlier: Making | None, order: SpawnOrder, population: Population, until: float
) -> ThreeModeError | None:
    """Why an agent that an earlier order made, or is making, is not what this order wants."""
    problem = await earlier.result(name, until) if earlier is not None else None
    if problem is not None:
        return problem
    cell = population.cells.get(name)
    if cell is None:
        return _stopped(name)
    if msgspec.structs.replace(cell.options, numbers=order.numbers) != order:
        return ConfigurationError(f"{name} is here already, made by another order", hint="choose another name=")
    return None


def make(kind: type[Agent], cell: Cell, order: SpawnOrder) -> Agent:
    agent = kind.__new__(kind)
    cell.fresh()
    if cell.home.tape is not None:
        cell.home.tape.made(cell.name, order, cell.home.seed)
    agent._three_mode_cell = cell  # so that self.name is there in __init__
    given, named = init_schema(kind).decode_call(cell.name, "__init__", order.init)
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
        cell = population.cells.get(name)
        if cell is None:
            failed[name] = population.no_such(name, "restart")
            continue
        error = await _anew(cell, population, why, ticket, until)
        if error is not None:
            failed[name] = error
    return failed


async def _anew(cell: Cell, population: Population, why: str, ticket: int, until: float) -> ThreeModeError | None:
    """One after another: an agent that is made anew already is so again once that is done, unless the ticket is the same."""
    while True:
        earlier = population.making.get(cell.name)
        if ticket and population.tickets.get(cell.name) == ticket:
            if earlier is not None:
                return await earlier.result(cell.name, until)
            if cell.state is not State.STARTING:
                return None
        if earlier is None or earlier.task is None or earlier.task.done():
            break
        await asyncio.wait([earlier.task], timeout=_left(until))
        if not earlier.task.done():
            break
    if _left(until) == 0.0:
        return _slow(cell.name)  # not begun: nobody would hear what comes of it
    if cell.state is State.STOPPED:
        return _stopped(cell.name)
    one = population.making[cell.name] = Making()
    population.tickets[cell.name] = ticket
    one.task = population.loop.create_task(_made_anew(cell, population, why))
    one.opening = population.loop.create_task(_when_anew(cell, one, population))
    return await one.result(cell.name, until)


async def _when_anew(cell: Cell, one: Making, population: Population) -> None:
    assert one.task is not None
    error: ThreeModeError | None = _stopped(cell.name)
    try:
        await asyncio.wait([one.task])
        if not one.task.cancelled():
            failure = one.task.exception()
            error = one.task.result() if failure is None else faults.of_handler(failure, cell.name, "restart")
    finally:
        _over(cell.name, one, population, error)


def _over(name: str, one: Making, population: Population, error: ThreeModeError | None) -> None:
    one.error = error
    one.over.set()
    if population.making.get(name) is one:
        del population.making[name]


async def _made_anew(cell: Cell, population: Population, why: str) -> ThreeModeError | None:
    cell.state = State.STARTING
    population.leaving.discard(cell)
    for fanout in cell.fanouts:
        fanout.look(cell)  # a broadcast waits for the new one, as everything else does
    order: SpawnOrder = cell.options
    await _settle(cell, f"is being restarted: {why}" if why else "is being restarted", waiting_too=False)
    await run_hooks([cell], "stopped")
    try:
        cell.agent = make(checked(order.target), cell, order)
    except BaseException as error:  # noqa: BLE001
        return faults.of_handler(error, cell.name, "__init__")
    problem = (await run_hooks([cell], "started")).get(cell.name)
    if problem is not None:
        return problem
    if cell.state is not State.STARTING:
        return _stopped(cell.name)
    for fanout in cell.fanouts:
        fanout.changed()
    cell.restarts += 1
    cell.resume()
    if cell in population.leaving:  # it ended itself while it started
        population.leaves(cell)
    return None


def _stopped(name: str) -> ThreeModeError:
    return PeerLost(f"{name} was stopped while it was made", agent=name)


def _slow(name: str) -> ThreeModeError:
    return DeadlineExceeded(f"{name} has not started in time", stage="start")


def _left(until: float) -> float | None:
    """Seconds until then, as asyncio wants them."""
    return None if until == math.inf else max(0.0, until - time.monotonic())


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
    await run_hooks(cells, "stopped")
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


async def _wait_for_what_runs(cells: list[Cell]) -> None:
    tasks = [run.task for cell in cells for run in cell.runs if run.task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE)


async def _settle(cell: Cell, why: str, waiting_too: bool) -> None:
    """Ends what waits and runs; a run that will not end is left behind, and said so."""
    tasks = cell.drop_work(why, waiting_too)
    if tasks:
        _, left = await asyncio.wait(tasks, timeout=GRACE)
        if left:
            cell.last_error = f"{len(left)} handlers ignored their cancellation"
    cell.run, cell.side = None, None
