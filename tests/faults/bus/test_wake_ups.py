"""No wake-up is lost, however messages fall onto the steps by which a reader lies down.

Nothing looks for missed wake-ups here: `recheck` is an hour, so that a message that rings nobody is a deadline that
passes. The pauses between messages are as long as a reader looks, sleeps and stands up, in many thousand rounds.
"""

import asyncio
import os
import random
import signal
import time
from typing import Any

import pytest

from tests.support.bus.members import Members, Process, eventually, members, process
from transports.bus import Bus

HOUR = 3600.0
ROUNDS = 1500
CORES = os.sched_getaffinity(0)
READERS: dict[str, dict[str, Any]] = {
    "sleeps at once": {"linger": 0.0},
    "lingers": {},
    "spins": {"spin": 200e-6},
}


def seat(child: Process, together: bool) -> None:
    """Keeps this process and the child on one core, or on a core each."""
    cores = sorted(CORES)
    os.sched_setaffinity(0, {cores[0]})
    os.sched_setaffinity(child.process.pid, {cores[0 if together else -1]})


def rest(random: random.Random) -> None:
    """Keeps this process busy for a time as long as some step of a reader, or lets it sleep as long."""
    seconds = random.choice((0.0, 5e-6, 30e-6, 100e-6, 350e-6)) * random.random()
    if random.random() < 0.2:
        time.sleep(seconds)
    else:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass


@pytest.mark.parametrize("together", [True, False], ids=["on one core", "on a core each"])
@pytest.mark.parametrize("reader", READERS)
async def test_a_message_at_any_moment_wakes_its_reader(reader: str, together: bool) -> None:
    chance = random.Random(7)
    try:
        async with members(recheck=HOUR, **READERS[reader]) as group:
            bus = await group.join()
            async with process(group.name, recheck=HOUR, **READERS[reader]) as child:
                await child.do("register", "x")
                await child.do("subscribe", "t", "lossy")
                await bus.wait_for("x")
                seat(child, together)
                for n in range(ROUNDS):
                    rest(chance)
                    assert (await bus.ask("x", n, within=5)).payload == n
                    rest(chance)
                    receipt = bus.publish("t", {"data": b"", "crc": 0})
                    if n % 4 == 0:
                        assert (await receipt.settled(within=5)).seen == 1
                await settled(group, child)
    finally:
        os.sched_setaffinity(0, CORES)


async def settled(group: Members, child: Process) -> None:
    """The last message has been read too, without a later one that rings for it."""
    await eventually(lambda: group.joined[0].status().pending_calls == 0)
    seen, torn, missing, _ = await child.report()
    assert (seen, torn, missing) == (ROUNDS, 0, 0)


async def test_a_reader_stopped_as_it_lies_down_again_and_again_wakes_for_each_message() -> None:
    """The message comes after it has said that it sleeps, and before it sleeps: the bell rings all the same."""
    async with members(recheck=HOUR) as group:
        bus = await group.join()
        async with process(group.name, recheck=HOUR, linger=0.0) as child:
            await child.do("subscribe", "t", "lossy")
            for _ in range(40):
                await child.do("failpoint", "park_said", "stop", 0)
                bus.publish("t", {"data": b"", "crc": 0})  # wakes it; lying down again it is stopped
                await child.stopped()
                receipt = bus.publish("t", {"data": b"", "crc": 0})
                child.signal(signal.SIGCONT)
                assert (await receipt.settled(within=5)).seen == 1
            assert (await child.report())[:3] == (80, 0, 0)


async def test_a_reader_that_spins_needs_no_bell_and_sleeps_in_the_end() -> None:
    try:
        async with members(recheck=HOUR) as group:
            bus = await group.join()
            async with process(group.name, recheck=HOUR, spin=1.0) as child:
                await child.do("register", "x")
                await bus.wait_for("x")
                assert await bus.spins() == {child.id: 1.0}
                seat(child, together=False)
                rung = [1]
                while rung[-1] and len(rung) < 200:  # one is rung where others want the reader's core
                    rung.append(await rung_by_asks(bus, 5))
                assert rung[-1] == 0
                await asyncio.sleep(1.2)
                assert await rung_by_asks(bus, 1) == 1
    finally:
        os.sched_setaffinity(0, CORES)


async def rung_by_asks(bus: Bus, count: int) -> int:
    """Asks that are 2 ms apart; returns how many bells were rung for them."""
    before = bus.status().counters["doorbells"]
    for n in range(count):
        await asyncio.sleep(0.002)
        assert (await bus.ask("x", n, within=5)).payload == n
    return bus.status().counters["doorbells"] - before
