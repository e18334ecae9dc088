"""What orchestrator, hosts and command line say to each other: plain values over the bus."""

from typing import Any

import msgspec

from three_mode.agents.wire.importing import ClassPath

ORCHESTRATOR = "orchestrator"  # the name that an orchestrator registers
HOST = "host:"  # how the names of hosts begin


def host_name(label: str) -> str:
    """The name under which a host takes orders."""
    return f"{HOST}{label}"


def role_name(role: str, label: str) -> str:
    """The address of whichever agent of a role in one host has the least to do."""
    return f"any:{role}@{label}"


class SpawnOrder(msgspec.Struct, frozen=True):
    group: str
    numbers: tuple[int, ...]
    target: ClassPath
    init: bytes
    """The arguments of `__init__`, as a call is encoded."""
    roles: tuple[str, ...] = ()
    on_error: bool = False
    """Whether a handler that raises makes the agent start afresh."""


class Spawned(msgspec.Struct, frozen=True):
    failed: dict[str, dict[str, Any]]
    """Agent -> the error of its `__init__` or `started`, encoded."""


class NamesOrder(msgspec.Struct, frozen=True):
    """Stop, restart, pause or resume these."""

    names: tuple[str, ...]
    why: str = ""
    ticket: int = 0
    """Of a restart: an order that is given again has the ticket of the first. 0: each order is one of its own."""


class SettledOrder(msgspec.Struct, frozen=True):
    """How far the agents of a host are with one broadcast."""

    member: str
    seq: int
    topic: str
    within: float


class HostSettled(msgspec.Struct, frozen=True):
    agents: int
    late: int
    lost: int


class GatherOrder(msgspec.Struct, frozen=True):
    """One call to many agents of a host. Answered by parts: lists of (place in `names`, good, result or error)."""

    names: tuple[str, ...]
    handler: str
    call: bytes


class AgentReport(msgspec.Struct, frozen=True):
    name: str
    kind: str
    host: str
    state: str
    mailbox: int
    doing: str
    """The handler that holds the turn, if one waits."""
    doing_for: float
    messages: int
    errors: int
    gaps: int
    restarts: int
    p50: float | None
    p99: float | None
    last_error: str


class HostReport(msgspec.Struct, frozen=True):
    label: str
    pid: int
    state: str
    agents: int
    cpu_percent: float
    memory: int
    """Bytes, resident."""
    messages: int
    errors: int
    dead_letters: int
    restarts: int
    lag: float
    """Seconds by which its loop was late when it was last looked at."""
    p50: float | None
    p99: float | None
    blocked: str = ""
    """Who blocks the loop, and where, while it is blocked."""


class Table(msgspec.Struct, frozen=True):
    """What `three-mode agents` and `three-mode top` show."""

    bus: str
    when: float
    hosts: tuple[HostReport, ...]
    agents: tuple[AgentReport, ...]
    silent: tuple[str, ...] = ()
    """Hosts that did not answer in time."""


class Failed(msgspec.Struct, frozen=True):
    """An agent asks to be made anew, or ended itself."""

    name: str
    reason: str
    normal: bool
    """It ended itself."""
