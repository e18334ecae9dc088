"""A home in a process of its own, which tests stop and kill: `python -m ... URL CLUSTER NODE...`.

It places one agent on each of the nodes, in a group of the node's name, says "ready", and ends in order when its input
ends.
"""

import asyncio
import sys

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import FAST, node


async def main(url: str, cluster: str, nodes: list[str]) -> None:
    async with node(url, cluster, "home", timing=FAST) as orc:
        for name in nodes:
            await orc.spawn(Scout, name=name, on=name)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
