"""Which connections have a short way to agents (see to_agent.py), and what becomes of a call that fails on it."""

from typing import TYPE_CHECKING, NamedTuple

from three_mode.calls.accounts import Accounts
from three_mode.calls.book import Book
from three_mode.dispatcher import AGENT
from three_mode.errors import ThreeModeError
from three_mode.policies import Policies

if TYPE_CHECKING:
    from transports.bus import Asked


def short_ways(policies: Policies, accounts: Accounts, book: Book) -> bool:
    """Whether a connection has any: what it asks of every call leaves nothing to do for one to an agent."""
    return not (
        policies.cache is not None
        or policies.coalesce
        or policies.hedge is not None
        or policies.fallback.targets
        or policies.budgets
        or book.recorder is not None
        or book.traces
        or accounts.max_tokens(AGENT) is not None
        or accounts.profile(AGENT).safety
    )


# A call on a short way: the question, its address and whether it counts there as one in flight, when it began, its time, and
# its id. A plain tuple, because one is made for each call.
Underway = tuple["Asked", str, bool, float, float, str]


class FirstTry(NamedTuple):
    """An attempt that failed on the short way: what the long way needs to know of it."""

    began: float
    deadline: float
    error: ThreeModeError
