"""The registry's rules, without sockets: who is told what, in which order, and how often."""

import os
import time
from collections.abc import Sequence
from typing import Any

import pytest

from transports.bus.directory import Directory
from transports.bus.errors import BadAddress
from transports.bus.events import MemberInfo
from transports.bus.registry import wire
from transports.bus.registry.changes import ITEMS_A_MESSAGE, PendingChanges, snapshot
from transports.bus.registry.pacing import FEW, LONGEST, SHORTEST, ChangePacing
from transports.bus.registry.seats import NoShards, Seat
from transports.bus.registry.state import GATE_WITHIN, RegistryState


class Registry:
    """A state, and what it said to each seat."""

    def __init__(self, carrier: str = "zmq") -> None:
        self.said: dict[Seat, list[wire.FromRegistry]] = {}
        self.sends = 0
        self.carrier = carrier
        self.state = RegistryState("b", carrier, 0, NoShards(), self._send)

    def _send(self, seat: Seat, data: bytes, fds: Sequence[int]) -> None:
        self.sends += 1
        for fd in fds:
            os.fstat(fd)  # raises if it was closed before it was handed over
        self.said.setdefault(seat, []).extend(map(wire.from_registry, wire.bodies(data)))

    def hello(self, **changes: Any) -> Seat:
        seat = Seat()
        fields: dict[str, Any] = {
            "protocol": wire.PROTOCOL,
            "layout": 0,
            "bus": "b",
            "carrier": self.carrier,
            "label": "m",
            "pid": 1,
            "endpoints": {},
        }
        fds = [os.memfd_create("x") for _ in range(3 if self.carrier == "rings" else 0)]
        self.state.handle(seat, wire.Hello(**{**fields, **changes}), fds)
        return seat

    def join(self, **changes: Any) -> Seat:
        seat = self.hello(**changes)
        self.state.announce()
        return seat

    def do(self, seat: Seat, message: wire.FromMember, fds: int = 0) -> None:
        self.state.handle(seat, message, [os.memfd_create("x") for _ in range(fds)])
        self.state.answer()

    def kinds(self, seat: Seat, since: int = 0) -> list[str]:
        return [type(message).__name__ for message in self.said.get(seat, [])[since:]]


def directory_of(messages: Sequence[wire.FromRegistry]) -> Directory:
    """What a member knows that was told this."""
    directory = Directory()
    for message in messages:
        if isinstance(message, wire.Changes):
            for member, reason in message.lost:
                directory.leave(member, reason)
            for info in message.joined:
                directory.join(info)
            for member, names in message.removed.items():
                directory.remove_names(member, names)
            for member, names in message.added.items():
                directory.add_names(member, names)
            for member, patterns in message.patterns.items():
                directory.set_patterns(member, patterns)
    return directory


def test_many_joins_are_told_once_to_each() -> None:
    registry = Registry()
    old = [registry.join() for _ in range(10)]
    before = {seat: len(registry.said[seat]) for seat in old}
    new = [registry.hello(names=(f"n{n}",), patterns={"t": 1}) for n in range(200)]
    registry.state.answer()
    assert all(seat not in registry.said for seat in new)
    sends = registry.sends
    registry.state.announce()
    assert registry.sends - sends == len(old) + 2 * len(new)
    for seat in old:
        assert registry.kinds(seat, before[seat]) == ["Changes"]
    for seat in new:
        assert registry.kinds(seat) == ["Welcome", "Changes", "Ready"]
    for seat in (*old, *new):
        known = directory_of(registry.said[seat])
        assert dict(known.members) == dict(registry.state.directory.members)
        assert dict(known.names) == dict(registry.state.directory.names)
        assert all(known.patterns(m) == registry.state.directory.patterns(m) for m in known.members)


@pytest.mark.parametrize(
    "change", [wire.Register(7, ("x",)), wire.Unregister(7, ("mine",)), wire.Subscribed(7, {"t": 1}, False)]
)
def test_done_means_that_everybody_was_told_before(change: wire.FromMember) -> None:
    registry = Registry()
    asker, other = registry.join(names=("mine",)), registry.join()
    before = len(registry.said[other]), len(registry.said[asker])
    registry.do(asker, change)
    registry.do(other, wire.Sync(1))
    assert registry.kinds(asker, before[1]) == []
    assert registry.kinds(other, before[0]) == ["Done"]  # what changes nothing does not wait
    order: list[tuple[Seat, str]] = []
    registry._send = (
        lambda seat, data, fds: order.append(  # type: ignore[method-assign]
            (seat, type(wire.from_registry(data[wire.HEADER.size :])).__name__)
        )
    )
    registry.state._send = registry._send
    registry.state.announce()
    assert order[-1] == (asker, "Done")
    assert sorted(kind for _, kind in order[:-1]) == ["Changes", "Changes"]


