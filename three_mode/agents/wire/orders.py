"""Orders and reports between orchestrator, hosts and command line: plain values over the bus."""

import math
from typing import Any

import msgspec

from three_mode.agents.wire.importing import ClassPath

LISTENED_FOR = 3.0  # seconds that a host sends events after it was last asked to
AGENT_NEWS = "agent_news"  # topic of events of the agents of a host
EVENTS = "agent_events"  # topic of the question to a node for a stream of its events
LETTERS = "dead_letters"  # topic of the question for dead letters
ORCHESTRATOR = "orchestrator"  # name of an orchestrator on the bus
HOST = "host:"  # prefix of a host's name on the bus
ROLE = "any:"  # prefix of a role's: `any:brain@host-1` says that host-1 has an agent of the role `brain`


def host_name(label: str) -> str:
    """Return the name under which a host takes orders."""
    return f"{HOST}{label}"


def role_name(role: str, label: str) -> str:
    """Return the address of the agent of a role in one host that has the least to do."""
    return f"{ROLE}{role}@{label}"


class SpawnOrder(msgspec.Struct, frozen=True):
    """Make the agents `group/number` of a class."""

    group: str
    numbers: tuple[int, ...]
    target: ClassPath
    init: bytes
    """Arguments of `__init__`, encoded as a call."""
    roles: tuple[str, ...] = ()
    on_error: bool = False
    """Whether an exception in a handler restarts the agent."""
    rank: str = ""
    """Place of these incarnations among all of their names, where a cluster numbers them: for what agents keep."""


class Spawned(msgspec.Struct, frozen=True):
    """Answer to an order to make or restart agents."""

    failed: dict[str, dict[str, Any]]
    """Agent -> the encoded error of its `__init__` or `started`."""


class ReloadOrder(msgspec.Struct, frozen=True):
    """Load modules anew, in this order. Answered with module -> why it could not be."""

    modules: tuple[str, ...]


class NamesOrder(msgspec.Struct, frozen=True):
    """Stop, restart, pause or resume these agents; the topic of the message says which."""

    names: tuple[str, ...]
    why: str = ""
    ticket: int = 0
    """Number of a restart: an order that is given again has the ticket of the first. 0: each order is a new one."""


class EventsOrder(msgspec.Struct, frozen=True):
    """Send events to the orchestrator for a while: of these kinds, or none."""

    kinds: tuple[str, ...] = ()
    within: float = LISTENED_FOR
    """Seconds until the order is given again, at the latest."""


class SettledOrder(msgspec.Struct, frozen=True):
    """Ask how far the agents of a host are with one broadcast: number `seq` of the bus member `member`."""

    member: str
    seq: int
    topic: str
    within: float
    published: float = math.inf
    """When it was published, on time.monotonic(): agents that listen since then only do not count."""


class HostSettled(msgspec.Struct, frozen=True):
    """Answer of a host: agents that listen, those that have not begun with the broadcast, and those that never will."""

    agents: int
    late: int
    lost: int
    failed: int = 0
    """Agents whose handler has raised, so far."""
    dead: int = 0
    """Agents whose process ended before; of a host they are not counted here, of other nodes they are."""
    unreachable: int = 0
    """Agents of other nodes that did not answer."""
    unreachable_nodes: tuple[str, ...] = ()
    """Names of these nodes."""


class GatherOrder(msgspec.Struct, frozen=True):
    """Call many agents of a host.

    Answered in parts: lists of (index in `names`, whether it is a result, result or error).
    """

    names: tuple[str, ...]
    handler: str
    call: bytes


class ToolReport(msgspec.Struct, frozen=True):
    """One handler that the agents of a group in a host offer as a tool."""

    group: str
    handler: str
    description: str = ""
    schema: dict[str, Any] = {}
    """JSON Schema of the arguments."""
    streams: bool = False
    problem: str = ""
    """Why a model cannot call it; empty if it can."""


class FiguresReport(msgspec.Struct, frozen=True):
    """What one connection of a host has to say of its models and of money."""

    agent: str
    """The agent behind which the connection is; empty: the one that all agents of the host share."""
    figures: Any
    """A `three_mode.connection.ConnectionFigures`, which stands above agents."""


