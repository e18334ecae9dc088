"""Events of hosts and agents, and the bounded log that keeps them and calls listeners."""

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable

import msgspec

from three_mode.agents.wire.agent_news import AgentNews, some

log = logging.getLogger("three_mode.agents")


class HostLost(msgspec.Struct, frozen=True, tag=True):
    """A host process has ended; its agents are about to come back."""

    host: str
    """Label of the host: `host-1`."""
    reason: str
    agents: int
    """Number of its agents."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{self.host} ended with {self.agents} agents: {self.reason}"


class HostBack(msgspec.Struct, frozen=True, tag=True):
    """A host that had ended runs again, with its agents."""

    host: str
    agents: int
    """Number of its agents that run."""
    after: float
    """Seconds from its end until its agents answered again."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{self.host} is back with {self.agents} agents, {1e3 * self.after:.0f} ms after its end"


class HostGivenUp(msgspec.Struct, frozen=True, tag=True):
    """A host ended too often and stays away; its agents go to the other hosts."""

    host: str
    reason: str
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{self.host} is given up: {self.reason}"


class HostBlocked(msgspec.Struct, frozen=True, tag=True):
    """A host's event loop does not turn."""

    host: str
    seconds: float
    """Seconds for which it has been blocked."""
    agent: str = ""
    """Agent that blocks it; empty if none is known."""
    handler: str = ""
    where: str = ""
    """File, line and function at which the loop's thread is."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        who = f"{self.agent}.{self.handler} ({self.where})" if self.agent else self.where or "nobody known"
        return f"the loop of {self.host} has been blocked for {self.seconds:.1f} s by {who}"


class HostFreed(msgspec.Struct, frozen=True, tag=True):
    """A host's event loop that was blocked turns again."""

    host: str
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"the loop of {self.host} turns again"


class AgentsQuarantined(msgspec.Struct, frozen=True, tag=True):
    """A host ended while it made an agent: that order is tried once more in a host of its own."""

    agent: str
    """Agent that was being made."""
    host: str
    """Label of the host of their own: `quarantine-1`."""
    agents: int
    """Number of agents of the order, which are all made there."""
    reason: str
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        others = f" and {self.agents - 1} of its group" if self.agents > 1 else ""
        return f"{self.agent}{others} will be made in {self.host}, a host of its own: {self.reason}"


class AgentRestarted(msgspec.Struct, frozen=True, tag=True):
    """An agent was restarted in place, or made again."""

    agent: str
    host: str
    reason: str
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{self.agent} was made anew in {self.host}: {self.reason}"


class AgentGivenUp(msgspec.Struct, frozen=True, tag=True):
    """An agent stays away: its restart strategy says so, or it came back too often."""

    agent: str
    reason: str
    failed: bool
    """False: it ended itself, as its strategy allows."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{self.agent} stays away: {self.reason}"


class HandlerRaised(msgspec.Struct, frozen=True, tag=True):
    """Handlers raised where no caller waits: of `@on`, or of a told message. The log has the tracebacks."""

    agent: str
    """First agent of its group for which this happened; empty for failures of many kinds."""
    handler: str
    host: str
    reason: str
    """The first of these errors, as `HandlerFailed: scout/7.read raised KeyError: 'id'`."""
    times: int = 1
    """Failures of this handler in this group and host that the event stands for."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        often = f", and {self.times - 1} times more" if self.times > 1 else ""
        return f"{self.reason}{often}, in {self.host}"


class NodeJoined(msgspec.Struct, frozen=True, tag=True):
    """Another node of the cluster was found."""

    node: str
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"node {self.node} joined"


class NodeSuspected(msgspec.Struct, frozen=True, tag=True):
    """Another node of the cluster is silent; it may be lost."""

    node: str
    seconds: float
    """Seconds for which it has been silent."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"node {self.node} has been silent for {self.seconds:.1f} s"


class NodeLost(msgspec.Struct, frozen=True, tag=True):
    """Another node of the cluster is lost, or left: its agents cannot be called."""

    node: str
    reason: str
    agents: int
    """Number of its agents."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"node {self.node} is gone with {self.agents} agents: {self.reason}"


class NodeBack(msgspec.Struct, frozen=True, tag=True):
    """A node that was suspected or lost can be heard again."""

    node: str
    after: float
    """Seconds for which it was silent."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"node {self.node} is back after {self.after:.1f} s"


class AgentsOutranked(msgspec.Struct, frozen=True, tag=True):
    """Agents here end: another node has later ones of the same names, as two sides of a parted network may."""

    agents: tuple[str, ...]
    node: str
    """Node that has the later ones."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{', '.join(self.agents[:5])} end here: node {self.node} has later agents of these names"


