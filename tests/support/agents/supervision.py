"""What an orchestrator knows of its hosts and agents, and the end of a host."""

import asyncio

from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents.supervisor.events import AgentGivenUp, HostLost


async def kill(orc: Orchestrator, label: str = "host-1") -> None:
    """Returns when the orchestrator knows of it."""
    process, lost = orc._running_supervisor.hosts.all[label].process, hosts_lost(orc)
    assert process is not None
    process.kill()
    await until(lambda: hosts_lost(orc) > lost)


def hosts_lost(orc: Orchestrator) -> int:
    return sum(isinstance(event, HostLost) for event in orc.events)


def state(orc: Orchestrator, name: str) -> str:
    return orc._running_supervisor.roster.agents[name].state


def given_up(orc: Orchestrator) -> dict[str, str]:
    return {event.agent: event.reason for event in orc.events if isinstance(event, AgentGivenUp)}


async def hosts_of(orc: Orchestrator, name: str) -> list[str]:
    """Each host that has an agent of that name; the supervisor's own row of an absent agent does not count."""
    rows = [row for row in (await orc.table()).agents if row.name == name]
    return [row.host for row in rows if row.state not in ("given up", "restarting")]


async def is_gone(orc: Orchestrator, name: str) -> None:
    """Neither a host nor the bus has such an agent, nor will have it."""
    await until(lambda: name not in orc.bus.names())
    await asyncio.sleep(0.5)
    assert name not in orc.bus.names()
    assert await hosts_of(orc, name) == []
