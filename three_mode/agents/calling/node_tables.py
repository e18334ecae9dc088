"""Tables and dead letters of other nodes, asked for in pages; a node that does not answer says why in its table."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import LETTERS, AgentReport, HostReport, NodeReport, NodeTable, Table, host_name
from transports.bus import BusError, Encoded, StreamReader

if TYPE_CHECKING:
    from three_mode.agents.calling.session import Session

TABLE = "table"  # topic of the question to a node
_PAGE = 500  # agents of a page
_LETTERS_A_PAGE = 100
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
_letters = decoder_for(list[DeadLetter])


def pages(table: Table, version: str) -> Iterable[bytes]:
    """Cut a table into encoded pages: at least one."""
    rest = max(len(table.hosts), len(table.agents), 1)
    for start in range(0, rest, _PAGE):
        end = start + _PAGE
        silent = table.silent if start == 0 else ()
        yield encode(TablePage(version, table.hosts[start:end], table.agents[start:end], silent))


async def node_tables(session: "Session", nodes: Iterable[NodeReport], within: float) -> tuple[NodeTable, ...]:
    """Return the tables of other nodes. One that does not answer within `within` seconds has a `problem` instead."""
    others = _latest(node for node in nodes if node.state != "this one")
    return tuple(await asyncio.gather(*(_ask(session, node, within) for node in others)))


def _latest(nodes: Iterable[NodeReport]) -> list[NodeReport]:
    """Return one node of each name: of several starts the one that is there, else the last."""
    found: dict[str, NodeReport] = {}
    for node in nodes:
        if node.name not in found or node.state != "lost":
            found[node.name] = node
    return list(found.values())


def address_of(session: "Session", node: NodeReport) -> str:
    """Return the name on the bus under which a node takes questions: its own, or that of this start of it where an
    earlier one was not lost yet."""
    of_this_start = host_name(f"{node.name}-{node.id}")
    return of_this_start if session.bus.locate(of_this_start) is not None else host_name(node.name)


async def _ask(session: "Session", node: NodeReport, within: float) -> NodeTable:
    rows, problem, begun = _Rows(), "", time.monotonic()
    if node.kind != "node":
        return NodeTable(node.name, node.state, node.kind)
    if node.state == "lost":
        return NodeTable(node.name, node.state, node.kind, problem="it is lost")
    try:
        async for page in _pages_of(session, node, within):
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


async def _pages_of(session: "Session", node: NodeReport, within: float) -> AsyncIterator[TablePage]:
    async with _parts(session, node, TABLE, within) as parts:
        async for part in parts:
            yield _page(part.raw)


def letter_pages(letters: Sequence[DeadLetter]) -> Iterable[bytes]:
    """Cut dead letters into encoded pages."""
    for start in range(0, len(letters), _LETTERS_A_PAGE):
        yield encode(letters[start : start + _LETTERS_A_PAGE])


async def node_letters(session: "Session", nodes: Iterable[NodeReport], within: float) -> list[DeadLetter]:
    """Return the dead letters of the other nodes that answer within `within` seconds, each with its node."""

    async def ask(node: NodeReport) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        try:
            async with _parts(session, node, LETTERS, within) as parts:
                async for part in parts:
                    found += _letters(part.raw)
        except BusError:
            pass  # what came until then is true
        return [msgspec.structs.replace(letter, node=node.name) for letter in found]

    others = [node for node in _latest(nodes) if node.kind == "node" and node.state in ("here", "suspected")]
    return [letter for found in await asyncio.gather(*map(ask, others)) for letter in found]


def _parts(session: "Session", node: NodeReport, topic: str, within: float) -> StreamReader:
    """Ask a node for a stream of pages."""
    to = address_of(session, node)
    return session.bus.stream(to, Encoded(encode(None)), topic=topic, within=within, credit=_AHEAD)
