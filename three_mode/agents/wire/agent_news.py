"""News of agents: what is told to whoever reads events just then, and kept nowhere."""

import time

import msgspec


class AgentsSpawned(msgspec.Struct, frozen=True, tag=True):
    """Agents were made: by a spawn, or anew after the end of their host or their node."""

    agents: tuple[str, ...]
    host: str
    """Label of their host."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{some(self.agents)} were made in {self.host}"


class AgentsDied(msgspec.Struct, frozen=True, tag=True):
    """Agents ended that nobody has stopped: their host ended, or they failed or ended themselves."""

    agents: tuple[str, ...]
    host: str
    """Label of their host."""
    reason: str
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{some(self.agents)} ended in {self.host}: {self.reason}"


class AgentsStopped(msgspec.Struct, frozen=True, tag=True):
    """Agents were stopped for good."""

    agents: tuple[str, ...]
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{some(self.agents)} were stopped"


class NewDeadLetter(msgspec.Struct, frozen=True, tag=True):
    """A message that no agent has taken. `Orchestrator.dead_letters` has its content."""

    to: str
    """Agent, or agents, that it was for."""
    handler: str
    sender: str
    """Agent or host that sent it; empty for a program that is no agent."""
    reason: str
    """Why no agent has taken it."""
    size: int
    """Bytes of its content."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"dead letter to {self.to}.{self.handler} from {self.sender or 'somebody'}: {self.reason}"


class BroadcastsMissed(msgspec.Struct, frozen=True, tag=True):
    """A host has missed broadcasts that its agents listen to, as their hook `missed` is told."""

    host: str
    """Label of the host."""
    handler: str
    broadcasts: int
    """How many."""
    agents: int
    """Number of agents there that listen."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{self.broadcasts} broadcasts did not reach {self.handler} of {self.agents} agents in {self.host}"


class EventsLost(msgspec.Struct, frozen=True, tag=True):
    """Events before the next one are lost to the reader."""

    count: int
    """How many; 0 where nobody knows."""
    reason: str
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{self.count or 'some'} events are lost: {self.reason}"


AgentNews = AgentsSpawned | AgentsDied | AgentsStopped | NewDeadLetter | BroadcastsMissed | EventsLost


def some(agents: tuple[str, ...]) -> str:
    """Return the first names of agents, and how many there are besides."""
    others = f" and {len(agents) - 5} more" if len(agents) > 5 else ""
    return ", ".join(agents[:5]) + others
