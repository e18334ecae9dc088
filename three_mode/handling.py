"""Call being handled: the deadline, trace and chain of callers that every call made from a handler inherits.

A chain lists turns that wait for one another: in `scout/1:7>judge/0:2`, turn 7 of scout/1 waits for turn 2 of judge/0.
The chain travels behind the trace id in the bus's `trace` field: `TRACE|CHAIN`. A `tell` starts a new chain, because
its sender does not wait.
"""

import math
import time
from contextvars import ContextVar
from typing import Any, SupportsFloat

from msgspec import Struct

from three_mode.errors import BadCall, DeadlineExceeded

DEFAULT_WITHIN = 30.0  # seconds: deadline of an ask, stream or gather that names none
NEVER = math.inf
LONGEST = 1e9  # seconds: a deadline is below


class HandledCall(Struct, eq=False):
    """One message that one agent is handling."""

    agent: str = ""  #: name of the agent; "" where no agent handles anything
    turn: int = 0  #: number of the message at that agent
    deadline: float = NEVER  #: on the monotonic clock, in seconds
    trace: str = ""  #: trace id
    chain: str = ""  #: turns that wait for this one

    @property
    def link(self) -> str:
        """This turn as one element of a chain."""
        return f"{self.agent}:{self.turn}"

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def outgoing(self) -> str:
        """`trace` field of a call made from here, for whose answer this call waits."""
        if not self.agent:
            return self.trace
        return f"{self.trace}|{self.chain}>{self.link}" if self.chain else f"{self.trace}|{self.link}"


NOBODY = HandledCall()
current: ContextVar[HandledCall] = ContextVar("three_mode_call", default=NOBODY)


def split(field: str) -> tuple[str, str]:
    """Splits the bus's `trace` field into trace id and chain."""
    trace, _, chain = field.partition("|")
    return trace, chain


def in_chain(chain: str, agent: str, turn: int) -> bool:
    """Whether a turn of an agent waits for the sender of the chain."""
    return f">{agent}:{turn}>" in f">{chain}>"


def time_for(within: float | None, call: HandledCall, default: float = DEFAULT_WITHIN) -> float:
    """Seconds that a call made while handling `call` may take: `within`, but never more than `call` has left."""
    wanted = default if within is None else within
    try:
        fits = 0 < wanted < LONGEST
    except TypeError:
        fits = False
    if not fits:
        raise _unfit(wanted)
    if call is NOBODY or call.deadline == NEVER:
        return wanted
    left = call.remaining()
    if left <= 0:
        raise DeadlineExceeded(
            f"no time is left of the call that {call.agent or 'this'} is handling", stage="inherited"
        )
    return min(wanted, left)


def check_time(within: float) -> None:
    """Raises BadCall where `within` is no number of seconds, or is endless."""
    if not _is_time(within):
        raise _unfit(within)


def check_deadline(within: float) -> None:
    """Raises as `check_time`, and DeadlineExceeded where no time is left from the beginning."""
    if not _is_time(within) or not within > 0:
        raise _unfit(within)


def _is_time(within: Any) -> bool:
    return isinstance(within, SupportsFloat) and -LONGEST < float(within) < LONGEST


def _unfit(within: Any) -> BadCall | DeadlineExceeded:
    """Error of a time that no call can have."""
    if _is_time(within) or within == -math.inf:
        return DeadlineExceeded(f"within is above 0, not {within!r}", stage="total")
    return BadCall(
        f"within is a number of seconds, not {within!r}",
        hint="every call has a deadline: within=5.0 is five seconds",
        argument="within",
    )
