"""What tests of programs use: a scripted provider, on a real socket of this machine and without keys; and machines of
a network on one computer."""

from three_mode.testing.batch_state import ScriptedBatch, ScriptedRequest
from three_mode.testing.batches import ScriptedBatches
from three_mode.testing.certificates import Certificates
from three_mode.testing.machines import Machines
from three_mode.testing.provider import ScriptedProvider
from three_mode.testing.script import FOREVER, NO_FAULT, Answer, Behaviour, Fault, Seen, ToolCall, Turn
from three_mode.testing.wire import ResetFormat, overloaded, quota_exhausted, rate_limited

__all__ = [
    "FOREVER",
    "NO_FAULT",
    "Answer",
    "Behaviour",
    "Certificates",
    "Fault",
    "Machines",
    "ResetFormat",
    "ScriptedBatch",
    "ScriptedBatches",
    "ScriptedProvider",
    "ScriptedRequest",
    "Seen",
    "ToolCall",
    "Turn",
    "overloaded",
    "quota_exhausted",
    "rate_limited",
]
