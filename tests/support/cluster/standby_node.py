"""A node on a machine of its own that leads, stands by, or takes orders: `python -m ... SETTINGS`, in JSON.

Each line of input is an order, and each line of output the answer to one; it ends in order when its input ends.
"""

import asyncio
import json
import sys
from typing import Any

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import worker
from tests.support.cluster.witness_node import say
from three_mode import Orchestrator


class StandbyNode:
    """What a node can be told."""

    def __init__(self, orc: Orchestrator) -> None:
        self._orc = orc

    async def spawn(self, group: str, on: list[str]) -> list[str]:
        """Spawn an agent on each of these nodes; return their names."""
        return (await self._orc.spawn(Scout, len(on), name=group, on=tuple(on), within=30)).names

    async def tell(self, name: str, number: int) -> None:
        """Tell an agent a number."""
        await self._orc.ref(name).tell(Scout.take, number)

    async def told(self, name: str) -> list[int]:
        """Return what an agent was told in its life."""
        return list(await self._orc.ref(name).ask(Scout.told_numbers, within=20))

    async def wait_for(self, names: list[str]) -> None:
        """Wait until these agents can be called."""
        await self._orc.bus.wait_for(names, within=60)

    async def state(self) -> dict[str, Any]:
        """Return what the node is, and sees."""
        core = self._orc._gateway.core
        return {
            "term": core.leads.own.term,
            "follows": len(core.leads.own.follows),
            "parts": {one.name: one.part for one in self._orc.nodes() if one.state == "here" or one.id == core.id},
            "here": sorted(self._orc._roster.agents),
            "events": [type(event).__name__ for event in self._orc.events],
        }


async def main(settings: dict[str, Any]) -> None:
    loop, orders = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with worker(**settings) as orc:
        node = StandbyNode(orc)
        say(None)
        while line := await orders.readline():
            order, arguments = json.loads(line)
            say(await getattr(node, order)(**arguments))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
