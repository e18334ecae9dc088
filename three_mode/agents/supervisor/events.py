"""What happened to hosts and agents: values for programs, kept for reading, bounded."""

import logging
import time
from collections import deque
from collections.abc import Callable

import msgspec

log = logging.getLogger("three_mode.agents")


class HostLost(msgspec.Struct, frozen=True, tag=True):
    host: str
    reason: str
    agents: int
    when: float = msgspec.field(default_factory=time.time)

    def __str__(self) -> str:
        return f"{self.host} ended with {self.agents} agents: {self.reason}"


class HostBack(msgspec.Struct, frozen=True, tag=True):
    host: str
    agents: int
    after: float
    """Seconds from its end until its agents answered again."""
    when: float = msgspec.field(default_factory=time.time)

    def __str__(self) -> str:
        return f"{self.host} is back with {self.agents} agents, {1e3 * self.after:.0f} ms after its end"


class HostGivenUp(msgspec.Struct, frozen=True, tag=True):
    host: str
    reason: str
    when: float = msgspec.field(default_factory=time.time)

    def __str__(self) -> str:
        return f"{self.host} is given up: {self.reason}"


class HostBlocked(msgspec.Struct, frozen=True, tag=True):
    """A host's loop does not turn. `agent` and `handler` say who holds it, `where` at which line; empty if none is known."""

    host: str
    seconds: float
    agent: str = ""
    handler: str = ""
    where: str = ""
    when: float = msgspec.field(default_factory=time.time)

    def __str__(self) -> str:
        who = f"{self.agent}.{self.handler} ({self.where})" if self.agent else self.where or "nobody known"
        return f"the loop of {self.host} has been blocked for {self.seconds:.1f} s by {who}"


class HostFreed(msgspec.Struct, frozen=True, tag=True):
    host: str
    when: float = msgspec.field(default_factory=time.time)

    def __str__(self) -> str:
        return f"the loop of {self.host} turns again"


class AgentRestarted(msgspec.Struct, frozen=True, tag=True):
    agent: str
    host: str
    reason: str
    when: float = msgspec.field(default_factory=time.time)

    def __str__(self) -> str:
        return f"{self.agent} was made anew in {self.host}: {self.reason}"


class AgentGivenUp(msgspec.Struct, frozen=True, tag=True):
    """It stays away: its strategy says so, or it came back too often."""

    agent: str
    reason: str
    failed: bool
    when: float = msgspec.field(default_factory=time.time)

    def __str__(self) -> str:
        return f"{self.agent} stays away: {self.reason}"


SupervisorEvent = HostLost | HostBack | HostGivenUp | HostBlocked | HostFreed | AgentRestarted | AgentGivenUp


class SupervisorEvents:
    def __init__(self, kept: int = 1000) -> None:
        self._kept: deque[SupervisorEvent] = deque(maxlen=kept)
        self.listeners: list[Callable[[SupervisorEvent], None]] = []

    def add(self, what: SupervisorEvent) -> None:
        self._kept.append(what)
        for listener in tuple(self.listeners):
            try:
                listener(what)
            except Exception:
                log.exception("a listener to events failed with: %s", what)  # what is told of goes on all the same

    def read(self) -> list[SupervisorEvent]:
        return list(self._kept)
