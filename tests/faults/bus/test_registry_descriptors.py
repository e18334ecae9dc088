"""Descriptors at the registry: each has an owner until it is sent, and none after its member has left."""

import asyncio
import gc
import os
import signal

import pytest

from tests.support.bus.members import eventually, members, process
from tests.support.bus.stranger import Joined
from transports.bus import MemberInfo, MemberLost
from transports.bus.registry import wire
from transports.bus.rings.native import LARGE, RING
from transports.bus.rings.segments import make


@pytest.mark.parametrize("change", ["withdrawn", "replaced", "owner left"])
async def test_segment_that_changes_while_an_answer_carries_it(change: str) -> None:
    """One turn of the registry has the request, and then the message that takes the segment away."""
    async with members() as group, process(group.name) as host:
        owner, asker = Joined(group.name), Joined(group.name)
        await eventually(lambda: owner.read() and owner.id and asker.read() and asker.id)
        fd, segment = make(LARGE, 65536)
        other, _other = make(LARGE, 131072)
        owner.say(wire.SegmentMade(segment.uid), fd)
        owner.say(wire.Sync(1))
        await eventually(lambda: owner.answer(1))
        host.signal(signal.SIGSTOP)
        await host.stopped()
        asker.say(wire.Fetch(5, owner.id, segment.uid))
        if change == "withdrawn":
            owner.say(wire.SegmentGone(segment.uid))
        elif change == "replaced":
            owner.say(wire.SegmentMade(segment.uid), other)
        else:
            owner.say(wire.Bye())
        owner.say(wire.RingMade(1), other)  # takes the number that became free
        host.signal(signal.SIGCONT)
        await eventually(lambda: asker.answer(5) or not asker.read())
        answer = asker.answer(5)
        assert answer is not None, "the asker was dropped"
        message, fds = answer
        if isinstance(message, wire.Done):  # else the request came after the change
            expected = {os.fstat(fd).st_ino} | ({os.fstat(other).st_ino} if change == "replaced" else set())
            assert os.fstat(fds[0]).st_ino in expected
        asker.say(wire.Sync(6))
        await eventually(lambda: asker.answer(6))  # still a member
        owner.close()
        asker.close()
        os.close(fd)
        os.close(other)


async def test_ring_replaced_while_an_answer_waits() -> None:
    async with members() as group, process(group.name) as host:
        owner, asker = Joined(group.name), Joined(group.name)
        await eventually(lambda: owner.read() and owner.id and asker.read() and asker.id)
        rings = [make(RING, 1 << 16) for _ in range(8)]
        host.signal(signal.SIGSTOP)
        await host.stopped()
        for fd, ring in rings:
            owner.say(wire.RingMade(ring.uid), fd)
        asker.say(wire.Sync(5))
        host.signal(signal.SIGCONT)
        await eventually(lambda: asker.answer(5))
        handed = [(m, fds) for m, fds in asker.received if isinstance(m, wire.Writers)]
        assert handed[-1][0].rings == ((owner.id, rings[-1][1].uid),)
        assert os.fstat(handed[-1][1][0]).st_ino == os.fstat(rings[-1][0]).st_ino
        owner.close()
        asker.close()
        for fd, _ in rings:
            os.close(fd)


async def test_host_that_leaves_keeps_no_descriptor_of_the_members_that_stay() -> None:
    counts = []
    for _ in range(50):
        async with members() as group:
            await group.join()
            member = Joined(group.name)
            await eventually(lambda member=member: member.read() and member.id)  # type: ignore[misc]
            fd, segment = make(LARGE, 65536)
            member.say(wire.SegmentMade(segment.uid), fd)
            member.say(wire.RingMade(7), fd)
            member.say(wire.Sync(1))
            await eventually(lambda member=member: member.answer(1))  # type: ignore[misc]
        member.close()
        os.close(fd)
        gc.collect()
        counts.append(len(os.listdir("/proc/self/fd")))
    assert max(counts[5:]) <= counts[4], counts


async def test_ring_that_is_dropped_while_its_request_waits_for_the_next_registry() -> None:
    """The request is sent again, after the ring was closed and its number went to another file."""
    async with members() as group, process(group.name) as host:
        a, b = await group.join(), await group.join()
        handed: list[int] = []
        read_pair = b._carrier.read_pair  # type: ignore[attr-defined]

        def note(member: str, uid: int, fds: list[int]) -> None:
            handed.append(os.fstat(fds[0]).st_ino)
            read_pair(member, uid, fds)

        b._carrier.read_pair = note  # type: ignore[attr-defined]
        host.signal(signal.SIGSTOP)
        await host.stopped()
        a.send(b.id, 1)
        await eventually(lambda: a._carrier._peers[b.id].link is not None)  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        ring = a._carrier._peers[b.id].link.fd  # type: ignore[attr-defined]
        expected = os.fstat(ring).st_ino
        a._carrier._pairs.drop(a._carrier._peers[b.id])  # type: ignore[attr-defined]
        others = [os.memfd_create("other") for _ in range(8)]
        host.signal(signal.SIGKILL)
        await host.ended()
        await eventually(lambda: handed, 10)
        assert set(handed) == {expected}
        assert a.id in b.members()
        for fd in others:
            os.close(fd)


async def test_member_in_the_place_of_one_that_the_new_registry_never_knew() -> None:
    """Two members in one place would share the state of one reader: the earlier one is lost first."""
    async with members() as group:
        bus = await group.join()
        lost: list[str] = []
        bus.watch(lambda change: lost.append(change.member.id) if isinstance(change, MemberLost) else None)
        membership = bus._carrier._membership  # type: ignore[attr-defined]
        one, other = (MemberInfo(id_, "label", 1, 77) for id_ in ("@one", "@other"))
        membership._message(wire.Changes(joined=(one,)), [])
        membership._message(wire.Changes(joined=(other,)), [])
        assert lost == ["@one"]
        assert "@other" in bus.members()
