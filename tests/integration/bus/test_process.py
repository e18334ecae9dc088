"""What surrounds the bus: forks, event loops, the carrier that CI must have, a build with sanitizers."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from tests.support.bus.members import bus_name, eventually, members, process
from tests.support.bus.rings import Bench, attend
from tests.support.bus.sanitized import build_sanitized
from transports.bus import Bus, BusOptions, Forked, SubscribeOptions, rings_available
from transports.bus.rings import edge_watch
from transports.bus.rings.doorbell import Doorbell
from transports.bus.rings.native import Pump

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def test_rings_are_the_carrier_here() -> None:
    """CI fails where the native part is not built."""
    available, why = rings_available()
    assert available, why


async def _ring_twice(doorbell: Doorbell, shard: int, pump: Pump) -> list[str]:
    """The pump's own callbacks on the loop, as the carrier has them."""
    what = {"own": doorbell.own, "shard": shard}
    doorbell.wakes(pump)
    await asyncio.sleep(0.05)  # a loop that hears it itself may have been woken while that was set up
    started, order = pump.wakes, []
    for name in ("own", "shard", "own", "shard"):
        before = pump.wakes
        os.eventfd_write(what[name], 1)
        for _ in range(200):
            if pump.wakes > before:
                break
            await asyncio.sleep(0.005)
        order.append(name if pump.wakes == before + 1 else f"{name}: woken {pump.wakes - before} times")
    await asyncio.sleep(0.02)
    assert pump.wakes == started + 4  # silent once it was answered, though nobody reads the eventfds
    doorbell.stop()
    return order


