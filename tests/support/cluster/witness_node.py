"""A node on a machine of its own, which does what it is told on its input: `python -m ... SETTINGS`, in JSON.

Each line of input is an order, and each line of output the answer to one; it ends in order when its input ends.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import msgspec

from tests.support.cluster.load import Load
from tests.support.cluster.nodes import FAST
from tests.support.cluster.witness import Witness
from three_mode import Orchestrator
from three_mode.agents import HostOptions, OrchestratorOptions
from three_mode.cluster import Cluster
from three_mode.errors import ConfigurationError, ThreeModeError

_TIMING = msgspec.structs.replace(FAST, remembered=6.0)  # so that receipts are complete again soon after a node's end


class WitnessNode:
    """What a node can be told."""

    def __init__(self, orc: Orchestrator, settings: dict[str, Any]) -> None:
        self._orc, self._settings = orc, settings
        self._load = Load(orc, settings["targets"])

    async def spawn(self, group: str, count: int) -> bool:
        """Spawn witnesses; False where another node has the group."""
        try:
            await self._orc.spawn(Witness, count, name=group, restart="permanent", journal=self._settings["journal"])
        except ConfigurationError:
            return False
        return True

    async def wait_for(self, names: list[str]) -> None:
        """Wait until these agents can be called."""
        await self._orc.bus.wait_for(names, within=60)

    async def load(self, seconds: float, first: int) -> None:
        """Begin with tells, asks, streams and broadcasts, and write down what becomes of each."""
        self._load.start(time.monotonic() + seconds, first)

    async def loaded(self) -> dict[str, Any]:
        """Return what became of them, once all have ended."""
        return await self._load.ended()

    async def who(self, names: list[str]) -> dict[str, str]:
        """Return name -> the incarnation that answers."""
        return {name: await self._who(name) for name in names}

    async def _who(self, name: str) -> str:
        for _ in range(50):  # a host that has just ended is not back yet
            try:
                return str(await self._orc.ref(name).ask("who", within=10))
            except ThreeModeError as error:
                problem = error
                await asyncio.sleep(0.1)
        return f"{type(problem).__name__}: {problem}"

    async def claims(self) -> list[tuple[str, int, str]]:
        """Return the agents here, each with the epoch of its incarnation."""
        core = self._orc._gateway.core
        return [(claim.name, claim.number, core.id) for claim in core.own.claims.values() if not claim.away]

    async def here(self, names: list[str]) -> list[str]:
        """Return those of these agents that run here."""
        return [name for name in names if name in self._orc._roster.agents]

    async def letters(self, since: float) -> dict[str, int]:
        """Return agent -> how many dead letters there are of tells to it, those of the hosts among them."""
        letters = await self._orc.dead_letters(within=20)
        return Counter(one.to for one in letters if one.handler == "take" and one.when >= since)

    async def events(self) -> list[str]:
        """Return the names of the events so far."""
        return [type(event).__name__ for event in self._orc.events]

    async def host_pid(self) -> int:
        """Return the process of a host, once there is one."""
        hosts = self._orc._running_supervisor.hosts
        for _ in range(600):
            for host in hosts.running:
                if host.process is not None:
                    return host.process.pid
            await asyncio.sleep(0.05)
        raise AssertionError("there is no host")


async def main(settings: dict[str, Any]) -> None:
    cluster = Cluster(
        settings["url"], name=settings["cluster"], node=settings["node"], connect_within=20, timing=_TIMING
    )
    options = OrchestratorOptions(hosts=HostOptions(start_within=120.0))  # a busy machine is no fault
    loop, orders = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    bus = f"{cluster.name}-{cluster.node}"
    async with Orchestrator(settings["hosts"], bus, cluster=cluster, options=options) as orc:
        node = WitnessNode(orc, settings)
        say(None)
        while line := await orders.readline():
            order, arguments = json.loads(line)
            say(await getattr(node, order)(**arguments))


def say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
