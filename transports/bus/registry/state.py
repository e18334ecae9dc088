"""Rules of the registry, without sockets: the effect of each message, and who gets an answer or an announcement.

Changes of the directory are gathered and announced to all members at once (`announce`); a request for a change is
answered only then. So a member that was answered `Done` knows that all later requests see its change, and 512 joins in
a burst cost each member a few messages instead of 512. A request that changes nothing is answered before that
(`answer`).
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from transports.bus.directory import Directory
from transports.bus.errors import BadAddress, BusError, NameTaken, NoSuchName, Overloaded, PeerLost, VersionMismatch
from transports.bus.events import MemberInfo, NamesChanged
from transports.bus.failpoints import RING_POINT, reach
from transports.bus.registry import wire
from transports.bus.registry.changes import PendingChanges, snapshot
from transports.bus.registry.descriptors import Descriptor
from transports.bus.registry.places import SLOTS, NoPlaces, PlaceTable
from transports.bus.registry.seats import GateWait, QueuedAnswer, Seat, Shards
from transports.bus.topics import check_name, check_pattern

SHARD = 64  # members that share a bell
GATE_WITHIN = 3.0  # seconds that a subscription waits for writers that do not answer, and a writer for late readers


Send = Callable[[Seat, bytes, Sequence[int]], None]


class RegistryState:
    """State of the registry of one bus. `send(seat, data, fds)` sends to a member."""

    def __init__(
        self, bus: str, carrier: str, layout: int, shards: Shards, send: Send, places: PlaceTable | None = None
    ) -> None:
        self._bus, self._carrier, self._layout = bus, carrier, layout
        self._shards, self._send = shards, send
        self._places = places or NoPlaces()
        self.host = ""  # id of the member whose process hosts the registry
        self.directory = Directory()
        self._seats: dict[str, Seat] = {}
        self._slots: dict[int, str] = {}
        self._expected: dict[str, MemberInfo] = {}  # members of the registry before, not back yet
        self._given_up: dict[int, MemberInfo] = {}  # members that did not come back, by the slots they may still use
        self._gates: dict[int, GateWait] = {}
        self._gate_token = 0
        self._pending = PendingChanges()
        self._joining: list[Seat] = []  # sent Hello, not welcomed yet
        self._rings: dict[str, Seat] = {}  # members whose new broadcast ring is not announced yet
        self._answers: list[QueuedAnswer] = []
        self._shards_announced = 0

    # --- members of a registry that died ----------------------------------------------------------------------------
    def expect(self, known: Sequence[MemberInfo]) -> None:
        """Keep the slots of members of the registry before this one, until `forget_expected`."""
        for info in known:
            self._expected[info.id] = info
            self._slots[info.slot] = info.id

    def forget_expected(self, late: Callable[[MemberInfo], bool] | None = None) -> None:
        """Declare the members lost that have not come back, but those that are only `late`.

        Their slots stay theirs until `free_places`: one whose process lives may use its slot without knowing better.
        """
        for info in list(self._expected.values()):
            if late is not None and late(info):
                continue
            del self._expected[info.id]
            self._slots[info.slot] = ""  # nobody's: it gets another one if it comes back
            self._given_up[info.slot] = info
            self._pending.lost(info.id, "it did not come back after the registry moved")
            self._not_missing(info.id)

    def free_places(self, alive: Callable[[MemberInfo], bool] | None = None) -> None:
        """Free the slots of members that did not come back, but those whose process is `alive`."""
        for slot, info in list(self._given_up.items()):
            if alive is None or not alive(info):
                del self._given_up[slot]
                self._free_slot(slot)

    def _free_slot(self, slot: int) -> None:
        self._slots.pop(slot, None)
        self._shards.free(slot)
        self._places.free(slot)

    @property
    def members(self) -> int:
        """Number of members."""
        return len(self._seats)

    @property
    def late(self) -> list[MemberInfo]:
        """Members of the registry before that are not back yet."""
        return list(self._expected.values())

    @property
    def expected(self) -> list[MemberInfo]:
        """Members of the registry before that are not back, also those that were given up."""
        return [*self._expected.values(), *self._given_up.values()]

    # --- input ------------------------------------------------------------------------------------------------------
    def handle(self, seat: Seat, message: wire.FromMember, fds: Sequence[int]) -> None:
        """Apply one message, and take over its descriptors.

        Raises BusError for a message that breaks the rules; the caller then drops the connection.
        """
        files = [Descriptor(fd) for fd in fds]  # those that nothing below keeps are closed on return
        if seat.ended:
            raise BadAddress("a message after Bye")
        if isinstance(message, wire.Hello):
            self._hello(seat, message, files)
            return
        info = seat.info
        if info is None:
            raise BadAddress("the first message must be Hello")
        match message:
            case wire.Restored():
                for name in message.names:
                    check_name(name)
                self._restore(info.id, message.names, message.patterns)
            case wire.Register():
                self._register(seat, info, message)
            case wire.Unregister():
                for change in self.directory.remove_names(info.id, message.names):
                    if isinstance(change, NamesChanged):
                        self._pending.removed(info.id, change.removed)
                self._done(seat, message.token, after_changes=True)
            case wire.Subscribed():
                self._subscribed(seat, info, message)
            case wire.RingMade() if len(files) == 1:
                seat.ring = (message.uid, files[0])
                self._rings[info.id] = seat
            case wire.LinkTo() if len(files) == 1:
                self._link(seat, info, message, files[0])
            case wire.Unlink():
                other = self._seats.get(message.to)
                if other is not None:
                    self._say(other, wire.Unlinked(info.id, message.uid))
            case wire.SegmentMade() if len(files) == 1:
                if len(seat.segments) >= wire.SEGMENTS_LIMIT and message.uid not in seat.segments:
                    raise Overloaded(f"a member has at most {wire.SEGMENTS_LIMIT} segments for large payloads")
                seat.segments[message.uid] = files[0]
            case wire.SegmentGone():
                seat.segments.pop(message.uid, None)
            case wire.Fetch():
                self._fetch(seat, message)
            case wire.Gated():
                self._gated(seat, message.token)
            case wire.Evict():
                other = self._seats.get(message.member)
                if other is not None:
                    self._say(other, wire.EvictionNotice(info.id, message.held))
            case wire.Sync(returning=True) if self._expected:  # and: all that come back have the rings you announced
                self._wait(seat, message.token, self._expected)
            case wire.Sync():  # its answer means: you have the rings of all that published before
                self._done(seat, message.token, after_changes=bool(self._rings))
            case wire.Bye():
                self.gone(seat, "left")
            case _:
                raise BadAddress(f"{type(message).__name__} without its file descriptors")

    def gone(self, seat: Seat, reason: str) -> None:
        """Remove a member: its connection closed, or it sent Bye."""
        reason = reason[: wire.REASON_LIMIT]
        own = {*seat.fds, *([seat.ring[1]] if seat.ring else ()), *seat.segments.values()}
        if seat in self._rings.values() or any(not own.isdisjoint(answer.fds) for answer in self._answers):
            self.flush()  # its ring may be on the way to its readers: earlier messages are not lost
        info, seat.info = seat.info, None
        if info is None or self._seats.get(info.id) is not seat:
            seat.close()
            return
        del self._seats[info.id]
        self._free_slot(info.slot)
        self.directory.leave(info.id, reason)
        self._pending.lost(info.id, reason)
        if not seat.welcomed:
            self._joining.remove(seat)
        for token, wait in list(self._gates.items()):
            if wait.seat is seat:
                del self._gates[token]
        self._not_missing(seat)
        self._answers = [answer for answer in self._answers if answer.seat is not seat]
        seat.close()

    def close(self) -> None:
        """Let go of all descriptors: those of the members, of the messages that wait, and of the shards."""
        for seat in self._seats.values():
            seat.close()
        self._answers.clear()
        self._shards.close()

    # --- output -----------------------------------------------------------------------------------------------------
    @property
    def unannounced(self) -> bool:
        """Whether any change is not announced yet."""
        return bool(self._pending or self._joining or self._rings)

    def answer(self) -> None:
        """Send the answers that need not wait for an announcement."""
        if not self._answers:
            return
        now = [answer for answer in self._answers if not answer.after_changes]
        self._answers = [answer for answer in self._answers if answer.after_changes]
        for answer in now:
            self._send(answer.seat, wire.pack(answer.message, len(answer.fds)), answer.fds)

    def announce(self) -> None:
        """Send the changes to all members and the directory to new ones; then send the answers that waited for that."""
        welcomed = [seat for seat in self._seats.values() if seat.welcomed]
        pending, self._pending = self._pending, PendingChanges()
        data, fds = self._new_shards()  # before the members that sleep there are known
        for changes in pending.messages():
            data += wire.pack(changes)
            if len(data) >= wire.MESSAGE_LIMIT:
                self._send_all(welcomed, data, fds)
                data, fds = b"", []
        self._send_all(welcomed, data, fds)
        self._hand_over_rings(welcomed)
        reach("registry_told")
        self._welcome()
        for answer in self._answers:
            answer.after_changes = False
        self.answer()

    def _send_all(self, seats: Sequence[Seat], data: bytes, fds: Sequence[int]) -> None:
        if data:
            for number, seat in enumerate(seats):
                if number == 1:
                    reach("registry_telling")
                self._send(seat, data, fds)

    def _new_shards(self) -> tuple[bytes, list[int]]:
        """Return the bells that are not announced yet; a new member gets all bells with Welcome."""
        shards = self._shards.fds()
        numbers = range(self._shards_announced, len(shards))
        self._shards_announced = len(shards)
        data = b"".join(wire.pack(wire.Shard(number), 2) for number in numbers)
        return data, [fd for number in numbers for fd in shards[number]]

    def flush(self) -> None:
        """Send all announcements and answers now."""
        if self.unannounced:
            self.announce()
        self.answer()

    def _say(
        self, seat: Seat, message: wire.FromRegistry, fds: Sequence[Descriptor] = (), after_changes: bool = False
    ) -> None:
        """Queue a message. With `after_changes`, or for a new member, it waits for the next announcement."""
        waits = not seat.welcomed or (after_changes and self.unannounced)
        self._answers.append(QueuedAnswer(seat, message, tuple(fds), waits))

    def _done(self, seat: Seat, token: int, fds: Sequence[Descriptor] = (), after_changes: bool = False) -> None:
        self._say(seat, wire.Done(token), fds, after_changes)

    def refuse(self, seat: Seat, token: int, error: BusError) -> None:
        """Refuse a request; token 0: a message that wants no answer."""
        self._refuse(seat, token, error.code, str(error))

    def _refuse(self, seat: Seat, token: int, code: str, text: str, member: str = "") -> None:
        self._say(seat, wire.RequestRefused(token, code, text[: wire.REASON_LIMIT], member))

    # --- each message -----------------------------------------------------------------------------------------------
    def _hello(self, seat: Seat, hello: wire.Hello, fds: list[Descriptor]) -> None:
        if seat.info is not None:
            raise BadAddress("Hello was sent twice")
        problem = self._mismatch(hello)
        if problem is not None:
            self._send(seat, wire.pack(wire.RequestRefused(0, *problem)), ())
            raise VersionMismatch(problem[1])
        wanted = 3 if self._carrier == "rings" else 0
        if len(fds) != wanted + 2 * hello.shards:
            raise BadAddress(f"Hello comes with {wanted} file descriptors and two a shard")
        for name in hello.names:
            check_name(name)
        for pattern in hello.patterns:
            check_pattern(pattern)
        slot, id_ = hello.slot, hello.id
        if id_ and id_ not in self._seats and 0 <= slot < SLOTS and self._slots.get(slot, id_) == id_:
            seat.returning = True
            self._shards.adopt(fds[wanted:])
        else:
            id_, slot = (
                "@" + secrets.token_hex(4),
                next((n for n in range(SLOTS) if n not in self._slots), -1),
            )
            if slot < 0:
                text = f"the bus is full: {SLOTS} members"
                self._send(seat, wire.pack(wire.RequestRefused(0, "overloaded", text)), ())
                raise BadAddress(text)
        self._shards.ensure(slot // SHARD + 1)  # nothing fails after this: the descriptors belong to the seat
        self._expected.pop(id_, None)
        seat.fds, seat.reliable, seat.endpoints = fds[:wanted], hello.reliable, hello.endpoints
        seat.info = MemberInfo(id_, hello.label, hello.pid, slot)
        self._slots[slot] = id_
        self._places.take(seat.info)
        self._seats[id_] = seat
        self._joining.append(seat)
        self.directory.join(seat.info)
        self._pending.joined(seat.info, seat.endpoints)
        self._restore(id_, hello.names, hello.patterns)
        self._not_missing(id_)

    def _restore(self, member: str, names: Sequence[str], patterns: dict[str, int]) -> None:
        self._add_names(member, [name for name in names if self.directory.owner(name) in (None, member)])
        self._set_patterns(member, patterns)

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

    def _welcome(self) -> None:
        """Send shards, directory, rings and gates to all members that joined since the last announcement."""
        joining, self._joining = self._joining, []
        if not joining:
            return
        shards = [fd for pair in self._shards.fds() for fd in pair]
        everyone = [(seat.info, seat) for seat in self._seats.values() if seat.info is not None]
        members = [(info, seat.endpoints) for info, seat in everyone]
        directory = b"".join(wire.pack(part) for part in snapshot(self.directory, members))
        rings = [(info.id, *seat.ring) for info, seat in everyone if seat.ring is not None]
        known, fresh = list(_of_rings(rings, fresh=False)), list(_of_rings(rings, fresh=True))
        for seat in joining:
            assert seat.info is not None
            seat.welcomed = True
            welcome = wire.Welcome(seat.info.id, seat.info.slot, self.host, len(shards) // 2)
            self._send(seat, wire.pack(welcome, len(shards)) + directory, shards)
            # A returning member reads an unknown ring from its start: the ring was made while it had no registry.
            for data, fds in fresh if seat.returning else known:
                self._send(seat, data, fds)
            for info, other in everyone:
                if other.reliable and other is not seat:
                    page = other.fds[:1]
                    self._send(seat, wire.pack(wire.GateWanted(0, info.id), len(page)), page)
            self._send(seat, wire.pack(wire.Ready()), ())
            reach("registry_welcomed")

    def _hand_over_rings(self, welcomed: Sequence[Seat]) -> None:
        """Send new broadcast rings to all members."""
        made, self._rings = self._rings, {}
        if not made:
            return
        reach(RING_POINT)
        rings = [(member, *seat.ring) for member, seat in made.items() if seat.ring is not None]
        for data, fds in list(_of_rings(rings, fresh=True)):
            self._send_all(welcomed, data, fds)

    def _register(self, seat: Seat, info: MemberInfo, message: wire.Register) -> None:
        try:
            for name in message.names:
                check_name(name)
        except BadAddress as error:
            return self._refuse(seat, message.token, error.code, str(error))
        taken = self.directory.taken(message.names, info.id)
        if taken is not None:
            owner = self.directory.members.get(taken[1])
            text = f"the name {taken[0]!r} is taken by member {taken[1]} ({owner.label if owner else 'unknown'})"
            return self._refuse(seat, message.token, NameTaken.code, text, taken[1])
        self._add_names(info.id, message.names)
        return self._done(seat, message.token, after_changes=True)

    def _add_names(self, member: str, names: Sequence[str]) -> None:
        if names:
            self.directory.add_names(member, names)
            self._pending.added(member, names)

    def _set_patterns(self, member: str, patterns: dict[str, int]) -> None:
        for pattern in patterns:
            check_pattern(pattern)
        if patterns:
            self.directory.set_patterns(member, patterns)
            self._pending.patterns(member, patterns)

    def _subscribed(self, seat: Seat, info: MemberInfo, message: wire.Subscribed) -> None:
        self._set_patterns(info.id, message.patterns)
        if seat.reliable and not message.reliable:
            seat.reliable = False
            for other in self._seats.values():
                if other is not seat:
                    self._say(other, wire.GateLifted(info.id))
        if not message.reliable or seat.reliable:
            return self._done(seat, message.token, after_changes=True)
        seat.reliable = True
        others = {other for other in self._seats.values() if other is not seat}
        gate = self._wait(seat, message.token, others)
        page = seat.fds[:1]
        for other in others:
            self._say(other, wire.GateWanted(gate, info.id), page)
        return self._gate_done(gate)

    def _wait(self, seat: Seat, token: int, missing: Iterable[Seat | str]) -> int:
        """Answer a request once nothing is missing; return the number of this wait."""
        self._gate_token += 1
        self._gates[self._gate_token] = GateWait(seat, token, set(missing), time.monotonic() + GATE_WITHIN)
        return self._gate_token

    def _not_missing(self, member: Seat | str) -> None:
        """End the waits for a member, by its seat or its id."""
        for token, wait in list(self._gates.items()):
            wait.missing.discard(member)
            self._gate_done(token)

    def _gated(self, seat: Seat, token: int) -> None:
        wait = self._gates.get(token)
        if wait is not None:
            wait.missing.discard(seat)
            self._gate_done(token)

    @property
    def waits(self) -> bool:
        """Whether any request waits for other members, up to a time that `expire` looks at."""
        return bool(self._gates)

    def expire(self, now: float) -> None:
        """Answer the requests that have waited for others long enough: or nobody could join, and no writer publish."""
        for token, wait in list(self._gates.items()):
            if now >= wait.until:
                wait.missing.clear()
                self._gate_done(token)

    def _gate_done(self, token: int) -> None:
        wait = self._gates.get(token)
        if wait is not None and not wait.missing:
            del self._gates[token]
            self._done(wait.seat, wait.token, after_changes=True)

    def _link(self, seat: Seat, info: MemberInfo, message: wire.LinkTo, ring: Descriptor) -> None:
        other = self._seats.get(message.to)
        if other is None or len(other.fds) != 3:
            self._refuse(seat, message.token, PeerLost.code, f"member {message.to} is not on the bus", message.to)
            return
        self._say(other, wire.Linked(info.id, message.uid), [ring, *seat.fds])
        self._done(seat, message.token, other.fds)

    def _fetch(self, seat: Seat, message: wire.Fetch) -> None:
        owner = self._seats.get(message.owner)
        if owner is None:
            return self._refuse(
                seat, message.token, PeerLost.code, f"member {message.owner} is not on the bus", message.owner
            )
        fd = (owner.fds[0] if owner.fds else None) if message.uid == 0 else owner.segments.get(message.uid)
        if fd is None:
            return self._refuse(seat, message.token, NoSuchName.code, f"member {message.owner} has no such segment")
        return self._done(seat, message.token, [fd])


def _of_rings(rings: Sequence[tuple[str, int, int]], fresh: bool) -> Iterator[tuple[bytes, list[int]]]:
    """Yield messages for rings (member, uid, descriptor), each with as many descriptors as one may carry."""
    for start in range(0, len(rings), wire.FDS_LIMIT):
        part = rings[start : start + wire.FDS_LIMIT]
        message = wire.Writers(tuple((member, uid) for member, uid, _ in part), fresh)
        fds = [fd for _, _, fd in part]
        yield wire.pack(message, len(fds)), fds
