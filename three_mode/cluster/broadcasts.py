"""Broadcasts between nodes: those of this node's bus that agents elsewhere listen to, those of others, and receipts."""

import asyncio
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from three_mode.agents.calling.receipts import AgentReceipt, Seen
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.wire.orders import HostSettled, SettledOrder
from three_mode.cluster.core.actions import CastSettled
from three_mode.cluster.core.frames import CastFrame, CountFrame, SettleFrame
from three_mode.cluster.core.node import ClusterNode
from transports.bus import BusError, CallCancelled, Encoded, Message, Request, Subscription

log = logging.getLogger("three_mode.cluster")
_KEPT = 4096  # broadcasts whose receipts can be asked for, of each direction
_MEMBERS = 4096  # members whose last broadcast is remembered, before those that have left are forgotten
_AGAIN = 0.2  # seconds until a subscription that failed is tried again
_settled = decoder_for(SettledOrder)


class Broadcasts:
    """Both directions of broadcasts. `flush` carries out actions."""

    def __init__(self, core: ClusterNode, session: Session, flush: Callable[[], None]) -> None:
        self._core, self._session, self._flush = core, session, flush
        self._wanted: frozenset[str] = frozenset()
        self._subscriptions: dict[str, Subscription] = {}
        self._changed = asyncio.Event()
        self._last: dict[str, int] = {}  # member -> its last broadcast that was passed on
        self._sent: OrderedDict[tuple[str, int], int] = OrderedDict()  # member and number -> number between nodes
        self._received: OrderedDict[tuple[str, int], AgentReceipt] = OrderedDict()
        self._tickets = itertools.count(1)
        self._asked: dict[int, Request] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._start(self._follow())

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End the subscriptions."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # of this node -----------------------------------------------------------------------------------------------------
    def listen(self, patterns: frozenset[str]) -> None:
        """Pass on broadcasts to these patterns: agents of other nodes listen to them."""
        self._wanted = patterns
        self._changed.set()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                for pattern in self._wanted - self._subscriptions.keys():
                    self._subscriptions[pattern] = await self._session.bus.subscribe(pattern, self._pass_on)
                for pattern in self._subscriptions.keys() - self._wanted:
                    await self._subscriptions.pop(pattern).close()
            except BusError as error:
                log.warning("a subscription for other nodes failed: %s", error)
                await asyncio.sleep(_AGAIN)
                self._changed.set()

    def _pass_on(self, message: Message) -> None:
        member, seq = message.member, message.seq
        if member == self._session.bus.id or self._last.get(member) == seq:
            return  # it came from another node, or for two patterns
        self._last[member] = seq
        if len(self._last) > _MEMBERS:
            here = self._session.bus.members()
            self._last = {one: last for one, last in self._last.items() if one in here}
        now, sender, trace = time.monotonic(), message.sender, message.trace
        number = self._core.cast(now, message.topic, message.raw, sender=sender, trace=trace)
        if number:
            _keep(self._sent, (member, seq), number)
            self._flush()

    # receipts of this node --------------------------------------------------------------------------------------------
    def settle(self, request: Request) -> None:
        """Answer how far the agents of all other nodes are with a broadcast of this one."""
        order: SettledOrder = _settled(request.raw)
        number = self._sent.get((order.member, order.seq))
        if number is None:
            request.reply(Encoded(encode(HostSettled(0, 0, 0))))
            return
        ticket = next(self._tickets)
        self._asked[ticket] = request
        self._core.settle(time.monotonic(), ticket, number, order.topic, order.within)
        self._flush()

    def settled(self, action: CastSettled) -> None:
        """Answer with the sums."""
        request = self._asked.pop(action.ticket, None)
        if request is None or request.done:
            return
        answer = HostSettled(
            action.agents,
            action.late,
            action.lost,
            action.failed,
            action.dead,
            action.unreachable,
            action.unreachable_nodes,
        )
        try:
            request.reply(Encoded(encode(answer)))
        except CallCancelled:
            pass

    # of other nodes ---------------------------------------------------------------------------------------------------
    def deliver(self, node: str, frame: CastFrame) -> None:
        """Publish a broadcast of another node on this node's bus."""
        try:
            receipt = self._session.bus.publish(frame.topic, Encoded(frame.payload), frame.trace, frame.sender)
        except BusError as error:
            log.warning("a broadcast of another node to %s cannot be published here: %s", frame.topic, error)
            return
        _keep(self._received, (node, frame.number), AgentReceipt(receipt, self._session))

    def count(self, node: str, frame: SettleFrame) -> None:
        """Count how far the agents here are with a broadcast of another node."""
        self._start(self._count(node, frame))

    async def _count(self, node: str, frame: SettleFrame) -> None:
        receipt = self._received.get((node, frame.number))
        if receipt is None:  # of too long ago: like a host, count what is no longer remembered as seen
            seen = Seen(seen=self._core.own.listening(frame.topic))
        else:
            try:
                seen = await receipt.settled(frame.within)
            except BusError as error:
                log.warning("a receipt of another node cannot be counted here: %s", error)
                return
        agents = seen.seen + seen.lagging + seen.lost
        count = CountFrame(frame.id, agents, seen.lagging, seen.lost, seen.dead, seen.failed)
        self._core.counted(time.monotonic(), node, count)
        self._flush()


def _keep(table: OrderedDict[tuple[str, int], Any], key: tuple[str, int], value: Any) -> None:
    table[key] = value
    if len(table) > _KEPT:
        table.popitem(last=False)