def test_a_ring_reaches_who_asks_afterwards_before_the_answer() -> None:
    registry = Registry("rings")
    writer, reader = registry.join(), registry.join()
    before = len(registry.said[reader])
    registry.do(writer, wire.RingMade(5), fds=1)
    registry.do(reader, wire.Sync(1))
    assert registry.kinds(reader, before) == []
    registry.state.announce()
    assert registry.kinds(reader, before) == ["Writers", "Done"]


def test_a_ring_is_handed_over_before_its_writer_is_lost() -> None:
    registry = Registry("rings")
    writer, reader = registry.join(), registry.join()
    before = len(registry.said[reader])
    registry.do(writer, wire.RingMade(5), fds=1)
    registry.state.gone(writer, "killed")
    registry.state.flush()
    assert registry.kinds(reader, before) == ["Writers", "Changes"]


def test_rings_of_many_writers_come_together() -> None:
    registry = Registry("rings")
    seats = [registry.join() for _ in range(70)]
    before = len(registry.said[seats[0]])
    for number, seat in enumerate(seats):
        registry.do(seat, wire.RingMade(number + 1), fds=1)
    registry.state.announce()
    handed = [m for m in registry.said[seats[0]][before:] if isinstance(m, wire.Writers)]
    assert [len(message.rings) for message in handed] == [wire.FDS_LIMIT, 70 - wire.FDS_LIMIT]
    late = registry.join()
    rings = [m for m in registry.said[late] if isinstance(m, wire.Writers)]
    assert sum(len(message.rings) for message in rings) == 70
    assert not any(message.fresh for message in rings)


def test_who_returns_reads_rings_that_it_missed_from_their_beginning() -> None:
    """A ring made while the registry moved: the one who comes back last missed none of it."""
    registry = Registry("rings")
    registry.state.expect([MemberInfo("@aaaa", "m", 1, 0), MemberInfo("@bbbb", "m", 2, 1)])
    first = registry.join(id="@aaaa", slot=0)
    registry.do(first, wire.RingMade(5), fds=1)
    registry.state.announce()
    last = registry.join(id="@bbbb", slot=1)
    assert [(m.rings, m.fresh) for m in registry.said[last] if isinstance(m, wire.Writers)] == [((("@aaaa", 5),), True)]


@pytest.mark.parametrize("ends", ["back", "given up", "too late"])
def test_a_writer_may_wait_until_who_returns_has_its_ring(ends: str) -> None:
    registry = Registry("rings")
    registry.state.expect([MemberInfo("@aaaa", "m", 1, 0), MemberInfo("@bbbb", "m", 2, 1)])
    writer = registry.join(id="@aaaa", slot=0)
    registry.do(writer, wire.RingMade(5), fds=1)
    registry.do(writer, wire.Sync(1))
    registry.do(writer, wire.Sync(2, returning=True))
    registry.state.announce()
    registry.state.expire(time.monotonic() + GATE_WITHIN - 0.5)
    assert [m for m in registry.said[writer] if isinstance(m, wire.Done)] == [wire.Done(1)]
    assert registry.state.waits
    if ends == "back":
        last = registry.hello(id="@bbbb", slot=1)
        registry.state.answer()
        assert registry.kinds(writer)[-1] == "Done"
        assert registry.said[writer][-1] == wire.Done(1)  # not before that one is welcome
        registry.state.announce()
        assert "Writers" in registry.kinds(last)
    elif ends == "given up":
        registry.state.forget_expected()
        registry.state.announce()
    else:
        registry.state.expire(time.monotonic() + GATE_WITHIN + 0.5)
        registry.state.answer()
    assert registry.said[writer][-1] == wire.Done(2)
    assert not registry.state.waits


def test_who_is_not_welcome_yet_hears_of_a_gate_after_its_welcome() -> None:
    registry = Registry("rings")
    reader = registry.join()
    writer = registry.hello()
    registry.do(reader, wire.Subscribed(3, {"t": 1}, True))
    assert registry.kinds(writer) == []
    registry.state.announce()
    assert registry.kinds(writer)[:2] == ["Welcome", "Changes"]
    assert "Done" not in registry.kinds(reader)[3:]  # not before the new writer respects it
    wanted = [m for m in registry.said[writer] if isinstance(m, wire.GateWanted) and m.token]
    registry.do(writer, wire.Gated(wanted[0].token))
    assert registry.kinds(reader)[-1] == "Done"


def test_who_joins_and_goes_before_it_is_welcome() -> None:
    registry = Registry("rings")
    other = registry.join()
    gone = registry.hello(names=("x",))
    registry.state.gone(gone, "killed")
    registry.state.flush()
    assert gone not in registry.said
    assert directory_of(registry.said[other]).members.keys() == registry.state.directory.members.keys()
    assert registry.state.members == 1
    assert "Done" in registry.kinds(registry.join(names=("x",))) or registry.state.directory.owner("x")


