"""A home in a process of its own, which tests stop and kill: `python -m ... URL CLUSTER GROUP=NODES...`.

It places agents: of each group one on each of the nodes, with commas between them; says "ready", then for each line of
its input spawns another agent of that group, and says its name or the error; and ends in order when its input ends.
"""

import asyncio
import sys

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import FAST, node
from three_mode import Orchestrator
from three_mode.errors import ThreeModeError


def say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def spawn_more(orc: Orchestrator, group: str) -> None:
    try:
        say((await orc.spawn(Scout, name=group, within=20)).name)
    except ThreeModeError as error:
        say(f"{type(error).__name__}: {error.message}")


async def main(url: str, cluster: str, groups: list[str]) -> None:
    async with node(url, cluster, "home", timing=FAST) as orc:
        for group, _, nodes in (one.partition("=") for one in groups):
            on = tuple((nodes or group).split(","))
            await orc.spawn(Scout, len(on), name=group, on=on)
        say("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            await spawn_more(orc, line.strip())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
