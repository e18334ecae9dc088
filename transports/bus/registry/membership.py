"""A member's side of the registry: join, keep the directory, pass descriptors, and find a new registry when one dies.

While there is no registry, everything that exists goes on: rings, pairs, calls. What needs it (joining, new pairs, new
names, new subscriptions) waits for the next one, up to its deadline.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from transports.bus.directory import Directory
from transports.bus.errors import (
    BadFrame,
    BusError,
    Closed,
    DeadlineExceeded,
    JoinFailed,
    NoSuchName,
    PeerLost,
)
from transports.bus.events import DirectoryChange
from transports.bus.failpoints import reach
from transports.bus.options import BusOptions
from transports.bus.registry import wire
from transports.bus.registry.client import RegistryClient, refusal
from transports.bus.registry.connector import Connector, HostedRegistry
from transports.bus.registry.state import Shards

log = logging.getLogger("three_mode.bus")
WITHIN = 5.0  # for what the registry is asked


class _WentAway(JoinFailed):
    """The registry ended while it was asked to let us in."""


class Member(Protocol):
    """What membership needs of the carrier."""

    id: str
    name: str  # of the carrier
    layout: int  # version of the memory layout; 0 where there is none
    directory: Directory
    endpoints: dict[str, str]  # where ZeroMQ reaches it

    def make_shards(self) -> Shards: ...
    def connect(self, member: str, endpoints: dict[str, str]) -> None: ...
    def hello_fds(self) -> list[int]: ...
    def shard_fds(self) -> list[int]: ...
    def welcomed(self, member: str, slot: int, shards: list[int]) -> None: ...
    def add_shard(self, bell_fd: int, event_fd: int) -> None: ...
    def announce_again(self) -> None: ...
    def member_lost(self, member: str, reason: str) -> None: ...
    def read_ring(self, member: str, uid: int, fresh: bool, fd: int) -> None: ...
    def read_pair(self, member: str, uid: int, fds: list[int]) -> None: ...
    def pair_given_back(self, member: str, uid: int) -> None: ...
    def gate(self, member: str, page_fd: int) -> None: ...
    def ungate(self, member: str) -> None: ...
    def evicted_by(self, writer: str, held: float) -> None: ...
    def failed(self, where: str, error: BaseException) -> None: ...
    def changed(self, changes: Sequence[DirectoryChange]) -> None: ...


class Membership:
    def __init__(self, bus: str, options: BusOptions, member: Member, door: Connector) -> None:
        self._bus, self._options, self._member = bus, options, member
        self._loop = asyncio.get_running_loop()
        self._door = door
        self._client: RegistryClient | None = None
        self._up = asyncio.Event()
        self._server: HostedRegistry | None = None
        self._right: Any = None  # to host
        self._host = ""  # member that hosts the registry
        self._slot = -1
        self._reliable = False
        self._ready: asyncio.Future[None] | None = None
        self._leaving = False
        self._rejoin: asyncio.Task[None] | None = None
        self._catching_up: set[str] | None = None  # after the registry moved: who was there before and is not yet back

    @property
    def dropped(self) -> int:
        return self._server.dropped if self._server is not None else 0

    # --- joining ---------------------------------------------------------------------------------------------------
    async def join(self) -> None:
        """A registry that dies meanwhile is followed by another: that one is asked then."""
        deadline = time.monotonic() + self._options.join_within
        while True:
            try:
                return await self._connect(deadline, self._options.create)
            except _WentAway:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(0.01)

    async def _connect(self, deadline: float, create: bool) -> None:
        line = await self._door.enter(create, deadline, self._serve)
        reach("join_connected")
        self._ready = self._loop.create_future()
        client = RegistryClient(line, self._message, self._ended)
        directory, me = self._member.directory, self._member.id
        again = bool(me)
        shards = self._member.shard_fds() if again else []
        hello = wire.Hello(
            wire.PROTOCOL,
            self._member.layout,
            self._bus,
            self._member.name,
            self._options.label,
            os.getpid(),
            self._member.endpoints,
            id=me,
            slot=self._slot,
            names=directory.owned(me) if again else (),
            patterns=dict(directory.patterns(me)) if again else {},
            reliable=self._reliable,
            shards=len(shards) // 2,
        )
        if not client.closed:  # else the reason is in `_ready`
            client.send(hello, [*self._member.hello_fds(), *shards])
        reach("join_hello_sent")
        self._client = client
        try:
            async with asyncio.timeout_at(self._loop.time() + deadline - time.monotonic()):
                await self._ready
        except TimeoutError:
            client.close()
            raise JoinFailed(
                f"the registry of {self._bus!r} did not answer within {self._options.join_within:g} s"
            ) from None
        except BaseException:
            client.close()
            raise
        reach("join_ready")
        self._up.set()

    def _serve(self, right: Any) -> None:
        """This process hosts the registry from here on."""
        if self._server is not None:
            self._server.stop()
        shards = self._member.make_shards()
        self._right = right
        self._server = self._door.serve(right, self._member.name, self._member.layout, shards)
        me = self._member.id
        self._server.state.host = me
        known = [info for info in self._member.directory.members.values() if info.id != self._host]
        self._server.start(known, self._door.after_a_death(right))

    def _ended(self, reason: str) -> None:
        """The registry is gone: its process died, or dropped us."""
        self._client = None
        self._up.clear()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(_WentAway(f"the registry of {self._bus!r} went away: {reason}"))
            return
        if self._leaving:
            return
        self._rejoin = self._loop.create_task(self._join_again())

    async def _join_again(self) -> None:
        """Find the next registry, or become it."""
        host, self._host = self._host, ""
        before = set(self._member.directory.members)
        log.info("bus %s: the registry (member %s) is gone, electing another", self._bus, host or "unknown")
        while not self._leaving:
            try:
                self._catching_up = set(before)
                await self._connect(time.monotonic() + self._options.join_within, create=True)
                self._member.announce_again()
                return
            except BusError as error:
                log.warning("bus %s: no registry yet: %s", self._bus, error)
                await asyncio.sleep(0.05)

    async def leave(self, within: float) -> None:
        self._leaving = True
        if self._rejoin is not None:
            self._rejoin.cancel()
        client, self._client = self._client, None
        if client is not None and not client.closed:
            client.send(wire.Bye())
            reach("leave_bye_sent")
            client.close()
        if self._server is not None:
            server, self._server = self._server, None
            alone = server.state.members <= 1
            try:
                await asyncio.to_thread(server.stop)
            finally:  # or nobody could host the bus while this process lives
                self._door.give_up(self._right, alone)

    def forked(self) -> None:
        self._leaving = True
        if self._client is not None:
            self._client.close_after_fork()
        if self._server is not None:
            self._server.close_after_fork()

    # --- what the registry says ------------------------------------------------------------------------------------
    def _message(self, message: wire.FromRegistry, fds: list[int]) -> None:
        kept: Sequence[int] = ()
        try:
            kept = self._handle(message, fds)
        except BusError as error:
            self._member.failed("message of the registry", error)
        finally:
            for fd in fds:
                if fd not in kept:
                    os.close(fd)

    def _handle(self, message: wire.FromRegistry, fds: list[int]) -> Sequence[int]:
        """Returns the descriptors that somebody keeps."""
        match message:
            case wire.Welcome():
                self._welcome(message, fds)
                return fds
            case wire.Changes():
                self._change(message)
            case wire.Ready():
                self._complete()
            case wire.Shard() if len(fds) == 2:
                self._member.add_shard(*fds)
                return fds
            case wire.Writers() if len(fds) == len(message.rings):
                self._read_rings(message, fds)
            case wire.Linked() if len(fds) == 4:
                self._member.read_pair(message.member, message.uid, fds)
                return fds[2:]
            case wire.Unlinked():
                self._member.pair_given_back(message.member, message.uid)
            case wire.GateWanted() if len(fds) <= 1:
                self._member.gate(message.member, fds[0] if fds else -1)
                if message.token:
                    self.send(wire.Gated(message.token))
            case wire.GateLifted():
                self._member.ungate(message.member)
            case wire.EvictionNotice():
                self._member.evicted_by(message.writer, message.held)
            case wire.RequestRefused():
                if self._ready is not None and not self._ready.done():
                    self._ready.set_exception(refusal(message))
            case _:
                raise BadFrame(f"an unexpected {type(message).__name__}")
        return ()

    def _welcome(self, message: wire.Welcome, fds: list[int]) -> None:
        self._slot, self._host = message.slot, message.host or message.id
        known = len(self._member.shard_fds()) if self._member.id else len(fds)
        self._member.welcomed(message.id, message.slot, fds[:known])
        for bell, event in zip(fds[known::2], fds[known + 1 :: 2], strict=True):
            self._member.add_shard(bell, event)  # made while we had no registry
        if self._server is not None and not self._server.state.host:
            self._server.state.host = message.id

    def _change(self, message: wire.Changes) -> None:
        directory = self._member.directory
        for member, reason in message.lost:
            self._member.member_lost(member, reason)
        changes: list[Any] = []
        for info in message.joined:
            changes += directory.join(info)
            if self._catching_up is not None:
                self._catching_up.discard(info.id)
        for member, names in message.removed.items():
            changes += directory.remove_names(member, names)
        for member, names in message.added.items():
            changes += directory.add_names(member, names)
        for member, patterns in message.patterns.items():
            directory.set_patterns(member, patterns)
        for member, endpoints in message.endpoints.items():
            self._member.connect(member, endpoints)
        self._member.changed(changes)

    def _read_rings(self, message: wire.Writers, fds: Sequence[int]) -> None:
        """One that is broken keeps nobody from the others."""
        for (member, uid), fd in zip(message.rings, fds, strict=True):
            try:
                self._member.read_ring(member, uid, message.fresh, fd)
            except BusError as error:
                self._member.failed(f"ring of member {member}", error)

    def _complete(self) -> None:
        """The snapshot is complete."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        if self._catching_up is not None:
            # The registry itself knows who was there and tells who does not come back, unless it is quite new.
            self._loop.call_later(2.0, self._forget_missing, self._catching_up)

    def _forget_missing(self, missing: set[str]) -> None:
        if self._catching_up is missing:
            self._catching_up = None
            for member in missing - {self._member.id}:
                self._member.member_lost(member, "it did not come back after the registry moved")

    # --- what the registry is asked --------------------------------------------------------------------------------
    def send(self, message: wire.FromMember, fds: Sequence[int] = ()) -> None:
        """Say something that a new registry would be told anyway."""
        if self._client is not None and not self._client.closed:
            self._client.send(message, fds)

    async def _ask(self, make: Callable[[int], wire.FromMember], fds: Sequence[int] = ()) -> list[int]:
        """Ask; when the registry moves meanwhile, ask the next one."""
        deadline = self._loop.time() + WITHIN
        while True:
            if self._leaving:
                raise Closed("this member has left the bus")
            try:
                async with asyncio.timeout_at(deadline):
                    await self._up.wait()
            except TimeoutError:
                raise DeadlineExceeded(f"the bus {self._bus!r} has had no registry for {WITHIN:g} s") from None
            client = self._client
            if client is None or client.closed:
                await asyncio.sleep(0.005)
                continue
            try:
                return await client.ask(make, fds, max(0.0, deadline - self._loop.time()))
            except Closed:
                await asyncio.sleep(0)

    async def register(self, names: Sequence[str]) -> None:
        await self._ask(lambda token: wire.Register(token, tuple(names)))

    async def unregister(self, names: Sequence[str]) -> None:
        await self._ask(lambda token: wire.Unregister(token, tuple(names)))

    def withdraw(self, names: Sequence[str]) -> None:
        self._member.changed(self._member.directory.remove_names(self._member.id, names))
        self.send(wire.Unregister(0, tuple(names)))

    async def subscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        self._note(patterns, reliable)
        await self._ask(lambda token: wire.Subscribed(token, patterns, reliable))

    def unsubscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        self._note(patterns, reliable)
        self.send(wire.Subscribed(0, patterns, reliable))

    def _note(self, patterns: dict[str, int], reliable: bool) -> None:
        """What a new registry is told."""
        self._reliable = reliable
        self._member.directory.set_patterns(self._member.id, patterns)

    def evict(self, member: str, held: float) -> None:
        """Tell a RELIABLE reader that we no longer wait for it."""
        self.send(wire.Evict(member, held))

    async def sync(self) -> None:
        await self._ask(wire.Sync)

    async def link(self, member: str, uid: int, ring: int) -> tuple[int, int, int]:
        """(page, doorbell, pidfd) of the member, which gets our ring to it."""
        fds = await self._ask(lambda token: wire.LinkTo(token, member, uid), [ring])
        if len(fds) != 3:
            for fd in fds:
                os.close(fd)
            raise PeerLost(f"member {member} is not on the bus", member)
        page, wake, pidfd = fds
        return page, wake, pidfd

    async def fetch(self, member: str, uid: int) -> int:
        """The descriptor of a member's segment, or of its page (uid 0). The owner announces a segment before it refers to
        it, but on another path: look again for a moment."""
        for attempt in range(20):
            try:
                fds = await self._ask(lambda token: wire.Fetch(token, member, uid))
            except NoSuchName:
                if attempt == 19:
                    raise
                await asyncio.sleep(0.002 * (attempt + 1))
                continue
            for fd in fds[1:]:
                os.close(fd)
            if not fds:
                raise BadFrame("the registry answered without the segment")
            return fds[0]
        raise AssertionError("unreachable")