def test_a_burst_in_messages_of_bounded_size() -> None:
    pending = PendingChanges()
    info = MemberInfo("@aaaa", "m", 1, 0)
    names = [f"{n:06}" + "n" * 240 for n in range(3 * ITEMS_A_MESSAGE)]
    pending.joined(info, {})
    pending.added(info.id, names)
    pending.patterns(info.id, dict.fromkeys(names, 1))
    messages = list(pending.messages())
    assert all(len(wire.pack(message)) < wire.MESSAGE_LIMIT for message in messages)
    known = directory_of(messages)
    assert known.owned(info.id) == tuple(names)
    again = directory_of(list(snapshot(known, [(info, {})])))
    assert again.owned(info.id) == tuple(names)
    assert again.patterns(info.id) == dict.fromkeys(names, 1)


def test_members_with_large_labels_and_endpoints_in_messages_of_bounded_size() -> None:
    text = "\U0001f41d" * 250
    endpoints = {f"{n}" + text[:200]: text for n in range(8)}
    members = [(MemberInfo(f"@{n:08}", text, 1, n), endpoints) for n in range(1024)]
    directory, pending = Directory(), PendingChanges()
    for info, _ in members:
        directory.join(info)
        pending.joined(info, endpoints)
    for messages in (list(pending.messages()), list(snapshot(directory, members))):
        assert all(len(wire.pack(message)) < wire.MESSAGE_LIMIT for message in messages)
        assert sum(len(message.joined) for message in messages) == sum(len(m.endpoints) for m in messages) == 1024
    lost = PendingChanges()
    for info, _ in members * 8:
        lost.lost(info.id, "r" * wire.REASON_LIMIT)
    assert all(len(wire.pack(message)) < wire.MESSAGE_LIMIT for message in lost.messages())


@pytest.mark.parametrize("changes", [{"patterns": {"a..b": 1}}, {"names": ("@x",)}, {"shards": -1}, {"shards": 1}])
def test_a_hello_that_is_refused_closes_its_descriptors_once(changes: dict[str, Any]) -> None:
    """Numbers are used again at once, by whoever opens something next."""
    registry = Registry("rings")
    fds = [os.memfd_create("x") for _ in range(3)]
    said = wire.Hello(wire.PROTOCOL, 0, "b", "rings", "m", 1, {}, **changes)
    seat = Seat()
    with pytest.raises(BadAddress):
        registry.state.handle(seat, said, list(fds))
    others = [os.memfd_create("y") for _ in range(3)]
    registry.state.gone(seat, "it sent what it must not")
    for fd in others:
        os.close(fd)  # is still open
    assert registry.state.members == 0


def test_what_is_undone_before_it_is_told() -> None:
    pending = PendingChanges()
    pending.added("@a", ["x", "y"])
    pending.removed("@a", ["x"])
    pending.added("@b", ["x"])
    (message,) = pending.messages()
    assert message.added == {"@a": ("y",), "@b": ("x",)}
    assert message.removed == {"@a": ("x",)}
    pending.lost("@b", "killed")
    (message,) = pending.messages()
    assert message.added == {"@a": ("y",)}
    assert message.lost == (("@b", "killed"),)


def test_pace_is_none_when_quiet_and_slows_down_in_a_burst() -> None:
    pace, members = ChangePacing(), FEW + 500
    assert pace.wait(100.0) == 0.0
    pace.sent(100.0, 100.01, members)
    assert pace.wait(100.01) == pytest.approx(SHORTEST * 500)
    now, pauses = 100.01, []
    for _ in range(5):
        now += pace.wait(now)
        pace.sent(now, now, members)
        pauses.append(pace.wait(now))
    assert pauses == pytest.approx([LONGEST * 500 / 2, *[LONGEST * 500] * 4])
    now += 10.0
    assert pace.wait(now) == 0.0
    pace.sent(now, now, members)
    assert pace.wait(now) == pytest.approx(SHORTEST * 500)
    few = ChangePacing()
    few.sent(1.0, 1.0, FEW)
    assert few.wait(1.0) == 0.0


def test_members_of_one_process_share_the_texts_of_names_without_a_number() -> None:
    found = []
    for _ in range(2):
        directory = Directory()
        directory.join(MemberInfo("@1", "host-1", 1, 0))
        directory.add_names("@1", [":".join(("any", str(number))) for number in range(3)])  # texts of its own
        found.append(list(directory.names))
    assert found[0] == ["any:0", "any:1", "any:2"]
    assert all(one is other for one, other in zip(*found, strict=True))
