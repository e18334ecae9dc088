"""Receipts on ZeroMQ: each subscriber's process is asked how far it got, and answers when it got there."""

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
from transports.bus.zeromq.answers import Answers

_NAP, _WITHIN = 0.002, 0.5


class Publisher(Protocol):
    id: str
    directory: Directory

    def departed(self) -> Collection[Departed]: ...
    def newest(self) -> tuple[int, int]:
        """The last message of ours, and the last that we have handled ourselves."""
        ...

    def tell(self, member: str, head: wire.Head) -> None: ...
    async def sync(self) -> None: ...


class Settling:
    def __init__(self, publisher: Publisher, answers: Answers) -> None:
        self._publisher = publisher
        self._answers = answers

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        me, directory = self._publisher, self._publisher.directory
        deadline = time.monotonic() + within
        verdicts: dict[str, str] = {}
        try:
            async with asyncio.timeout(within):
                await me.sync()
        except (TimeoutError, BusError):
            pass
        token = self._answers.expect(verdicts.__setitem__)
        if seq < 2**63:
            for member in directory.members:
                if member != me.id and directory.subscribers(member, topic):
                    me.tell(member, wire.Query(me.id, token, seq))
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
            self._answers.done(token)

    async def readers(self) -> list[ReaderStatus]:
        me, directory = self._publisher, self._publisher.directory
        states: dict[str, wire.StateIs] = {}
        token = self._answers.expect(states.__setitem__)
        members = {member for member in directory.members if directory.patterns(member)}
        for member in members - {me.id}:
            me.tell(member, wire.State(me.id, token))
        await until(lambda: members - {me.id} <= states.keys(), _WITHIN)
        self._answers.done(token)
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