@pytest.mark.parametrize("rung_before", [False, True])
@pytest.mark.parametrize("loop", [*LOOPS, "uvloop that cannot hear"])
def test_doorbell_wakes_either_loop_once_a_ring(loop: str, rung_before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio through an epoll within its own; uvloop by itself, or the same way where its epoll is none that we can
    reach.
    """
    if loop not in LOOPS:
        monkeypatch.setattr(edge_watch, "_epoll_of", lambda loop: shard)
    doorbell, bench = Doorbell(), Bench()
    shard = os.eventfd(int(rung_before), os.EFD_NONBLOCK)
    doorbell.watch_shard(shard)
    attend(bench.pump, doorbell)
    with asyncio.Runner(loop_factory=LOOPS[loop.split()[0]]) as runner:
        assert runner.run(_ring_twice(doorbell, shard, bench.pump)) == ["own", "shard", "own", "shard"]
    bench.close()
    doorbell.close()
    os.close(shard)


@pytest.mark.parametrize("loop", LOOPS)
def test_one_ring_wakes_all_of_a_shard(loop: str) -> None:
    doorbells = [Doorbell() for _ in range(64)]
    benches = [Bench() for _ in doorbells]
    shard = os.eventfd(0, os.EFD_NONBLOCK)
    for doorbell, bench in zip(doorbells, benches, strict=True):
        attend(bench.pump, doorbell)

    async def woken() -> list[int]:
        for doorbell, bench in zip(doorbells, benches, strict=True):
            doorbell.wakes(bench.pump)
            doorbell.watch_shard(shard)
        await asyncio.sleep(0.05)
        before = [bench.pump.wakes for bench in benches]
        os.eventfd_write(shard, 1)
        await asyncio.sleep(0.1)
        for doorbell in doorbells:
            doorbell.watch_shard(-1)
        os.eventfd_write(shard, 1)  # nobody listens any more
        await asyncio.sleep(0.02)
        for doorbell in doorbells:
            doorbell.stop()
        return [bench.pump.wakes - earlier for bench, earlier in zip(benches, before, strict=True)]

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        assert runner.run(woken()) == [1] * 64
    for bench in benches:
        bench.close()
    for doorbell in doorbells:
        doorbell.close()
    os.close(shard)


async def _talk() -> list[Any]:
    name = bus_name()
    async with await Bus.join(name) as a, await Bus.join(name) as b:
        seen: list[Any] = []
        await b.subscribe("t", lambda m: seen.append(m.payload))
        await b.register("x", lambda request: request.reply(request.payload * 2))
        await a.wait_for("x")
        for n in range(100):
            a.publish("t", n)
            seen.append((await a.ask("x", n)).payload)
        await a.publish("t", "end").settled(within=5)
        assert a.status().counters["missed_wakes"] == 0
        return sorted(item for item in seen if item != "end")


@pytest.mark.parametrize("loop", LOOPS)
def test_bus_on_either_loop(loop: str) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        assert runner.run(_talk()) == sorted([*range(100), *range(0, 200, 2)])


async def test_fork_is_refused_and_harms_nobody() -> None:
    async with members() as group:
        a, b = await group.join(), await group.join()
        await b.register("x", lambda request: request.reply(request.payload))
        await a.wait_for("x")
        heard: list[int] = []
        subscription = await a.subscribe("t", lambda message: heard.append(message.payload))
        read, write = os.pipe()
        pid = os.fork()  # the child touches nothing but the bus, and ends
        if pid == 0:
            said = ""
            for attempt in (lambda: a.publish("t", 1), lambda: a.send("x", 1), lambda: a.call("x", 1, print)):
                try:
                    attempt()
                except Forked as error:
                    said += str(error)
            try:
                subscription.close().__await__().send(None)  # the loop is the parent's, and what hears for it too
            except StopIteration:
                said += "closed"
            try:
                a.subscribe("t", print).__await__().send(None)
            except Forked as error:
                said += str(error)
            os.write(write, said.encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            said = pipe.read()
        assert (said.count("spawn"), said.count("closed")) == (4, 1)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended
        b.publish("t", 7)
        await eventually(lambda: heard == [7])
        assert (await a.ask("x", 5)).payload == 5
        assert a.status().counters["missed_wakes"] == 0


async def test_the_last_words_are_heard_behind_much_that_nobody_wants() -> None:
    async with members(carrier="rings") as group:
        a, b = await group.join(), await group.join()
        seen: list[Any] = []
        gone: list[Any] = []
        options = SubscribeOptions(on_event=gone.append)
        await b.subscribe("wanted", lambda message: seen.append(message.payload), options)
        await a.publish("wanted", 0).settled(within=5)
        for n in range(4000):
            a.publish("unwanted", n)
        a.publish("wanted", 1)
        b._carrier.member_lost(a.id, "as if the registry said so before the doorbell rings")  # type: ignore[attr-defined]
        await eventually(lambda: gone)
        assert seen == [0, 1]


async def test_a_quiet_bus_costs_next_to_nothing() -> None:
    """Rings and pairs take memory as they are used, and sleeping members no time."""
    async with members() as group:
        bus = await group.join()
        async with process(group.name) as quiet:
            await quiet.do("subscribe", "t", "lossy")
            bus.publish("t", {"data": b"", "crc": 0})
            assert bus.status().counters["ring_memory"] == 65536
            used = psutil.Process(quiet.process.pid)
            await asyncio.sleep(0.2)
            before, started = sum(used.cpu_times()[:2]), time.monotonic()
            await asyncio.sleep(1.5)
            assert (sum(used.cpu_times()[:2]) - before) / (time.monotonic() - started) < 0.1


async def test_idle_pairs_are_given_back_and_come_again() -> None:
    async with members(pair_idle=0.2, recheck=0.1) as group:
        a, b = await group.join(), await group.join()
        await b.register("x", lambda request: request.reply(request.payload))
        await a.wait_for("x")
        for n in range(3):
            assert (await a.ask("x", n)).payload == n
            assert a.status().counters["pairs"] == 1
            async with asyncio.timeout(5):
                while a.status().counters["pairs"] or b.status().counters["pairs"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)


SANITIZED_TESTS = [f"tests/unit/bus/test_ring_{name}.py" for name in ("native", "publish", "machine", "raises")]


@pytest.mark.timeout(240)
def test_native_part_under_address_and_undefined_sanitizers(tmp_path: Path) -> None:
    """Builds the ring with sanitizers beside a copy of the package, and runs the ring's tests on it."""
    environment = build_sanitized(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SANITIZED_TESTS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Sanitizer" not in done.stderr
    assert BusOptions().carrier == "auto"
