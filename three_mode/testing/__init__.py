"""What tests of programs use: worlds, in which agents run in virtual time under faults that a seed draws; a scripted
provider, on a real socket of this machine and without keys; and machines of a network on one computer."""

from three_mode.testing.batch_state import ScriptedBatch, ScriptedRequest
from three_mode.testing.batches import ScriptedBatches
from three_mode.testing.certificates import Certificates
from three_mode.testing.machines import Machines
from three_mode.testing.provider import ScriptedProvider
from three_mode.testing.script import FOREVER, NO_FAULT, Answer, Behaviour, Fault, Seen, ToolCall, Turn
from three_mode.testing.wire import ResetFormat, overloaded, quota_exhausted, rate_limited
from three_mode.testing.world import (
    Delays,
    Explored,
    InvariantBroken,
    KillProcess,
    LoseFrames,
    PartNodes,
    SlowLinks,
    StopProcess,
    TraceEvent,
    World,
    WorldFault,
    WorldFaults,
    WorldOptions,
    WorldProcess,
    WorldStuck,
)

__all__ = [
    "FOREVER",
    "NO_FAULT",
    "Answer",
    "Behaviour",
    "Certificates",
    "Delays",
    "Explored",
    "Fault",
    "InvariantBroken",
    "KillProcess",
    "LoseFrames",
    "Machines",
    "PartNodes",
    "ResetFormat",
    "ScriptedBatch",
    "ScriptedBatches",
    "ScriptedProvider",
    "ScriptedRequest",
    "Seen",
    "SlowLinks",
    "StopProcess",
    "ToolCall",
    "TraceEvent",
    "Turn",
    "World",
    "WorldFault",
    "WorldFaults",
    "WorldOptions",
    "WorldProcess",
    "WorldStuck",
    "overloaded",
    "quota_exhausted",
    "rate_limited",
]
