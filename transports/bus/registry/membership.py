"""Membership: join the bus, keep the directory, pass descriptors, and find the next registry when one dies.

While there is no registry, existing rings, pairs and calls go on. Joining, new pairs, new names and new subscriptions
wait for the next registry, up to their deadline.
"""

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from transports.bus.errors import (
    BadFrame,
    BusError,
    Closed,
    DeadlineExceeded,
    JoinFailed,
    NoSuchName,
    Overloaded,
    PeerLost,
)
from transports.bus.failpoints import reach
from transports.bus.options import BusOptions
from transports.bus.registry import wire
from transports.bus.registry.client import RegistryClient, refusal
from transports.bus.registry.connector import Connector, HostedRegistry
from transports.bus.registry.lateness import Lateness, is_alive
from transports.bus.registry.member import Member

log = logging.getLogger("three_mode.bus")
WITHIN = 5.0  # seconds for a request to the registry
ANNOUNCE_AGAIN = 1.0  # seconds until files that the registry had no room for are announced again
STEADY = 5.0  # seconds with a registry after which the search for the next one begins without a pause
FETCH_WITHIN = 10.0  # seconds for a segment of a member that is on the bus
FIRST_LOOK, NEXT_LOOK = 1.0, 0.5  # seconds after a return until a look at who is missing, and until the next


class _RegistryEnded(JoinFailed):
    """The registry ended while this member was joining."""


