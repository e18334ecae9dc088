"""Members that come and go on every carrier."""

import asyncio
from typing import Any

import pytest

from tests.support.bus.members import Members, bus_name, echo, eventually, members
from transports.bus import (
    Bus,
    BusError,
    BusOptions,
    Closed,
    Message,
    NoSuchBus,
    NoSuchName,
    PeerLost,
)


@pytest.mark.parametrize("hosts", [True, False])
async def test_who_is_cancelled_while_it_leaves_has_left(group: Members, carrier: str, hosts: bool) -> None:
    """Its names go with it, and another may host the bus."""
    members = [await group.join(), await group.join()]
    leaving, staying = members if hosts else reversed(members)
    await leaving.register("x", echo)
    await staying.subscribe("t", lambda message: None)
    await eventually(lambda: leaving.id in staying.members())
    leaving.publish("t", 1)
    leave = asyncio.create_task(leaving.leave())
    await asyncio.sleep(0)
    leave.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leave
    await leaving.leave()
    await eventually(lambda: leaving.id not in staying.members())
    assert (await group.join()).locate("x") is None


async def test_requests_that_come_while_a_member_leaves_are_no_failures_of_it(group: Members) -> None:
    a, b = await group.join(), await group.join()
    await b.register("x", echo)
    await a.wait_for("x")
    member, ends = b.id, list[Message | BusError]()
    await a.ask("x", 0)  # there is a way to it
    for number in range(300):
        a.call("x", number, ends.append)
        a.call(member, number, ends.append)
        a.send("x", number)
    await b.leave()
    await eventually(lambda: len(ends) == 600)
    assert {type(end) for end in ends} <= {Message, PeerLost, NoSuchName}
    assert [error for _, error in group.errors if isinstance(error, Closed)] == []


def test_a_loop_that_ends_while_a_member_leaves_keeps_no_bus(carrier: str) -> None:
    name, options = bus_name(), BusOptions(carrier=carrier)  # type: ignore[arg-type]

    async def cancelled() -> None:
        bus = await Bus.join(name, options)
        leave = asyncio.create_task(bus.leave())
        await asyncio.sleep(0)
        leave.cancel()

    async def again() -> None:
        await (await Bus.join(name, options)).leave()

    asyncio.run(cancelled())
    asyncio.run(again())


async def test_leaving_ends_calls_on_both_sides(group: Members) -> None:
    a, b = await group.join(), await group.join()
    reasons: list[str] = []
    await b.register("slow", lambda request: request.on_cancel(reasons.append))
    await a.register("slow2", lambda request: None)
    listener, subscription = b.listen("t"), await b.subscribe("t", print)
    await a.wait_for("slow")
    await b.wait_for("slow2")
    to_b = asyncio.create_task(a.ask("slow", 1))
    to_a = asyncio.create_task(b.ask("slow2", 1))
    await asyncio.sleep(0.05)
    await b.leave()
    with pytest.raises(PeerLost, match="left"):
        await to_b
    with pytest.raises(Closed):
        await to_a
    assert reasons
    with pytest.raises(Closed):
        await b.ask("slow2", 1)
    with pytest.raises(Closed):
        b.publish("t", 1)
    with pytest.raises(Closed):
        await listener.__aenter__()
    with pytest.raises(Closed):
        await b.subscribe("t", print)
    await subscription.close()
    await b.leave()


async def test_joining_a_bus_that_nobody_hosts(carrier: str) -> None:
    async with members(carrier=carrier) as nobody:
        with pytest.raises(NoSuchBus):
            await nobody.join(create=False)


async def test_status_names_the_carrier_and_the_slowest_reader(group: Members, carrier: str) -> None:
    a, b = await group.join(), await group.join("reader")
    await b.subscribe("t", lambda m: None)
    await a.publish("t", 1).settled(within=5)
    status = await a.status_of_readers()
    assert status.carrier == carrier
    assert status.counters["published"] == 1
    assert [reader.label for reader in status.readers] == ["reader"]
    assert status.slowest is None


async def test_bus_survives_the_member_that_hosted_it(group: Members) -> None:
    host, a, b = await group.join("host"), await group.join(), await group.join()
    await b.register("x", echo)
    await a.wait_for("x")
    assert (await a.ask("x", 1)).payload[4] == 1
    seen: list[Any] = []
    await b.subscribe("t", seen.append)
    await host.leave()
    assert (await a.ask("x", 2)).payload[4] == 2
    late = await group.join("late")
    await late.wait_for("x")
    assert (await late.ask("x", 3)).payload[4] == 3
    assert (await late.publish("t", 1).settled(within=5)).seen == 1
    await late.register("y", echo)
    await b.wait_for("y")
    assert (await b.ask("y", 4)).payload[4] == 4


async def _ask_many(bus: Bus, name: str, count: int) -> int:
    replies = await asyncio.gather(*(bus.ask(name, n) for n in range(count)))
    return sum(reply.payload[4] == n for n, reply in enumerate(replies))


async def test_many_at_once_in_both_directions(group: Members) -> None:
    a, b = await group.join(), await group.join()
    await a.register("a", echo)
    await b.register("b", echo)
    await a.wait_for("b")
    await b.wait_for("a")
    assert await asyncio.gather(_ask_many(a, "b", 2000), _ask_many(b, "a", 2000)) == [2000, 2000]
