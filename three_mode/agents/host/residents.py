"""Residents of a host: its population on the bus, and the orders that it takes; in a process of its own, or in the
orchestrator's."""

import asyncio
import contextlib
from collections.abc import Callable

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import encode
from three_mode.agents.host.lines import HostConfig
from three_mode.agents.host.llm_events import LLMEventForwarder
from three_mode.agents.host.service import HostService
from three_mode.agents.keeping.bus_store import BusStore
from three_mode.agents.keeping.keeper import Keeper
from three_mode.agents.keeping.options import KeepOptions
from three_mode.agents.keeping.values import KeptStore
from three_mode.agents.runtime import lifecycle
from three_mode.agents.runtime.population import Population
from three_mode.agents.wire.orders import LISTENED_FOR, ORCHESTRATOR, Failed, Raised, RaisedReport, host_name
from three_mode.handling import NOBODY, current
from transports.bus import BusError, Encoded, NoSuchName

LABEL_HERE = "host-0"


async def open_population(
    session: Session,
    config: HostConfig,
    lag: Callable[[], float] = lambda: 0.0,
    store: Callable[[], KeptStore] | None = None,
) -> Population:
    """Make the population of a host, and register the host's name, under which it takes orders.

    `lag`: the seconds by which the event loop was late at the last look. `store`: gives the store of snapshots of this
    process, where it has one that others ask for.
    """
    bus = session.bus

    def tell_supervisor(failed: Failed) -> None:
        try:
            bus.send(ORCHESTRATOR, Encoded(encode(failed)), topic="failed", sender=host_name(config.label))
        except BusError as error:
            session.dead_letters.add(ORCHESTRATOR, "failed", failed.name, error.code, failed.reason, encode(failed))

    def report_raised(raised: tuple[Raised, ...]) -> None:
        with contextlib.suppress(BusError):  # the orchestrator has left; the log has them all the same
            report = Encoded(encode(RaisedReport(config.label, raised)))
            bus.send(ORCHESTRATOR, report, topic="raised", sender=host_name(config.label))

    population = Population(session, config.label, tell_supervisor)
    population.raised.send = report_raised
    population.context.run(current.set, NOBODY)
    population.seed = config.seed
    population.keeper = Keeper(config.keep.largest, store or (lambda: store_of_host(session, config.keep)))
    if config.record:
        from three_mode.agents.recording.recorder import Recorder

        population.journal = Recorder(config.record)
    llm_events = LLMEventForwarder(session, config.label)
    llm_events.listen(config.llm_events, LISTENED_FOR)
    population.when_closed.append(llm_events.close)
    service = HostService(population, llm_events, lag, page_content=config.page_content)
    await bus.register(host_name(config.label), service.on_request)
    return population


def store_of_host(session: Session, options: KeepOptions) -> KeptStore:
    """Return the store of snapshots of a host: the file, or the orchestrator's."""
    if options.file:
        from three_mode.agents.keeping.file_store import FileStore  # SQLite, for whoever has a file

        return FileStore(options)
    return BusStore(session, options.within)


def turned_away(session: Session, where: str, error: BaseException) -> bool:
    """Make a dead letter of a message to a name that has just left; return False for any other error of the bus."""
    if not isinstance(error, NoSuchName):
        return False
    session.dead_letters.add(where, "", "", error.code, str(error), b"")
    return True


async def close_population(population: Population) -> None:
    """Stop all agents, and end the recording of them."""
    await lifecycle.stop(tuple(population.actors), population, "was stopped with its host")
    if population.watch is not None:
        population.watch.end()
    population.starter.close()
    if population.keeper is not None:
        await population.keeper.close()
    for close in population.when_closed:
        close()
    await asyncio.sleep(0)  # the tasks that stood by end
    population.raised.report()
    if population.journal is not None:
        population.journal.close()
