"""Receipts on ZeroMQ: each subscribed member gets a query, and answers it once it has handled the message."""

import asyncio
import time
from collections.abc import Collection
from typing import Protocol

from transports.bus.carrier import ReaderStatus
from transports.bus.directory import Directory
from transports.bus.errors import BusError
from transports.bus.pubsub.tally import Departed, tally
from transports.bus.receipt import Settled
from transports.bus.waiting import until
from transports.bus.zeromq import wire
from transports.bus.zeromq.queries import PendingQueries

_NAP, _WITHIN = 0.002, 0.5  # seconds between two counts, and for the answers of readers


class ZmqPublisher(Protocol):
    """The publishing member; `ZmqCarrier` says what each method does."""

    id: str
    directory: Directory

    def departed(self) -> Collection[Departed]: ...
    def newest(self) -> tuple[int, int]: ...
    def send_head(self, member: str, head: wire.Head) -> None: ...
    async def sync(self) -> None: ...


class ZmqReceipts:
    """Receipts of one member's messages."""

    def __init__(self, publisher: ZmqPublisher, queries: PendingQueries) -> None:
        self._publisher = publisher
        self._queries = queries

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        """Ask how far message `seq` got, for at most `within` seconds."""
        me, directory = self._publisher, self._publisher.directory
        deadline = time.monotonic() + within
        verdicts: dict[str, str] = {}
        try:
            async with asyncio.timeout(within):
                await me.sync()
        except (TimeoutError, BusError):
            pass
        token = self._queries.expect(verdicts.__setitem__)
        if seq < 2**63:
            for member in directory.members:
                if member != me.id and directory.subscribers(member, topic):
                    me.send_head(member, wire.Query(me.id, token, seq))
        try:
            while True:
                if me.newest()[1] >= seq:
                    verdicts[me.id] = "seen"
                result = tally(directory, topic, published, verdicts, me.departed())
                left = deadline - time.monotonic()
                if not result.lagging or left <= 0:
                    return result
                await asyncio.sleep(min(_NAP, left))
        finally:
            self._queries.done(token)

    async def readers(self) -> list[ReaderStatus]:
        """Return how far each subscribed member is behind."""
        me, directory = self._publisher, self._publisher.directory
        states: dict[str, wire.StateIs] = {}
        token = self._queries.expect(states.__setitem__)
        members = {member for member in directory.members if directory.patterns(member)}
        for member in members - {me.id}:
            me.send_head(member, wire.StateQuery(me.id, token))
        await until(lambda: members - {me.id} <= states.keys(), _WITHIN)
        self._queries.done(token)
        published, handled = me.newest()
        status = []
        for info in [directory.members[member] for member in members if member in directory.members]:
            state = states.get(info.id)
            if info.id == me.id:
                status.append(ReaderStatus(info.id, info.label, published - handled, 0, 0))
            elif state is None:
                status.append(ReaderStatus(info.id, info.label, published, 0, 0))
            else:
                lag = max(0, published + 1 - state.next)
                status.append(ReaderStatus(info.id, info.label, lag, state.lost, state.gaps))
        return status