class Membership:
    """Connection of one member to the registry of its bus, whichever process hosts it."""

    def __init__(self, bus: str, options: BusOptions, member: Member, connector: Connector) -> None:
        self._bus, self._options, self._member = bus, options, member
        self._loop = asyncio.get_running_loop()
        self._connector = connector
        self._client: RegistryClient | None = None
        self._connected = asyncio.Event()
        self._server: HostedRegistry | None = None
        self._right: Any = None  # right to host
        self._host = ""  # member that hosts the registry
        self._slot = -1
        self._reliable = False
        self._ready: asyncio.Future[None] | None = None
        self._leaving = False
        self._rejoin: asyncio.Task[None] | None = None
        self._places: dict[int, str] = {}  # member in each slot: two in one slot would share a reader's state
        self._announcing: asyncio.TimerHandle | None = None
        self._pause = 0.0  # before this member joins again
        self._joined_at = 0.0
        self._not_back: set[str] | None = None  # after the registry moved: members that are not back yet

    @property
    def dropped(self) -> int:
        """Connections that the registry ended for what they sent, if this process hosts it."""
        return self._server.dropped if self._server is not None else 0

    # --- joining ---------------------------------------------------------------------------------------------------
    async def join(self) -> None:
        """Join the bus; if the registry dies meanwhile, ask the next one."""
        deadline = time.monotonic() + self._options.join_within
        while True:
            try:
                return await self._connect(deadline, self._options.create)
            except _RegistryEnded:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(0.01)

    async def _connect(self, deadline: float, create: bool) -> None:
        connection = await self._connector.connect(create, deadline, self._serve, newcomer=not self._member.id)
        reach("join_connected")
        self._ready = self._loop.create_future()
        client = RegistryClient(connection, self._message, self._ended)
        directory, me = self._member.directory, self._member.id
        rejoining = bool(me)
        shards = self._member.shard_fds() if rejoining else []
        first, *more = wire.restored(
            directory.owned(me) if rejoining else (), directory.patterns(me) if rejoining else {}
        )
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
            names=first.names,
            patterns=first.patterns,
            reliable=self._reliable,
            shards=len(shards) // 2,
        )
        if not client.closed:  # else `_ready` has the reason
            client.send(hello, [*self._member.hello_fds(), *shards])
            for part in more:
                client.send(part)
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
        self._joined_at = time.monotonic()
        self._connected.set()

    def _serve(self, right: Any) -> None:
        """Host the registry in this process from now on."""
        if self._server is not None:  # it has ended
            self._server.stop()
            self._server = None
        shards = self._member.make_shards()
        try:
            server = self._connector.serve(right, self._member.name, self._member.layout, shards)
        except BaseException:
            shards.close()
            raise
        server.state.host = self._member.id
        known = [info for info in self._member.directory.members.values() if info.id != self._host]
        server.start(known, self._connector.after_a_death(right))
        self._server, self._right = server, right

    def _ended(self, reason: str) -> None:
        """Look for the next registry: its process died, or ended this connection."""
        self._client = None
        self._connected.clear()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(_RegistryEnded(f"the registry of {self._bus!r} went away: {reason}"))
            return
        if self._leaving:
            return
        self._rejoin = self._loop.create_task(self._join_again())

    async def _join_again(self) -> None:
        """Join the next registry, or host it."""
        host, self._host = self._host, ""
        self._not_back = None  # whoever is missing is waited for anew, from the next registry on
        before = set(self._member.directory.members)
        log.info("bus %s: the registry (member %s) is gone, electing another", self._bus, host or "unknown")
        if time.monotonic() - self._joined_at > STEADY:
            self._pause = 0.0
        while not self._leaving:
            await asyncio.sleep(self._pause)
            self._pause = min(max(0.05, 2 * self._pause), 1.0)
            try:
                self._not_back = set(before)
                await self._connect(time.monotonic() + self._options.join_within, create=True)
                self._member.announce_again()
                return
            except (BusError, OSError) as error:
                log.warning("bus %s: no registry yet: %s", self._bus, error)

    async def leave(self, within: float) -> None:
        """Leave the bus, and stop the registry if this process hosts it: another member takes over."""
        self._leaving = True
        if self._rejoin is not None:
            self._rejoin.cancel()
        if self._announcing is not None:
            self._announcing.cancel()
        client, self._client = self._client, None
        if self._slot >= 0:
            self._connector.leave_place(self._slot, self._member.id)
        if client is not None and not client.closed:
            client.send(wire.Bye())
            reach("leave_bye_sent")
            client.close()
        if self._server is not None:
            server, self._server = self._server, None
            try:
                await asyncio.to_thread(server.stop)
            finally:  # or no process could host the bus while this one lives
                self._connector.release(self._right, server.alone)
        elif not self._connected.is_set() and not self._others_live():  # it leaves between two registries
            self._connector.release_unhosted()

    def _others_live(self) -> bool:
        members = self._member.directory.members.values()
        return any(info.id != self._member.id and is_alive(info.pid) for info in members)

    def forked(self) -> None:
        """Close the sockets in the child of a fork."""
        self._leaving = True
        if self._client is not None:
            self._client.close_after_fork()
        if self._server is not None:
            self._server.close_after_fork()

    # --- messages of the registry -----------------------------------------------------------------------------------
    def _message(self, message: wire.FromRegistry, fds: list[int]) -> None:
        kept: Sequence[int] = ()
        try:
            kept = self._handle(message, fds)
        except Exception as error:  # noqa: BLE001 - reported; later messages are handled all the same
            self._member.failed("message of the registry", error)
        finally:
            for fd in fds:
                if fd not in kept:
                    os.close(fd)

    def _handle(self, message: wire.FromRegistry, fds: list[int]) -> Sequence[int]:
        """Handle a message; return the descriptors that are kept."""
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
                else:
                    self._refused(refusal(message))
            case _:
                raise BadFrame(f"an unexpected {type(message).__name__}")
        return ()

    def _refused(self, error: BusError) -> None:
        """Report what the registry did not take. If it has no room for files, announce all of them again soon."""
        if self._announcing is None:
            self._member.failed("the registry", error)
            if isinstance(error, Overloaded):
                self._announcing = self._loop.call_later(ANNOUNCE_AGAIN, self._announce_again)

    def _announce_again(self) -> None:
        self._announcing = None
        if self._client is not None and not self._leaving:
            self._member.announce_again()

    def _welcome(self, message: wire.Welcome, fds: list[int]) -> None:
        self._slot, self._host = message.slot, message.host or message.id
        known = len(self._member.shard_fds()) if self._member.id else len(fds)
        self._member.welcomed(message.id, message.slot, fds[:known])
        for bell, event in zip(fds[known::2], fds[known + 1 :: 2], strict=True):
            self._member.add_shard(bell, event)  # made while this member had no registry
        if self._server is not None and not self._server.state.host:
            self._server.state.host = message.id

    def _change(self, message: wire.Changes) -> None:
        directory = self._member.directory
        for member, reason in message.lost:
            self._member.member_lost(member, reason)
        changes: list[Any] = []
        for info in message.joined:
            before = self._places.get(info.slot, info.id)
            if before != info.id and before in directory.members:  # this registry never knew it
                self._member.member_lost(before, "its place went to another member")
            self._places[info.slot] = info.id
            changes += directory.join(info)
            if self._not_back is not None:
                self._not_back.discard(info.id)
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
        """Read new rings; a broken one does not keep this member from the others."""
        for (member, uid), fd in zip(message.rings, fds, strict=True):
            try:
                self._member.read_ring(member, uid, message.fresh, fd)
            except BusError as error:
                self._member.failed(f"ring of member {member}", error)

    def _complete(self) -> None:
        """End the joining: the snapshot of the directory is complete."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        if self._not_back is not None:
            # The registry reports the members that do not come back, unless it is new and never knew them.
            self._loop.call_later(FIRST_LOOK, self._forget_missing, self._not_back, Lateness())

    def _forget_missing(self, missing: set[str], lateness: Lateness) -> None:
        """Let go of members that are not back, but wait for those whose process lives: they are only late."""
        if self._not_back is not missing or self._leaving:
            return
        missing.discard(self._member.id)
        now = time.monotonic() if self._connector.sees_processes else math.inf
        for member in list(missing):
            info = self._member.directory.members.get(member)
            if info is None or not lateness.may_come_back(info.pid, now):
                missing.discard(member)
                self._member.member_lost(member, "it did not come back after the registry moved")
        if missing:
            self._loop.call_later(NEXT_LOOK, self._forget_missing, missing, lateness)
        else:
            self._not_back = None

    # --- requests to the registry ----------------------------------------------------------------------------------
    def send(self, message: wire.FromMember, fds: Sequence[int] = ()) -> None:
        """Send a message, if there is a registry; the next one gets it with Hello or `announce_again`."""
        if self._client is not None and not self._client.closed:
            self._client.send(message, fds)

    async def _ask(self, make: Callable[[int], wire.FromMember], fds: Sequence[int] = ()) -> list[int]:
        """Send a request; if the registry dies meanwhile, send it to the next one."""
        deadline = self._loop.time() + WITHIN
        while True:
            if self._leaving:
                raise Closed("this member has left the bus")
            try:
                async with asyncio.timeout_at(deadline):
                    await self._connected.wait()
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

    async def _ask_of(
        self, member: str, make: Callable[[int], wire.FromMember], fds: Sequence[int] = (), *, within: float
    ) -> list[int]:
        """Send a request that needs another member, and again for `within` seconds while that one is on the bus: it
        may not be back yet after the registry moved, or not have announced what is asked for."""
        deadline, nap = self._loop.time() + within, 0.002
        while True:
            try:
                return await self._ask(make, fds)
            except (NoSuchName, PeerLost, DeadlineExceeded):
                if member not in self._member.directory.members or self._loop.time() >= deadline:
                    raise
            await asyncio.sleep(nap)
            nap = min(2 * nap, 0.05)

    async def register(self, names: Sequence[str]) -> None:
        """Register names: all or none."""
        await self._ask(lambda token: wire.Register(token, tuple(names)))

    async def unregister(self, names: Sequence[str]) -> None:
        """Give names back."""
        for part in wire.restored(names, {}):
            await self._ask(lambda token, given=part.names: wire.Unregister(token, given))  # type: ignore[misc]

    def withdraw(self, names: Sequence[str]) -> None:
        """Give names back without waiting."""
        self._member.changed(self._member.directory.remove_names(self._member.id, names))
        for part in wire.restored(names, {}):
            self.send(wire.Unregister(0, part.names))

    async def subscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        """Announce new counts of subscriptions; with `reliable`, wait until all writers wait for this member."""
        self._note(patterns, reliable)
        await self._ask(lambda token: wire.Subscribed(token, patterns, reliable))

    def unsubscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        """Announce the same without waiting."""
        self._note(patterns, reliable)
        for part in wire.restored((), patterns):
            self.send(wire.Subscribed(0, part.patterns, reliable))

    def _note(self, patterns: dict[str, int], reliable: bool) -> None:
        """Keep what the next registry needs to know."""
        self._reliable = reliable
        self._member.directory.set_patterns(self._member.id, patterns)

    def evict(self, member: str, held: float) -> None:
        """Tell a RELIABLE reader that this writer no longer waits for it."""
        self.send(wire.Evict(member, held))

    async def sync(self) -> None:
        """Wait until this member has the rings and names of all that was announced before this call."""
        await self._ask(wire.Sync)

    async def link(self, member: str, uid: int, ring: int) -> tuple[int, int, int]:
        """Hand a ring to a member; return the page, doorbell and pidfd of that member."""
        try:
            own = os.dup(ring)  # the caller may drop the ring while the request goes to one registry after another
        except OSError as error:
            raise Overloaded(f"this process may open no more files: {error}") from None
        try:
            fds = await self._ask_of(member, lambda token: wire.LinkTo(token, member, uid), [own], within=WITHIN)
        finally:
            os.close(own)
        if len(fds) != 3:
            for fd in fds:
                os.close(fd)
            raise PeerLost(f"member {member} is not on the bus", member)
        page, wake, pidfd = fds
        return page, wake, pidfd

    async def fetch(self, member: str, uid: int) -> int:
        """Return the descriptor of a segment of a member, or of its page (uid 0).

        The owner announces a segment before it refers to it, but by another way, and after the registry moved it
        announces all of them again: so try again while the owner is on the bus, for at most `FETCH_WITHIN` seconds.
        """
        within = FETCH_WITHIN if uid else 0.0
        fds = await self._ask_of(member, lambda token: wire.Fetch(token, member, uid), within=within)
        for fd in fds[1:]:
            os.close(fd)
        if not fds:
            raise BadFrame("the registry answered without the segment")
        return fds[0]
