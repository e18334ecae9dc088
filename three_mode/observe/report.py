"""Report of calls: what they cost, how fast they were and how they ended, in total and by what tells them apart."""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from three_mode.messages import Usage

ZERO = Decimal(0)

#: What tells calls apart.
Dimension = Literal["provider", "model", "label", "conversation", "side"]


class Percentiles(Struct, frozen=True, kw_only=True):
    """Percentiles of durations in seconds, a twentieth too much at most; None where nothing was measured."""

    count: int = 0  #: durations that were measured
    p50: float | None = None  #: half of them are no longer
    p90: float | None = None  #: 9 of 10 are no longer
    p99: float | None = None  #: 99 of 100 are no longer


class CallSums(Struct, frozen=True, kw_only=True):
    """Sums over calls. A call is counted when it ends."""

    requests: int = 0  #: calls: those that were answered, that failed and that were cancelled
    answered: int = 0  #: calls that have their reply
    cancelled: int = 0  #: calls whose caller left
    errors: dict[str, int] = {}  #: class of an error -> calls that failed with it
    attempt_errors: dict[str, int] = {}  #: the same for attempts, also where a later attempt answered
    retries: int = 0  #: waits before another round of attempts
    switched: int = 0  #: times that an attempt failed and the next target was tried
    hedged: int = 0  #: second attempts that started because the first one was late
    cache_hits: int = 0  #: calls that got a stored reply
    coalesced: int = 0  #: calls that got the reply of another call in flight
    usage: Usage = Usage()  #: tokens that attempts used, and their cost, where that of every attempt is known
    cost: Decimal | None = ZERO  #: US dollars of attempts with a known price; None where none of them has one
    unpriced: int = 0  #: attempts whose price is not known
    latency: Percentiles = Percentiles()  #: of calls that a model answered
    first_content: Percentiles = Percentiles()  #: of streams that a model answered, to their first content

    @property
    def failed(self) -> int:
        """Calls that failed."""
        return sum(self.errors.values())

    @property
    def error_rate(self) -> float:
        """Failed calls as a share of all, from 0 to 1."""
        return self.failed / self.requests if self.requests else 0.0


class Breakdown(Struct, frozen=True, kw_only=True):
    """Sums by one of the dimensions. All of them together are the total of the report."""

    rows: dict[str, CallSums] = {}  #: sums by name, those with the most requests first
    unnamed: CallSums = CallSums()  #: calls without a name, such as those without a label
    other: CallSums = CallSums()  #: calls of names that are not kept apart any more
    merged: int = 0  #: times that a name was added up in `other`, because there are too many

    def __getitem__(self, name: str) -> CallSums:
        return self.rows[name]


class Report(Struct, frozen=True, kw_only=True):
    """Report of calls. A breakdown that was not asked for has no rows.

    By provider and by model the calls are counted at the one that answered, or was asked last; tokens, money and
    `attempt_errors` at those that used them.
    """

    total: CallSums = CallSums()  #: all calls
    by_provider: Breakdown = Breakdown()  #: by the name of the provider, `local` and `agent` included
    by_model: Breakdown = Breakdown()  #: by `PROVIDER/MODEL`
    by_label: Breakdown = Breakdown()  #: by who pays
    by_conversation: Breakdown = Breakdown()  #: by the entry `conversation` of a request's metadata
    by_side: Breakdown = Breakdown()  #: by `ROUTE: PROVIDER/MODEL`, the target that the route put first
    unreadable: int = 0  #: lines of a records file that are no records

    def sides(self, route: str) -> dict[str, CallSums]:
        """The sides of one route by their target, side by side."""
        begin = f"{route}: "
        return {name[len(begin) :]: sums for name, sums in self.by_side.rows.items() if name.startswith(begin)}
