"""World: a system of agents in one process and on one thread, in virtual time, where everything may fail on demand."""

from three_mode.testing.world.errors import InvariantBroken, WorldStuck
from three_mode.testing.world.faults import (
    KillProcess,
    LoseFrames,
    PartNodes,
    SlowLinks,
    StopProcess,
    WorldFault,
    WorldFaults,
)
from three_mode.testing.world.links import Delays
from three_mode.testing.world.processes import WorldProcess
from three_mode.testing.world.shrink import Explored
from three_mode.testing.world.trace import TraceEvent
from three_mode.testing.world.world import World, WorldOptions

__all__ = [
    "Delays",
    "Explored",
    "InvariantBroken",
    "KillProcess",
    "LoseFrames",
    "PartNodes",
    "SlowLinks",
    "StopProcess",
    "TraceEvent",
    "World",
    "WorldFault",
    "WorldFaults",
    "WorldOptions",
    "WorldProcess",
    "WorldStuck",
]