class AgentsMoved(msgspec.Struct, frozen=True, tag=True):
    """Agents of a node that is lost, or left, run at another one: made anew there."""

    agents: tuple[str, ...]
    origin: str
    """Name of the node that they were at."""
    node: str
    """Name of the node that they are at."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{some(self.agents)} of node {self.origin} run at node {self.node} now"


class AgentsStranded(msgspec.Struct, frozen=True, tag=True):
    """Agents of a node that is lost, or left, wait for a node that may run them."""

    agents: tuple[str, ...]
    reason: str
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"{some(self.agents)} wait for a node: {self.reason}"


class NodeRefused(msgspec.Struct, frozen=True, tag=True):
    """A node cannot run the agents of a group, and is left out."""

    node: str
    group: str
    reason: str
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"node {self.node} is left out for {self.group}: {self.reason}"


class HomeLost(msgspec.Struct, frozen=True, tag=True):
    """The node that placed agents here is lost, or left."""

    node: str
    agents: int
    """Number of its agents here."""
    alone: str
    """What becomes of them: keep, pause or stop."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"node {self.node}, which placed {self.agents} agents here, is gone; what they do alone: {self.alone}"


class HomeBack(msgspec.Struct, frozen=True, tag=True):
    """The node that placed agents here was lost, and is back."""

    node: str
    agents: int
    """Number of its agents here."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"node {self.node}, which placed {self.agents} agents here, is back"


class TookOver(msgspec.Struct, frozen=True, tag=True):
    """A node leads agents in the place of another one: they stay where they are, but those that were there come back
    elsewhere. Whoever stood by has this event, and each node with such agents."""

    node: str
    """Node that leads them now: one's own, where that took over."""
    origin: str
    """Node that led them before."""
    agents: int
    """Number of them; at a node that does not lead, of those here."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"node {self.node} leads {self.agents} agents in the place of node {self.origin}"


class SteppedDown(msgspec.Struct, frozen=True, tag=True):
    """This node led, and stands by now: another one has taken over from it."""

    node: str
    """Node that leads in its place."""
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        return f"this node stands by now: node {self.node} leads in its place"


class NodeGap(msgspec.Struct, frozen=True, tag=True):
    """Messages from another node did not arrive: `first` to `last` of its messages to this node, or its broadcasts."""

    node: str
    first: int
    last: int
    broadcasts: bool
    when: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        what = "broadcasts" if self.broadcasts else "messages"
        return f"{self.last - self.first + 1} {what} of node {self.node} did not arrive"


SupervisorEvent = (
    HostLost
    | HostBack
    | HostGivenUp
    | HostBlocked
    | HostFreed
    | AgentRestarted
    | AgentGivenUp
    | AgentsQuarantined
    | HandlerRaised
    | NodeJoined
    | NodeSuspected
    | NodeLost
    | NodeBack
    | AgentsOutranked
    | AgentsMoved
    | AgentsStranded
    | NodeRefused
    | HomeLost
    | HomeBack
    | TookOver
    | SteppedDown
    | NodeGap
)
"""Any event of hosts, agents and other nodes, as `Orchestrator.events` has them."""


class SupervisorEvents:
    """Bounded log of events: it keeps the last 1000, and calls each listener with each event.

    `HandlerRaised` has a place of its own: a handler that fails all the time does not push out the end of a host.
    """

    def __init__(self, kept: int = 1000) -> None:
        self._kept: deque[SupervisorEvent] = deque(maxlen=kept)
        self._raised: deque[SupervisorEvent] = deque(maxlen=kept)
        self.listeners: list[Callable[[SupervisorEvent], None]] = []
        self.passing: Callable[[AgentNews], None] | None = None
        """Called with news of agents, which are not kept, while somebody reads them."""

    def add(self, event: SupervisorEvent) -> None:
        """Keep an event and call the listeners."""
        (self._raised if isinstance(event, HandlerRaised) else self._kept).append(event)
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except Exception:
                log.exception("a listener to events failed with: %s", event)  # supervision goes on all the same

    def read(self) -> list[SupervisorEvent]:
        """Return the events that are kept, the oldest first."""
        return list(heapq.merge(self._kept, self._raised, key=lambda event: event.when))
