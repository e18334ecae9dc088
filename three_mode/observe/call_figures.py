"""Figures of one call: what it used, how long it took, how it ended. A record begins with them, a report adds them up.

Whoever sums up what calls used adds up `used`, never the usage of replies: a reply that several calls share was paid
for once, and an attempt that broke off, or came second in a race, has no reply.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from three_mode.messages import Step, Usage
from three_mode.observe.report import ZERO

#: How a call ended. "late" is no call: it is what an attempt of one used, or failed with, after the call had ended.
Outcome = Literal["answered", "failed", "cancelled", "late"]


class AttemptUse(Struct, frozen=True):
    """Tokens and money that one attempt used."""

    provider: str  #: provider that was asked
    model: str  #: model that was asked
    usage: Usage  #: what it used; its cost is None where the price is not known


class AttemptFailure(Struct, frozen=True):
    """Failure of one attempt, which another attempt may have made up for."""

    provider: str  #: provider that was asked
    model: str  #: model that was asked
    kind: str  #: class of the error


class CallFigures(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Figures of one call."""

    request_id: str  #: id of the call
    provider: str  #: provider that answered, or was asked last
    model: str  #: model of it that was asked
    latency: float  #: seconds from the beginning of the call to its end
    first_content: float | None  #: seconds to the first content; None where it was not seen
    label: str | None = None  #: who pays
    conversation: str | None = None  #: entry `conversation` of the request's metadata
    route: str | None = None  #: route that the request named
    side: str | None = None  #: target that the route put first: the side of a split
    outcome: Outcome = "answered"  #: how it ended
    error_kind: str | None = None  #: class of the error that it failed with
    reused: Literal["cache_hit", "coalesced"] | None = None  #: the reply is not of an attempt of this call
    retries: int = 0  #: waits before another round of attempts
    switched: int = 0  #: times that an attempt failed and the next target was tried
    hedged: int = 0  #: second attempts that started because the first one was late
    batched: bool = False  #: it was answered in a batch, within a day: its latency says nothing of the model
    used: tuple[AttemptUse, ...] = ()  #: what its attempts used
    failures: tuple[AttemptFailure, ...] = ()  #: attempts that failed

    @property
    def paid(self) -> Decimal | None:
        """US dollars of `used`; None where the price of an attempt is not known."""
        costs = [use.usage.cost for use in self.used]
        return None if None in costs else sum(filter(None, costs), ZERO)


class CallRecord(CallFigures, frozen=True, omit_defaults=True, kw_only=True):
    """One line of a records file."""

    at: datetime  #: when the record was made, in UTC
    cost: Decimal | None  #: US dollars of `used`; None where the price of an attempt is not known
    request: Any = None  #: the request
    reply: Any = None  #: the reply, or what of it came before an error
    error: Any = None  #: the error, as `encode_error` encodes it


def count_steps(steps: Iterable[Step]) -> tuple[int, int, int]:
    """How many retries, switches and hedges there were."""
    kinds = [step.kind for step in steps]
    return kinds.count("retry"), kinds.count("switched"), kinds.count("hedged")
