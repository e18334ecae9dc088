"""Another node, as a member of this node's bus: it has the names of that node's agents, and passes on what they get.

Its member joins the bus when the node is found, and leaves when it is lost: then callers get what they get when the
process of an agent dies.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from three_mode.agents.calling.node_tables import TABLE
from three_mode.agents.handlers.codec import encode
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.orders import EVENTS, LETTERS, HostSettled, host_name
from three_mode.cluster.core.actions import CallAnswered, CallEnded, CallFailed, CallPart
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.shown import ROLE
from three_mode.cluster.failures import fail
from three_mode.errors import NoSuchAgent
from transports.bus import Bus, BusError, BusOptions, CallCancelled, Encoded, NameRows, NameTaken, Overloaded, Request

log = logging.getLogger("three_mode.cluster")
_AGAIN = 0.1  # seconds until names that are taken are tried again
_NAMES_AT_ONCE = 5000
_ROOM_AGAIN = 0.005  # seconds until it is looked again for room for an answer
_LEAVE_WITHIN = 0.5  # seconds for errors that are on their way to callers


class NodeCalls(Protocol):
    """Interface of the gateway."""

    core: ClusterNode
    waiting: dict[int, "PassedOn"]
    """Calls of this node at others, by their ids."""

    def flush(self) -> None:
        """Carry out what the core asks for."""
        ...


class PassedOn(Request, eq=False):
    """Request to an agent of another node, made by the bus in this class."""

    call: int = 0
    grant: Callable[[int, int], None] | None = None
    backlog: deque[CallAnswered | CallPart | CallEnded | CallFailed] | None = None
    """What waits for room, if something does."""

    def credit(self, count: int) -> None:
        """Let the stream send more parts: its own end here, and the agent there."""
        super().credit(count)
        if self.grant is not None:
            self.grant(self.call, count)

    def take(self, action: CallAnswered | CallPart | CallEnded | CallFailed) -> None:
        """Pass on what came back, in order; where the caller's inbox has no room for it, as soon as it has."""
        if self.backlog is not None:
            self.backlog.append(action)
        elif not self._passes(action):
            self.backlog = deque([action])
            asyncio.get_running_loop().call_later(_ROOM_AGAIN, self._again)

    def _again(self) -> None:
        while self.backlog and not self.done and not self.cancelled and self.remaining():
            if not self._passes(self.backlog[0]):
                asyncio.get_running_loop().call_later(_ROOM_AGAIN, self._again)
                return
            self.backlog.popleft()
        self.backlog = None

    def _passes(self, action: CallAnswered | CallPart | CallEnded | CallFailed) -> bool:
        """Pass one on; return False where there is no room."""
        if self.done:
            return True
        try:
            match action:
                case CallAnswered():
                    self.reply(Encoded(action.payload))
                case CallPart():
                    if self.stream is not None:
                        self.stream.try_send(Encoded(action.payload))
                case CallEnded():
                    if self.stream is not None:
                        self.stream.end()
                case CallFailed():
                    fail(self, action.code, action.text, action.detail)
        except CallCancelled:
            pass  # the caller has left
        except Overloaded:
            return False
        except BusError as error:
            if isinstance(action, CallFailed):
                return True  # this member leaves the bus
            return self._passes(
                CallFailed(self.call, *wire_errors.to_wire(wire_errors.from_bus(error, self.to, self.topic)))
            )
        return True


