"""Files of a bus: none after its clean end; after kill -9 those that the next one takes over, and no others."""

import asyncio
import os
import signal
import time

import pytest

from tests.support.bus.members import bus_name, eventually, members, process
from transports.bus import Bus, BusOptions
from transports.bus.registry.election import RegistryPaths, runtime_directory


def files_of(bus: str) -> list[str]:
    return sorted(path.name.removeprefix(bus) for path in runtime_directory().glob(f"{bus}.*"))


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
async def test_clean_end_leaves_no_file(carrier: str) -> None:
    async with members(carrier=carrier) as group, process(group.name, carrier=carrier) as other:
        await (await group.join()).leave()
        await other.do("leave")
    assert files_of(group.name) == []


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
async def test_survivors_remove_the_sockets_of_a_killed_member(carrier: str) -> None:
    async with members(carrier=carrier) as group:
        bus = await group.join()
        before = files_of(group.name)
        async with process(group.name, carrier=carrier) as killed:
            await eventually(lambda: killed.id in bus.members())
            killed.signal(signal.SIGKILL)
            await eventually(lambda: killed.id not in bus.members())
        assert files_of(group.name) == before


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
async def test_all_killed_leave_what_the_next_start_takes_over(carrier: str) -> None:
    name = bus_name()
    async with process(name, carrier=carrier) as first, process(name, carrier=carrier) as second:
        for each in (first, second):
            each.signal(signal.SIGKILL)
            await each.ended()
    left = files_of(name)
    assert {".sock", ".lock"} <= set(left)
    assert len(left) == (2 if carrier == "rings" else 6)
    old = time.time() - 60
    for path in runtime_directory().glob(f"{name}.*"):
        os.utime(path, (old, old))
    bus = await Bus.join(name, BusOptions(carrier=carrier))  # type: ignore[arg-type]
    await bus.leave()
    assert files_of(name) == []


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
async def test_last_member_leaves_before_it_hosts_the_next_registry(carrier: str) -> None:
    name = bus_name()
    async with process(name, carrier=carrier) as host:
        bus = await Bus.join(name, BusOptions(carrier=carrier))  # type: ignore[arg-type]
        await eventually(lambda: host.id in bus.members())
        bus._carrier._membership._pause = 1.0  # as after some registries that died in a row
        host.signal(signal.SIGKILL)
        await host.ended()
        await asyncio.sleep(0.1)
        await bus.leave()
    assert [name for name in files_of(name) if name in (".lock", ".sock")] == []


async def test_lock_is_taken_again_while_its_last_holder_removes_it() -> None:
    """Members that come and go at the same time are on one bus, whoever removes the files."""
    name = bus_name()

    async def come_and_go(number: int) -> None:
        for _ in range(15):
            bus = await Bus.join(name, BusOptions(label=str(number)))
            assert RegistryPaths.of(name).lock.exists()
            await bus.leave(0.1)

    await asyncio.gather(*(come_and_go(number) for number in range(6)))
    await (await Bus.join(name)).leave()  # those who left in one moment may each have taken another for the last
    assert files_of(name) == []
