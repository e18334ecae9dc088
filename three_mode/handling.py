"""The call that is being handled: its deadline, its trace and the chain of callers, inherited by every call made from it.

A chain is the turns that wait for one another: `scout/1:7>judge/0:2` says that turn 7 of scout/1 waits for turn 2 of judge/0.
It travels behind the trace id in the bus's `trace` field: `TRACE|CHAIN`. A `tell` starts a new chain: nobody waits for it.
"""

import math
import time
from contextvars import ContextVar

from msgspec import Struct

from three_mode.errors import DeadlineExceeded

DEFAULT_WITHIN = 30.0  # seconds; of every ask, stream and gather for which nobody said one
NEVER = math.inf


class Call(Struct, eq=False):
    """One message being handled by one agent. `turn` is its number at that agent."""

    agent: str = ""
    turn: int = 0
    deadline: float = NEVER
    trace: str = ""
    chain: str = ""

    @property
    def link(self) -> str:
        return f"{self.agent}:{self.turn}"

    def remaining(self) -> float:
        return self.deadline - time.monotonic()

    def outgoing(self) -> str:
        """The `trace` field of a call made from here, whose answer this call waits for."""
        if not self.agent:
            return self.trace
        return f"{self.trace}|{self.chain}>{self.link}" if self.chain else f"{self.trace}|{self.link}"


NOBODY = Call()
current: ContextVar[Call] = ContextVar("three_mode_call", default=NOBODY)


def split(field: str) -> tuple[str, str]:
    """Trace id and chain out of the bus's `trace` field."""
    trace, _, chain = field.partition("|")
    return trace, chain


def in_chain(chain: str, agent: str, turn: int) -> bool:
    """Whether that turn of that agent waits for whoever sent this chain."""
    return f">{agent}:{turn}>" in f">{chain}>"


def time_for(within: float | None, call: Call, default: float = DEFAULT_WITHIN) -> float:
    """Seconds that a call made while handling `call` may take: what was asked for, but never more than what remains."""
    wanted = default if within is None else within
    if not wanted > 0:
        raise DeadlineExceeded(f"within is above 0, not {wanted!r}", stage="total")
    if call is NOBODY or call.deadline == NEVER:
        return wanted
    left = call.remaining()
    if left <= 0:
        raise DeadlineExceeded(
            f"no time is left of the call that {call.agent or 'this'} is handling", stage="inherited"
        )
    return min(wanted, left)
