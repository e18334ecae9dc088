"""The registry's rules, without sockets: what a message does, and who is told.

Changes of the directory are gathered while a batch of messages is handled and told to everybody once (`flush`); only
then do answers go out. So whoever was answered `Done` knows that all who ask later see what he did, and 512 joins in a
burst cost a few messages each instead of 512.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from transports.bus.directory import Directory
from transports.bus.errors import BadAddress, NameTaken, NoSuchName, PeerLost, VersionMismatch
from transports.bus.events import MemberInfo
from transports.bus.registry import wire
from transports.bus.topics import check_name, check_pattern

SLOTS = 1024
SHARD = 64
NAMES_A_MESSAGE = 4096


class Shards(Protocol):
    """Bells of shards, made as they are needed; empty where the carrier has none."""

    def fds(self) -> list[tuple[int, int]]: ...

    def ensure(self, count: int) -> None: ...

    def adopt(self, fds: Sequence[int]) -> None: ...

    def free(self, slot: int) -> None: ...


class NoShards:
    """Where the carrier has no bells."""

    def fds(self) -> list[tuple[int, int]]:
        return []

    def ensure(self, count: int) -> None: ...

    def adopt(self, fds: Sequence[int]) -> None: ...

    def free(self, slot: int) -> None: ...


@dataclass(slots=True, eq=False)
class Seat:
    """A connection, and the member behind it once it said Hello."""

    info: MemberInfo | None = None
    endpoints: dict[str, str] = field(default_factory=dict)
    fds: list[int] = field(default_factory=list)  # page, doorbell, pidfd
    ring: tuple[int, int] | None = None  # uid, fd
    segments: dict[int, int] = field(default_factory=dict)  # uid -> fd
    reliable: bool = False

    def close(self) -> None:
        for fd in (*self.fds, *([self.ring[1]] if self.ring else ()), *self.segments.values()):
            os.close(fd)
        self.fds, self.ring, self.segments = [], None, {}


@dataclass(slots=True)
class GateWait:
    """A RELIABLE subscription that waits until every writer respects it."""

    seat: Seat
    token: int
    missing: set[Seat]


Send = Callable[[Seat, bytes, Sequence[int]], None]


class RegistryState:
    def __init__(
        self, bus: str, carrier: str, layout: int, shards: Shards, send: Send, host: str = ""
    ) -> None:
        self._bus, self._carrier, self._layout = bus, carrier, layout
        self._shards, self._send = shards, send
        self.host = host  # the member whose process this is
        self.directory = Directory()
        self._seats: dict[str, Seat] = {}
        self._slots: dict[int, str] = {}
        self._expected: dict[str, MemberInfo] = {}  # known from before, not yet back
        self._gates: dict[int, GateWait] = {}
        self._gate_token = 0
        self._answers: list[tuple[Seat, wire.FromRegistry, list[int]]] = []
        self._handed: list[int] = []  # descriptors that are only passed on: closed once that is done
        self._reset_changes()

    # --- before anybody joins: what is known from a registry that died ----------------------------------------------
    def expect(self, known: Sequence[MemberInfo]) -> None:
        """These members were there; their slots are kept for them until `forget_expected`."""
        for info in known:
            self._expected[info.id] = info
            self._slots[info.slot] = info.id

    def forget_expected(self) -> None:
        """Whoever has not come back by now is lost."""
        for info in self._expected.values():
            self._slots.pop(info.slot, None)
            self._shards.free(info.slot)
            self._lost.append((info.id, "it did not come back after the registry moved"))
        self._expected.clear()
        self.flush()

    @property
    def members(self) -> int:
        return len(self._seats)

    # --- what comes in ----------------------------------------------------------------------------------------------
    def handle(self, seat: Seat, message: wire.FromMember, fds: list[int]) -> None:
        """One message; `fds` are ours from here on. Raises BusError for what breaks the rules: the caller drops the seat."""
        kept: list[int] = []
        try:
            if isinstance(message, wire.Hello):
                kept = self._hello(seat, message, fds)
                return
            info = seat.info
            if info is None:
                raise BadAddress("the first message must be Hello")
            match message:
                case wire.Register():
                    self._register(seat, info, message)
                case wire.Unregister():
                    self._remove_names(info.id, message.names)
                    self._done(seat, message.token)
                case wire.Subscribed():
                    self._subscribed(seat, info, message)
                case wire.RingMade() if len(fds) == 1:
                    kept = self._ring_made(seat, info, message, fds)
                case wire.LinkTo() if len(fds) == 1:
                    kept = self._link(seat, info, message, fds)
                case wire.Unlink():
                    other = self._seats.get(message.to)
                    if other is not None:
                        self._answers.append((other, wire.Unlinked(info.id, message.uid), []))
                case wire.SegmentMade() if len(fds) == 1:
                    kept = fds
                    old = seat.segments.pop(message.uid, None)
                    if old is not None:
                        os.close(old)
                    seat.segments[message.uid] = fds[0]
                case wire.SegmentGone():
                    gone = seat.segments.pop(message.uid, None)
                    if gone is not None:
                        os.close(gone)
                case wire.Fetch():
                    self._fetch(seat, message)
                case wire.Gated():
                    self._gated(seat, message.token)
                case wire.Evict():
                    other = self._seats.get(message.member)
                    if other is not None:
                        self._answers.append((other, wire.Evicted(info.id, message.held), []))
                case wire.Sync():
                    self._done(seat, message.token)
                case wire.Bye():
                    self.gone(seat, "left")
                case _:
                    raise BadAddress(f"{type(message).__name__} without its file descriptors")
        finally:
            for fd in fds:
                if fd not in kept:
                    os.close(fd)

    def gone(self, seat: Seat, reason: str) -> None:
        """The connection of a member closed, or it said Bye."""
        if seat.info is not None and self._answers:
            self.flush()  # its ring may be on the way to those who read it: what it published before is not lost
        info, seat.info = seat.info, None
        if info is None or self._seats.get(info.id) is not seat:
            seat.close()
            return
        del self._seats[info.id]
        self._slots.pop(info.slot, None)
        self._shards.free(info.slot)
        self.directory.leave(info.id, reason)
        self._forget_pending(info.id)
        self._lost.append((info.id, reason))
        for token, wait in list(self._gates.items()):
            wait.missing.discard(seat)
            if wait.seat is seat:
                del self._gates[token]
            else:
                self._gate_done(token)
        self._answers = [answer for answer in self._answers if answer[0] is not seat]
        self._withdraw({*seat.fds, *([seat.ring[1]] if seat.ring else ()), *seat.segments.values()}, info.id)
        seat.close()

    # --- what goes out ----------------------------------------------------------------------------------------------
    def flush(self) -> None:
        """Tell everybody what changed, then answer."""
        if self._lost or self._joined or self._added or self._removed or self._patterns:
            endpoints = {
                info.id: self._seats[info.id].endpoints for info in self._joined if info.id in self._seats
            }
            for changes in self._chunks(endpoints):
                data = wire.pack(changes)
                for seat in list(self._seats.values()):
                    self._send(seat, data, ())
            self._reset_changes()
        answers, self._answers = self._answers, []
        for seat, message, fds in answers:
            self._send(seat, wire.pack(message, len(fds)), fds)
        handed, self._handed = self._handed, []
        for fd in handed:
            os.close(fd)

    def _chunks(self, endpoints: dict[str, dict[str, str]]) -> Iterator[wire.Changes]:
        """The changes, in messages of bounded size."""
        yield wire.Changes(
            lost=tuple(self._lost),
            joined=tuple(self._joined),
            removed={member: tuple(names) for member, names in self._removed.items()},
            patterns=self._patterns,
            endpoints=endpoints,
        )
        for member, names in self._added.items():
            for start in range(0, len(names), NAMES_A_MESSAGE):
                yield wire.Changes(added={member: tuple(names[start : start + NAMES_A_MESSAGE])})

    def _reset_changes(self) -> None:
        self._lost: list[tuple[str, str]] = []
        self._joined: list[MemberInfo] = []
        self._added: dict[str, list[str]] = {}
        self._removed: dict[str, list[str]] = {}
        self._patterns: dict[str, dict[str, int]] = {}

    def _forget_pending(self, member: str) -> None:
        self._joined = [info for info in self._joined if info.id != member]
        for pending in (self._added, self._removed, self._patterns):
            pending.pop(member, None)

    def _withdraw(self, fds: set[int], member: str) -> None:
        """These descriptors are about to be closed: whoever was to get one is refused."""
        for place, (seat, message, carried) in enumerate(self._answers):
            if fds.isdisjoint(carried):
                continue
            token = message.token if isinstance(message, wire.Done) else 0
            refusal = wire.Refused(token, PeerLost.code, f"member {member} has just gone", member)
            self._answers[place] = (seat, refusal, [])

    def _done(self, seat: Seat, token: int, fds: Sequence[int] = ()) -> None:
        self._answers.append((seat, wire.Done(token), list(fds)))

    def _refuse(self, seat: Seat, token: int, code: str, text: str, member: str = "") -> None:
        self._answers.append((seat, wire.Refused(token, code, text, member), []))

    # --- each message -----------------------------------------------------------------------------------------------
    def _hello(self, seat: Seat, hello: wire.Hello, fds: list[int]) -> list[int]:
        if seat.info is not None:
            raise BadAddress("Hello was said twice")
        problem = self._mismatch(hello)
        if problem is not None:
            self._send(seat, wire.pack(wire.Refused(0, *problem)), ())
            raise VersionMismatch(problem[1])
        wanted = 3 if self._carrier == "rings" else 0
        if len(fds) != wanted + 2 * hello.shards:
            raise BadAddress(f"Hello comes with {wanted} file descriptors and two a shard")
        slot, id_ = hello.slot, hello.id
        if id_ and id_ not in self._seats and 0 <= slot < SLOTS and self._slots.get(slot, id_) == id_:
            self._shards.adopt(fds[wanted:])  # back after the registry moved
        else:
            id_, slot = (
                "@" + secrets.token_hex(4),
                next((n for n in range(SLOTS) if n not in self._slots), -1),
            )
            if slot < 0:
                text = f"the bus is full: {SLOTS} members"
                self._send(seat, wire.pack(wire.Refused(0, "overloaded", text)), ())
                raise BadAddress(text)
        self._expected.pop(id_, None)
        seat.fds, seat.reliable, seat.endpoints = fds[:wanted], hello.reliable, hello.endpoints
        seat.info = MemberInfo(id_, hello.label, hello.pid, slot)
        self._slots[slot] = id_
        known = len(self._shards.fds())
        self._shards.ensure(slot // SHARD + 1)
        for number, pair in list(enumerate(self._shards.fds()))[known:]:
            for other in self._seats.values():
                self._answers.append((other, wire.Shard(number), list(pair)))
        self._seats[id_] = seat
        self._welcome(seat, seat.info)
        self.directory.join(seat.info)
        self._joined.append(seat.info)
        self._add_names(id_, [name for name in hello.names if self.directory.owner(name) in (None, id_)])
        self._set_patterns(id_, hello.patterns)
        return seat.fds

    def _mismatch(self, hello: wire.Hello) -> tuple[str, str] | None:
        if hello.protocol != wire.PROTOCOL or hello.layout != self._layout:
            return "version_mismatch", (
                f"the bus {self._bus!r} speaks protocol {wire.PROTOCOL} with memory layout {self._layout}, this member"
                f" protocol {hello.protocol} with layout {hello.layout}: use one version of three-mode on a bus"
            )
        if hello.bus != self._bus or hello.carrier != self._carrier:
            return "join_failed", (
                f"the bus {self._bus!r} is carried by {self._carrier}, this member asked for {hello.bus!r} on"
                f" {hello.carrier}: choose the same carrier for all members"
            )
        return None

    def _welcome(self, seat: Seat, info: MemberInfo) -> None:
        """The snapshot, sent before anything else: shards, directory, rings, gates."""
        shards = [fd for pair in self._shards.fds() for fd in pair]
        self._send(
            seat,
            wire.pack(wire.Welcome(info.id, info.slot, self.host, len(shards) // 2), len(shards)),
            shards,
        )
        everyone = [other for other in self._seats.values() if other.info is not None and other is not seat]
        infos = tuple(other.info for other in everyone if other.info is not None)
        self._send(
            seat,
            wire.pack(
                wire.Changes(
                    joined=infos,
                    patterns={i.id: self.directory.patterns(i.id) for i in infos},
                    endpoints={o.info.id: o.endpoints for o in everyone if o.info is not None},
                )
            ),
            (),
        )
        for other in infos:
            names = self.directory.owned(other.id)
            for start in range(0, len(names), NAMES_A_MESSAGE):
                part = wire.Changes(added={other.id: names[start : start + NAMES_A_MESSAGE]})
                self._send(seat, wire.pack(part), ())
        for member in everyone:
            assert member.info is not None
            if member.ring is not None:
                uid, fd = member.ring
                self._send(seat, wire.pack(wire.Writer(member.info.id, uid, fresh=False), 1), [fd])
            if member.reliable:
                page = member.fds[:1]
                self._send(seat, wire.pack(wire.GateWanted(0, member.info.id), len(page)), page)
        self._answers.append((seat, wire.Ready(), []))  # once everybody has been told of this member

    def _register(self, seat: Seat, info: MemberInfo, message: wire.Register) -> None:
        try:
            for name in message.names:
                check_name(name)
        except BadAddress as error:
            return self._refuse(seat, message.token, error.code, str(error))
        taken = self.directory.taken(message.names, info.id)
        if taken is not None:
            owner = self.directory.members.get(taken[1])
            text = (
                f"the name {taken[0]!r} is taken by member {taken[1]} ({owner.label if owner else 'unknown'})"
            )
            return self._refuse(seat, message.token, NameTaken.code, text, taken[1])
        self._add_names(info.id, message.names)
        return self._done(seat, message.token)

    def _add_names(self, member: str, names: Sequence[str]) -> None:
        self.directory.add_names(member, names)
        self._added.setdefault(member, []).extend(names)
        if member in self._removed:
            again = set(names)
            self._removed[member] = [name for name in self._removed[member] if name not in again]

    def _remove_names(self, member: str, names: Sequence[str]) -> None:
        self.directory.remove_names(member, names)
        self._removed.setdefault(member, []).extend(names)
        if member in self._added:
            gone = set(names)
            self._added[member] = [name for name in self._added[member] if name not in gone]

    def _set_patterns(self, member: str, patterns: dict[str, int]) -> None:
        for pattern in patterns:
            check_pattern(pattern)
        if patterns:
            self.directory.set_patterns(member, patterns)
            self._patterns.setdefault(member, {}).update(patterns)

    def _subscribed(self, seat: Seat, info: MemberInfo, message: wire.Subscribed) -> None:
        self._set_patterns(info.id, message.patterns)
        if seat.reliable and not message.reliable:
            seat.reliable = False
            for other in self._seats.values():
                if other is not seat:
                    self._answers.append((other, wire.GateLifted(info.id), []))
        if not message.reliable or seat.reliable:
            return self._done(seat, message.token)
        seat.reliable = True
        self._gate_token += 1
        others = {other for other in self._seats.values() if other is not seat}
        self._gates[self._gate_token] = GateWait(seat, message.token, others)
        page = seat.fds[:1]
        for other in others:
            self._answers.append((other, wire.GateWanted(self._gate_token, info.id), page))
        return self._gate_done(self._gate_token)

    def _gated(self, seat: Seat, token: int) -> None:
        wait = self._gates.get(token)
        if wait is not None:
            wait.missing.discard(seat)
            self._gate_done(token)

    def _gate_done(self, token: int) -> None:
        wait = self._gates.get(token)
        if wait is not None and not wait.missing:
            del self._gates[token]
            self._done(wait.seat, wait.token)

    def _ring_made(self, seat: Seat, info: MemberInfo, message: wire.RingMade, fds: list[int]) -> list[int]:
        if seat.ring is not None:
            self._withdraw({seat.ring[1]}, info.id)
            os.close(seat.ring[1])
        seat.ring = (message.uid, fds[0])
        for other in self._seats.values():
            if other is not seat:
                self._answers.append((other, wire.Writer(info.id, message.uid, fresh=True), fds))
        return fds

    def _link(self, seat: Seat, info: MemberInfo, message: wire.LinkTo, fds: list[int]) -> list[int]:
        other = self._seats.get(message.to)
        if other is None or len(other.fds) != 3:
            self._refuse(
                seat, message.token, PeerLost.code, f"member {message.to} is not on the bus", message.to
            )
            return []
        self._handed.append(fds[0])
        self._answers.append((other, wire.Linked(info.id, message.uid), [fds[0], *seat.fds]))
        self._done(seat, message.token, other.fds)
        return fds

    def _fetch(self, seat: Seat, message: wire.Fetch) -> None:
        owner = self._seats.get(message.owner)
        if owner is None:
            return self._refuse(
                seat, message.token, PeerLost.code, f"member {message.owner} is not on the bus", message.owner
            )
        fd = (owner.fds[0] if owner.fds else None) if message.uid == 0 else owner.segments.get(message.uid)
        if fd is None:
            return self._refuse(
                seat, message.token, NoSuchName.code, f"member {message.owner} has no such segment"
            )
        return self._done(seat, message.token, [fd])