class RemoteNode:
    """One other node."""

    def __init__(self, gateway: NodeCalls, node: str, name: str, bus: str, options: BusOptions) -> None:
        self._gateway, self.node, self.name, self._bus_name = gateway, node, name, bus
        self._options = replace(options, label=f"node-{name}", on_error=self._bus_failed)
        self._present = self._closed = False
        self._wanted: NameRows[bool] = NameRows()  # names, and whether they are registered
        self._surplus: set[str] = set()  # registered, and wanted no longer
        self._hidden = 0  # times that names were hidden
        self._bus: Bus | None = None
        self._changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def member(self) -> str:
        """Id of the bus's member; empty while the node is away."""
        return self._bus.id if self._bus is not None else ""

    @property
    def in_step(self) -> bool:
        """Whether the names that can be called are those that are wanted."""
        return not self._present or not (self._surplus or self._wanted.having(False))

    # what the core says of it -----------------------------------------------------------------------------------------
    def appear(self) -> None:
        """Join the bus: the node can be reached."""
        self._present = True
        self._changed.set()

    def vanish(self) -> None:
        """Leave the bus: the node is lost, or left."""
        self._present = False
        self._changed.set()

    def show(self, names: tuple[str, ...]) -> None:
        """Register names."""
        wanted = map(self._own_name, names)
        new = [name for name in wanted if self._wanted.find(name) is None]
        back = self._surplus.intersection(new)
        self._surplus -= back
        self._wanted.put(new, False)
        self._wanted.put(back, True)
        self._changed.set()

    def hide(self, names: tuple[str, ...]) -> None:
        """Give names back."""
        self._surplus.update(name for name in map(self._own_name, names) if self._wanted.pop(name))
        self._hidden += 1
        self._changed.set()

    def _own_name(self, name: str) -> str:
        return f"{name}@{self.name}" if name.startswith(ROLE) else name

    async def close(self) -> None:
        """Leave the bus for good."""
        self._closed, self._present = True, False
        self._changed.set()
        await asyncio.wait({self._task})

    # the member of the bus --------------------------------------------------------------------------------------------
    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                if not await self._follow():
                    await asyncio.sleep(_AGAIN)
                    self._changed.set()
            except (BusError, OSError) as error:
                log.warning("node %s on the bus %s: %s", self.name, self._bus_name, error)
                await asyncio.sleep(_AGAIN)
                self._changed.set()
            if self._closed and self._bus is None:
                return

    async def _follow(self) -> bool:
        """Bring the member of the bus to what is wanted; return False where a name is still taken."""
        if not self._present:
            bus, self._bus = self._bus, None
            self._surplus.clear()
            self._wanted.put(self._wanted.having(True), False)
            if bus is not None:
                await bus.leave(_LEAVE_WITHIN)
            return True
        if self._bus is None:
            self._bus = bus = await Bus.join(self._bus_name, self._options)
            try:
                await bus.register(host_name(self.name), self._on_host_request, PassedOn)
            except NameTaken:  # an earlier start of that node is not lost yet
                await bus.register(host_name(f"{self.name}-{self.node}"), self._on_host_request, PassedOn)
        bus = self._bus
        gone = list(self._surplus)
        if gone:
            self._surplus.clear()
            await bus.unregister(gone)
        new = self._wanted.having(False)
        owners = bus.names()
        free = [name for name in new if name not in owners]
        for start in range(0, len(free), _NAMES_AT_ONCE):
            some, hidden = free[start : start + _NAMES_AT_ONCE], self._hidden
            try:
                await bus.register(some, self._on_request, PassedOn)
            except NameTaken:
                return False
            if self._hidden != hidden:
                self._surplus.update(name for name in some if name not in self._wanted)
                some = [name for name in some if name in self._wanted]
            self._wanted.put(some, True)
        return len(free) == len(new)

    def _bus_failed(self, where: str, error: BaseException) -> None:
        log.warning("node %s on the bus %s: %s: %s", self.name, self._bus_name, where, error)

    # calls of this node -----------------------------------------------------------------------------------------------
    def _on_request(self, request: PassedOn) -> None:
        """Pass a message on. The bus calls this for every message to an agent of the node."""
        to = request.to
        self._pass_on(request, to.partition("@")[0] if to.startswith(ROLE) else to)

    def _on_host_request(self, request: PassedOn) -> None:
        """Pass on a gather, or a question for table, letters or events: what else hosts are asked is for this node."""
        if request.topic in ("gather", TABLE, LETTERS, EVENTS):
            self._pass_on(request, "")
        elif request.topic == "settled":  # the gateway answers for all nodes
            request.reply(Encoded(encode(HostSettled(0, 0, 0))))
        elif not request.tells:
            error = NoSuchAgent(f"node {self.name} takes no order {request.topic!r} from another node")
            request.fail(*wire_errors.to_wire(error))

    def _pass_on(self, request: PassedOn, to: str) -> None:
        gateway, now = self._gateway, time.monotonic()
        core = gateway.core
        if request.tells:
            core.tell(now, self.node, to, request.topic, request.raw, sender=request.sender, trace=request.trace)
            gateway.flush()
            return
        credit = max(1, request.envelope.count) if request.streams else 0
        request.call = call = core.ask(
            now,
            self.node,
            to,
            request.topic,
            request.raw,
            request.deadline - now,
            sender=request.sender,
            trace=request.trace,
            credit=credit,
        )
        gateway.waiting[call] = request
        if request.streams:
            request.open_stream()
            request.grant = self._grant
        request.on_cancel(lambda _: self._cancel(call))
        gateway.flush()

    def _grant(self, call: int, count: int) -> None:
        self._gateway.core.grant(time.monotonic(), call, count)
        self._gateway.flush()

    def _cancel(self, call: int) -> None:
        if self._gateway.waiting.pop(call, None) is not None:
            self._gateway.core.cancel(time.monotonic(), call)
            self._gateway.flush()
