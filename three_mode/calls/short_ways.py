"""The short ways of a connection to agents: which connections have any, and which are known.

Where no policy has anything to do before a call to an agent, the call goes there at once: see to_agent.py and stream_to_agent.py.
The first one to an agent goes at length, and from then on its way is known.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from three_mode.calls.accounts import Accounts
from three_mode.calls.book import Book
from three_mode.calls.guards import Guarding
from three_mode.calls.hooks import Hook
from three_mode.calls.terms import Terms
from three_mode.dispatcher import AGENT, Dispatcher
from three_mode.errors import ThreeModeError
from three_mode.messages import LLMRequest
from three_mode.modes import CommunicationMode
from three_mode.policies import Policies, Target

if TYPE_CHECKING:
    from three_mode.calls.stream_to_agent import StreamToAgent
    from three_mode.calls.to_agent import ToAgent
    from transports.bus import Asked

MOST = 1000  # ways that are known at a time

# A call on a short way: the question, its address and whether it counts there as one in flight, when it began, its time, and
# its id. A plain tuple, because one is made for each call.
Underway = tuple["Asked", str, bool, float, float, str]


class FirstTry(NamedTuple):
    """An attempt that failed on the short way: what the long way needs to know of it."""

    began: float
    deadline: float
    error: ThreeModeError


class ShortWays:
    """Those of one connection. They are `known` by what requests say: a model's name (or the connection's) and a mode."""

    def __init__(
        self,
        model: str | None,
        dispatcher: Dispatcher,
        accounts: Accounts,
        guards: Guarding,
        book: Book,
        terms: Terms,
        policies: Policies,
        after: Hook | None,
    ) -> None:
        self._model, self._dispatcher, self._terms = model, dispatcher, terms
        self._accounts, self._guards, self._book = accounts, guards, book
        self.known: dict[tuple[str | None, CommunicationMode | None], ToAgent] = {}
        guards.held_by(self.known.clear)
        book.metrics.held_by(self.known.clear)
        # What the connection asks of every call must leave nothing to do for one to an agent.
        self._open = not (
            policies.cache is not None
            or policies.coalesce
            or policies.hedge is not None
            or policies.fallback.targets
            or policies.budgets
            or book.recorder is not None
            or book.traces
            or accounts.max_tokens(AGENT) is not None
            or accounts.profile(AGENT).safety
            or after is not None
        )

    def learn(self, request: LLMRequest, target: Target) -> None:
        """Where such a request goes: the next one may go there at once."""
        known, key = self.known, (request.model or self._model, request.mode)
        if not self._open or key in known:
            return
        if len(known) > MOST:
            known.clear()
        from three_mode.calls.to_agent import ToAgent

        channel: Any = self._dispatcher.channel(CommunicationMode.AI_AI)
        known[key] = ToAgent(
            target,
            channel,
            self._guards,
            self._accounts,
            self._book,
            self._terms.label,
            self._terms.usual(AGENT),
        )

    def stream(self, request: LLMRequest) -> "StreamToAgent | None":
        """The short way of a stream, if it has one just now."""
        to_agent = self.known.get((request.model or self._model, request.mode))
        if to_agent is None:
            return None
        within = self._terms.within(request.within, AGENT)
        if not to_agent.enter():
            return None
        from three_mode.calls.stream_to_agent import StreamToAgent

        channel: Any = self._dispatcher.channel(CommunicationMode.AI_AI)
        label = self._terms.label_of(request)
        return StreamToAgent(request, to_agent.target, within, label, channel, self._guards)

    def close(self) -> None:
        """From now on there are none."""
        self._open = False
        self.known.clear()
