"""The table of hosts and agents as a page gets it: columns, and later only what has changed. Pure.

A page of 512 agents gets a table of some 40 KB once, and then the cells that are new. A change says which table it is
for (`of`): a page that has another one passes it over.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec

from three_mode.agents.wire.orders import AgentReport, HostReport, NodeTable, Table

MOST_AGENTS = 20_000  # shown at a time
_LONGEST = 300  # characters of a text in a cell
HOST_COLUMNS = (
    "label",
    "pid",
    "state",
    "agents",
    "cpu_percent",
    "memory",
    "messages",
    "errors",
    "dead_letters",
    "restarts",
    "lag",
    "p50",
    "p99",
    "blocked",
)
_SECONDS = frozenset(("cpu_percent", "lag", "p50", "p99"))
_TEXTS = frozenset(("name", "kind", "doing", "blocked", "last_error"))
FIXED = ("name", "kind", "host")
CHANGING = ("state", "mailbox", "doing", "messages", "errors", "gaps", "restarts", "p50", "p99", "last_error")


class ShownTable(msgspec.Struct, frozen=True):
    """A table as pages see it: the rows of agents in an order that stays."""

    head: dict[str, Any]
    hosts: tuple[tuple[str, HostReport], ...]
    """Node ("" for this one), and the host."""
    agents: tuple[tuple[str, AgentReport], ...]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """What makes a table another one: hosts, agents, and where they are."""
        hosts = [(node, host.label) for node, host in self.hosts]
        return [*hosts, *((node, *(getattr(agent, name) for name in FIXED)) for node, agent in self.agents)]


def shown(table: Table) -> ShownTable:
    """Return a table as pages see it, those of other nodes behind those of this one."""
    hosts = [("", host) for host in table.hosts]
    agents = [("", agent) for agent in table.agents]
    nodes = []
    for node in table.nodes:
        here = node.state == "this one"
        nodes.append(_node(node, table.hosts if here else node.hosts, len(table.agents if here else node.agents)))
        if not here:
            hosts += [(node.name, host) for host in node.hosts]
            agents += [(node.name, agent) for agent in node.agents]
    agents.sort(key=lambda row: (row[0], row[1].host, _by_number(row[1].name)))
    head = {"bus": table.bus, "when": table.when, "silent": list(table.silent), "nodes": nodes, "left_out": 0}
    if len(agents) > MOST_AGENTS:
        head["left_out"] = len(agents) - MOST_AGENTS
        del agents[MOST_AGENTS:]
    return ShownTable(head, tuple(hosts), tuple(agents))


def _node(node: NodeTable, hosts: Sequence[HostReport], agents: int) -> dict[str, Any]:
    """A node of the cluster, with the figures of all its hosts together."""
    return {
        "name": node.name,
        "state": node.state,
        "kind": node.kind,
        "problem": node.problem,
        "version": node.version,
        "silent": list(node.silent),
        "hosts": len(hosts),
        "agents": agents,
        "cpu_percent": round(sum(host.cpu_percent for host in hosts), 1),
        "memory": sum(host.memory for host in hosts),
        "messages": sum(host.messages for host in hosts),
    }


def whole(table: ShownTable, number: int) -> bytes:
    """Return the message with the whole table."""
    rows = [agent for _, agent in table.agents]
    agents: dict[str, Any] = {name: _cells(name, list(map(attrgetter(name), rows))) for name in (*FIXED, *CHANGING)}
    agents["node"] = [node for node, _ in table.agents]
    return msgspec.json.encode({"kind": "table", "n": number, **table.head, "hosts": _hosts(table), "agents": agents})


def change(before: ShownTable, now: ShownTable, number: int) -> bytes:
    """Return the message with what has changed between two tables of the same rows."""
    at = [place for place, (old, new) in enumerate(zip(before.agents, now.agents, strict=True)) if old[1] != new[1]]
    agents: dict[str, Any] = {"at": at}
    for name in CHANGING:
        get = attrgetter(name)
        new = [get(now.agents[place][1]) for place in at]
        if new != [get(before.agents[place][1]) for place in at]:
            agents[name] = _cells(name, new)
    return msgspec.json.encode({"kind": "change", "of": number, **now.head, "hosts": _hosts(now), "agents": agents})


def _hosts(table: ShownTable) -> dict[str, Any]:
    columns = {name: _cells(name, [getattr(host, name) for _, host in table.hosts]) for name in HOST_COLUMNS}
    return {"node": [node for node, _ in table.hosts], **columns}


def _cells(name: str, values: list[Any]) -> list[Any]:
    """A column as it is sent: microseconds are as fine as a page shows them, and texts are cut short."""
    if name in _SECONDS:
        return [None if value is None else round(value, 7) for value in values]
    if name in _TEXTS:
        return [value[:_LONGEST] for value in values]
    return values


def _by_number(name: str) -> Sequence[Any]:
    group, _, number = name.rpartition("/")
    return (group, int(number)) if number.isdigit() else (name, -1)
