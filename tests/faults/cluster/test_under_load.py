"""Faults under load, in rounds: nothing comes twice, nothing is lost in silence, every wait ends."""

import asyncio
import random
import signal
import time
from typing import Any

import pytest

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import FAST, ChildNode, child_node, new_name, node
from tests.support.cluster.server import NatsServer
from three_mode import Orchestrator
from three_mode.errors import ThreeModeError

WITHIN = 4.0
LATE = 20.0  # seconds that a call may end after its deadline on a machine that is busy


class Load:
    """Tells, asks and streams to the agent of the other node, with a ledger of what became of each."""

    def __init__(self, orc: Orchestrator) -> None:
        self._orc, self._scout = orc, orc.ref("scout/0")
        self.sent: list[int] = []
        self.asked = self.answered = 0
        self.slowest = 0.0
        self.unexpected: list[BaseException] = []

    async def run(self, until: float) -> None:
        tasks = []
        while time.monotonic() < until:
            number = len(self.sent) + 1
            self.sent.append(number)
            try:
                await self._scout.tell(Scout.take, number)
            except ThreeModeError:
                pass  # it is a dead letter
            tasks.append(asyncio.create_task(self._ask(number)))
            if number % 5 == 0:
                tasks.append(asyncio.create_task(self._stream()))
            await asyncio.sleep(0.02)
        await asyncio.gather(*tasks)

    async def _timed(self, work: Any) -> Any:
        begun = time.monotonic()
        try:
            return await work
        except ThreeModeError:
            return None
        except BaseException as error:  # noqa: BLE001  # the test says which
            self.unexpected.append(error)
            return None
        finally:
            self.slowest = max(self.slowest, time.monotonic() - begun)

    async def _ask(self, number: int) -> None:
        self.asked += 1
        answer = await self._timed(self._scout.ask(Scout.add, number, within=WITHIN))
        self.answered += answer is not None
        assert answer in (None, number + 1)

    async def _stream(self) -> None:
        async def read() -> list[int]:
            return [part async for part in self._scout.stream(Scout.count, 30, within=WITHIN)]

        parts = await self._timed(read())
        assert parts in (None, list(range(30)))


async def _server_killed(server: NatsServer, child: ChildNode) -> None:
    server.kill()
    await asyncio.sleep(random.random())
    await server.start()


async def _server_stopped(server: NatsServer, child: ChildNode) -> None:
    server.pause()
    await asyncio.sleep(3.0 * random.random())
    server.resume()


async def _node_stopped(server: NatsServer, child: ChildNode) -> None:
    child.send(signal.SIGSTOP)
    await asyncio.sleep(3.0 * random.random())
    child.send(signal.SIGCONT)


FAULTS = (_server_killed, _server_stopped, _node_stopped)


async def play(rounds: int) -> None:
    cluster = new_name()
    async with NatsServer() as server, node(server.url, cluster, "a", timing=FAST) as here:
        async with child_node(server.url, cluster, "b", "scout", 1) as child:
            await here.bus.wait_for(["scout/0"], within=30)
            load = Load(here)
            for fault in [FAULTS[number % len(FAULTS)] for number in range(rounds)]:
                loading = asyncio.create_task(load.run(time.monotonic() + 4.0))
                await asyncio.sleep(1.0)
                await fault(server, child)
                await asyncio.wait_for(loading, 90)
                await here.bus.wait_for(["scout/0"], within=60)
            await here.ref("scout/0").ask(Scout.add, 1, within=30)
            await asyncio.sleep(2 * FAST.heartbeat)
            told = await here.ref("scout/0").ask(Scout.told_numbers, within=30)
            letters = here._running_supervisor.session.dead_letters.count
        assert not load.unexpected
        assert load.slowest < WITHIN + LATE
        assert load.answered > load.asked // 4
        assert len(told) == len(set(told)), "a tell came twice"
        assert told == sorted(told), "tells came out of order"
        silent = len(load.sent) - len(told) - letters
        assert silent <= 0, f"{silent} of {len(load.sent)} tells neither came nor are dead letters"


@pytest.mark.timeout(240)
async def test_rounds_of_faults() -> None:
    await play(3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_many_rounds_of_faults() -> None:
    await play(50)