class A2AHandler(msgspec.Struct, frozen=True):
    """One handler that takes messages of A2A."""

    name: str
    description: str = ""
    streams: bool = False
    takes_text: bool = False
    """Whether it takes the text of a message alone."""


class A2AReport(msgspec.Struct, frozen=True):
    """The agents of a group in a host, as agents of A2A: they are models, or have handlers that say so."""

    group: str
    description: str = ""
    is_model: bool = False
    handlers: tuple[A2AHandler, ...] = ()


class AgentReport(msgspec.Struct, frozen=True):
    """One agent in a `Table`: state and figures."""

    name: str
    kind: str
    """Name of its class."""
    host: str
    """Label of its host."""
    state: str
    """idle, busy, paused, starting, stopping, restarting, or given up."""
    mailbox: int
    """Messages that wait."""
    doing: str
    """Handler that holds the turn, while it waits for something."""
    doing_for: float
    """Seconds since that handler first had to wait."""
    messages: int
    """Messages that its handlers have begun with."""
    errors: int
    gaps: int
    """Broadcasts that its process has missed."""
    restarts: int
    p50: float | None
    """Median of the seconds that a message takes; None without a sample. One message in 16 is timed."""
    p99: float | None
    """The 99th percentile of those seconds."""
    last_error: str


class HostReport(msgspec.Struct, frozen=True):
    """One host process in a `Table`: state and figures, also those of all its agents together."""

    label: str
    pid: int
    state: str
    agents: int
    cpu_percent: float
    memory: int
    """Resident bytes."""
    messages: int
    errors: int
    dead_letters: int
    restarts: int
    lag: float
    """Seconds by which its event loop was late at the last look."""
    p50: float | None
    p99: float | None
    blocked: str = ""
    """Agent, handler and line that block the event loop, while it is blocked."""


class NodeReport(msgspec.Struct, frozen=True):
    """One node of a cluster, as another one knows it."""

    name: str
    id: str
    """Id of this start of the node."""
    state: str
    """this one, here, suspected, or lost."""
    agents: int
    """Number of its agents."""
    kind: str = "node"
    """node, or program: one that joined the cluster, and has no agents."""
    hosts: int = 0
    """Number of its hosts."""
    labels: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    """Import paths below which it starts classes that other nodes order; none: it takes no orders."""
    part: str = ""
    """leads: it has placed agents, which it brings back elsewhere; stands by: it takes over from one that is lost."""


class NodeTable(msgspec.Struct, frozen=True):
    """One node of a cluster in a `Table`: its hosts and agents, or why they are not known."""

    name: str
    state: str
    """this one, here, suspected, or lost."""
    kind: str = "node"
    """node, or program."""
    version: str = ""
    """Version of three-mode there."""
    hosts: tuple[HostReport, ...] = ()
    agents: tuple[AgentReport, ...] = ()
    silent: tuple[str, ...] = ()
    """Hosts that did not answer in time."""
    problem: str = ""
    """Why hosts and agents are not known; empty where they are."""


class Table(msgspec.Struct, frozen=True):
    """All hosts and agents of a bus, as `three-mode agents` and `three-mode top` show them."""

    bus: str
    """Name of the bus."""
    when: float
    """Seconds since the epoch; 0 where there is no orchestrator."""
    hosts: tuple[HostReport, ...]
    agents: tuple[AgentReport, ...]
    silent: tuple[str, ...] = ()
    """Hosts that did not answer in time."""
    nodes: tuple[NodeTable, ...] = ()
    """The other nodes of its cluster, if it has one."""


class Failed(msgspec.Struct, frozen=True):
    """Tell the supervisor that an agent failed and has to be restarted, or that it ended itself."""

    name: str
    reason: str
    normal: bool
    """Whether the agent ended itself."""


class Raised(msgspec.Struct, frozen=True):
    """Tell the supervisor that handlers of a group raised, where no caller waited for them."""

    name: str
    """First agent whose handler raised; empty for failures of many kinds."""
    handler: str
    reason: str
    times: int
    """Number of such failures since the last report."""


class RaisedReport(msgspec.Struct, frozen=True):
    """All such failures of a host in a moment."""

    host: str
    raised: tuple[Raised, ...]
