"""The system of agents on two nodes, which part for a moment; one may die, and its agents go on at the other."""

from typing import Any

from tests.support.world import agents_system
from three_mode.cluster import NodeTiming
from three_mode.testing.world import World, WorldFaults, WorldOptions

FAULTS = WorldFaults(also=("node-2",), kills=1, stops=1, slow=1, lossy=1, parts=1, within=1.0, longest=0.5)
OPTIONS = WorldOptions(allow=("tests",), timing=NodeTiming(heartbeat=0.2, suspected_after=0.8, lost_after=1.6))
WORLD: dict[str, Any] = {"hosts": 1, "nodes": 2}


async def play(world: World) -> None:
    """Program of a world."""
    run = agents_system.Run(world)
    run.ledger.keeps = False  # each orchestrator keeps in its own memory
    run.ledger.most_ahead *= 2  # the gateway of a node reads ahead, too
    await run.play()
