"""Body of a host process: join the bus, take orders, and end on order or when the orchestrator dies."""

import asyncio
import gc
import os
import signal
import sys
from typing import Any

from three_mode.agents.calling import current_bus
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.tracing import load_tracer
from three_mode.agents.host.lines import HostConfig
from three_mode.agents.host.log_forward import LogForwarder
from three_mode.agents.host.loop_guard import end_forked_children, refuse_to_stop
from three_mode.agents.host.residents import close_population, open_population, turned_away
from three_mode.agents.host.start_note import StartNote
from three_mode.agents.host.watchdog import Watchdog
from transports.bus import Bus, BusOptions

_LOGS_WITHIN = 1.0  # seconds that log records have to reach the orchestrator when a host ends


async def serve(config: HostConfig, fd: int, note: StartNote) -> None:
    """Run a host until it is stopped. `fd`: the socket to the orchestrator. `note`: says which agent is being made."""
    loop, host = asyncio.get_running_loop(), asyncio.current_task()
    assert host is not None
    refuse_to_stop(loop, host)
    end_forked_children(loop, fd)
    logs = LogForwarder(config.label)
    logs.install(config.log_levels)
    stopping: asyncio.Event = asyncio.Event()
    orphaned = False

    def on_line(line: dict[str, Any]) -> None:
        nonlocal orphaned
        orphaned = orphaned or line.get("kind") == "orphaned"
        stopping.set()

    watchdog = Watchdog(fd, loop, config.blocked_after, on_line)
    watchdog.start()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    sessions: list[Session] = []

    def bus_failed(where: str, error: BaseException) -> None:
        if not sessions or not turned_away(sessions[0], where, error):
            loop.call_exception_handler({"message": f"{config.label}: {where}: {error}", "exception": error})

    options = BusOptions(label=config.label, create=False, on_error=bus_failed, **config.bus_options)
    bus = await Bus.join(config.bus, options)
    current_bus.joined(bus)
    session = Session(bus, config.default_within, config.llm_options, config.talks)
    sessions.append(session)
    if config.tracer:
        session.tracer = load_tracer(config.tracer)

    population = await open_population(session, config, lambda: watchdog.lag)
    population.start_note = note
    logs.connect(bus)
    gc.freeze()  # loaded modules live as long as the process: the collector need not look at them
    watchdog.say(kind="ready", member=bus.id, pid=os.getpid())
    await stopping.wait()
    if not orphaned:
        await close_population(population)
    population.raised.report()
    await logs.close_on_loop(0.0 if orphaned else _LOGS_WITHIN)
    watchdog.stop()
    await session.close_talks()
    session.close()
    await bus.leave(within=0.2 if orphaned else 1.0)
    await _cancel_rest()


async def _cancel_rest() -> None:
    """Cancel all remaining tasks. A handler that ignores its cancellation does not delay the end of the process."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        _, stubborn = await asyncio.wait(left, timeout=0.3)
        if stubborn:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
