"""Tables of other nodes: hosts and agents of each, asked for in pages; a node that does not answer says why."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.wire.orders import AgentReport, HostReport, NodeReport, NodeTable, Table, host_name
from transports.bus import BusError, Encoded

if TYPE_CHECKING:
    from three_mode.agents.calling.session import Session

TABLE = "table"  # topic of the question to a node
_PAGE = 500  # agents of a page
_AHEAD = 16  # pages ahead of their reader


class TablePage(msgspec.Struct, frozen=True):
    """Some rows of a node's table."""

    version: str
    hosts: tuple[HostReport, ...]
    agents: tuple[AgentReport, ...]
    silent: tuple[str, ...]


@dataclass
class _Rows:
    version: str = ""
    hosts: list[HostReport] = field(default_factory=list)
    agents: list[AgentReport] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


_page = decoder_for(TablePage)


def pages(table: Table, version: str) -> Iterable[bytes]:
    """Cut a table into encoded pages: at least one."""
    rest = max(len(table.hosts), len(table.agents), 1)
    for start in range(0, rest, _PAGE):
        end = start + _PAGE
        silent = table.silent if start == 0 else ()
        yield encode(TablePage(version, table.hosts[start:end], table.agents[start:end], silent))


async def node_tables(session: "Session", nodes: Iterable[NodeReport], within: float) -> tuple[NodeTable, ...]:
    """Return the tables of other nodes. One that does not answer within `within` seconds has a `problem` instead."""
    others = [node for node in nodes if node.state != "this one"]
    return tuple(await asyncio.gather(*(_ask(session, node, within) for node in others)))


async def _ask(session: "Session", node: NodeReport, within: float) -> NodeTable:
    rows, problem, begun = _Rows(), "", time.monotonic()
    if node.kind != "node":
        return NodeTable(node.name, node.state, node.kind)
    if node.state == "lost":  # another start of that name may answer
        return NodeTable(node.name, node.state, node.kind, problem="it is lost")
    try:
        async for page in _pages_of(session, node.name, within):
            rows.version = page.version
            rows.hosts += page.hosts
            rows.agents += page.agents
            rows.silent += page.silent
    except BusError as error:
        problem = f"it did not answer within {within:g} s"
        if time.monotonic() - begun < within:
            problem = session.error(error, node.name, TABLE).message
    return NodeTable(
        node.name,
        node.state,
        node.kind,
        rows.version,
        tuple(rows.hosts),
        tuple(rows.agents),
        tuple(rows.silent),
        problem,
    )


async def _pages_of(session: "Session", node: str, within: float) -> AsyncIterator[TablePage]:
    stream = session.bus.stream(host_name(node), Encoded(encode(None)), topic=TABLE, within=within, credit=_AHEAD)
    async with stream as parts:
        async for part in parts:
            yield _page(part.raw)
