"""A node in a process of its own, which tests kill, stop and end: `python -m ... URL CLUSTER NODE GROUP COUNT`.

It says "ready" once its agents can be called, and ends in order when its input ends.
"""

import asyncio
import sys

from tests.support.cluster.cluster_cast import Scout
from three_mode import Orchestrator
from three_mode.cluster import Cluster


async def main(url: str, cluster: str, node: str, group: str, count: int) -> None:
    async with Orchestrator(hosts=1, name=f"{cluster}-{node}", cluster=Cluster(url, name=cluster, node=node)) as orc:
        await orc.spawn(Scout, count, name=group)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])))
