"""Names on every carrier: registered, taken, looked up and watched."""

import asyncio
from typing import Any

import pytest

from tests.support.bus.members import Members, echo, eventually
from transports.bus import (
    BadAddress,
    MemberJoined,
    MemberLost,
    NamesChanged,
    NameTaken,
)


async def test_members_see_each_other(group: Members) -> None:
    a = await group.join("first")
    b = await group.join("second")
    assert a.id != b.id
    assert a.id.startswith("@")
    await eventually(lambda: b.id in a.members())
    assert a.members()[b.id].label == "second"
    assert set(b.members()) == {a.id, b.id}


async def test_names_are_registered_in_bulk_and_seen_by_all(group: Members) -> None:
    a, b = await group.join(), await group.join()
    names = [f"scout/{n}" for n in range(512)]
    await b.register(names, echo)
    await a.wait_for(names)
    assert a.locate("scout/511") == b.id
    late = await group.join()
    assert late.locate("scout/0") == b.id
    await b.unregister(names[:256])
    await eventually(lambda: a.locate("scout/0") is None)
    assert a.locate("scout/300") == b.id


async def test_a_taken_name_is_refused_and_nothing_is_registered(group: Members) -> None:
    a, b = await group.join("owner"), await group.join()
    await a.register("planner", echo)
    with pytest.raises(NameTaken, match="owner"):
        await b.register(["other", "planner"], echo)
    assert (await a.ask("planner", 1)).payload[4] == 1
    await asyncio.sleep(0.05)
    assert a.locate("other") is None


async def test_a_registration_that_is_cancelled_registers_nothing(group: Members) -> None:
    a, b = await group.join(), await group.join()
    registers = asyncio.create_task(b.register(["x", "y"], echo))
    await asyncio.sleep(0)  # the registry has been asked
    registers.cancel()
    with pytest.raises(asyncio.CancelledError):
        await registers
    await b.register("then", echo)
    await a.wait_for("then")
    assert a.locate("x") is a.locate("y") is None
    await a.register("x", echo)
    await b.wait_for("x")
    assert (await b.ask("x", 1)).payload[-1] == 1


@pytest.mark.parametrize("name", ["", "@x", "with space", "a" * 300, "nul\0"])
async def test_bad_names_are_refused(group: Members, name: str) -> None:
    bus = await group.join()
    with pytest.raises(BadAddress):
        await bus.register(name, echo)


async def test_changes_are_told(group: Members) -> None:
    a = await group.join()
    changes: list[Any] = []
    a.watch(changes.append)
    b = await group.join("b")
    await b.register("x", echo)
    await eventually(lambda: any(isinstance(change, NamesChanged) for change in changes))
    identity = b.id
    await b.leave()
    await eventually(lambda: any(isinstance(change, MemberLost) for change in changes))
    kinds = [type(change) for change in changes]
    assert kinds[0] is MemberJoined
    assert changes[-1].member.id == identity
    assert changes[-2] == NamesChanged(identity, removed=("x",))
