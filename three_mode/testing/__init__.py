"""Scripted provider for tests of programs that call models: a real socket on this machine, without network or keys."""

from three_mode.testing.batch_state import ScriptedBatch, ScriptedRequest
from three_mode.testing.batches import ScriptedBatches
from three_mode.testing.certificates import Certificates
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
