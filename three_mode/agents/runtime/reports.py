"""Reports of a population: one for each agent, and one for the process."""

import os
import time
from typing import Any

from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.population import Population
from three_mode.agents.runtime.state import State
from three_mode.agents.wire.orders import AgentReport, HostReport
from three_mode.histogram import Histogram


def messages_of(actor: Actor) -> int:
    """Return how many messages an agent has begun with, broadcasts included."""
    return actor.messages + sum(fanout.delivered_to(actor) for fanout in actor.fanouts)


def agent_report(actor: Actor, host: str) -> AgentReport:
    """Return the report of one agent."""
    run, latency = actor.run, actor.latency
    busy = run is not None or bool(actor.side)
    state = "busy" if busy and actor.state is State.RUNNING else actor.state.value
    if state == "running":
        state = "idle"
    return AgentReport(
        name=actor.name,
        kind=type(actor.agent).__name__,
        host=host,
        state=state,
        mailbox=len(actor.waiting or ()),
        doing=run.spec.name if run else "",
        doing_for=time.perf_counter() - run.since if run else 0.0,
        messages=messages_of(actor),
        errors=actor.errors,
        gaps=actor.gaps,
        restarts=actor.restarts,
        p50=latency.quantile(0.5) if latency else None,
        p99=latency.quantile(0.99) if latency else None,
        last_error=actor.last_error,
    )


class Meter:
    """Meter of CPU and memory of this process. psutil is imported at the first read."""

    def __init__(self) -> None:
        self._process: Any = None

    def read(self) -> tuple[float, int]:
        """Return the per cent of one CPU since the last read, and the resident bytes."""
        if self._process is None:
            import psutil

            self._process = psutil.Process()
        with self._process.oneshot():
            return self._process.cpu_percent(), self._process.memory_info().rss


def host_report(population: Population, meter: Meter, lag: float) -> HostReport:
    """Return the report of the process."""
    cpu, memory = meter.read()
    actors = population.actors.values()
    latency = Histogram()
    for actor in actors:
        if actor.latency is not None:
            latency.merge(actor.latency)
    return HostReport(
        label=population.label,
        pid=os.getpid(),
        state="running",
        agents=len(actors),
        cpu_percent=cpu,
        memory=memory,
        messages=sum(map(messages_of, actors)),
        errors=sum(actor.errors for actor in actors),
        dead_letters=population.dead_letters.count,
        restarts=0,
        lag=lag,
        p50=latency.quantile(0.5),
        p99=latency.quantile(0.99),
    )
