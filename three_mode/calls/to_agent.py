"""The short way of a call to an agent, where no policy has anything to do before it.

On this machine an answer takes a few dozen microseconds, and asking each policy whether it has something to say took three
times as long. What a policy could say is known beforehand: a plan is made once for each address, and a call goes this way as long as
its breaker is closed and its limiter has learnt nothing. It keeps the same books. A call that fails goes the long way from there, with
this as its first attempt: retries, the breaker and the error are theirs.
"""

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import force_setattr

from three_mode.calls.accounts import Accounts
from three_mode.calls.book import Book, new_request_id
from three_mode.calls.guards import Guarding
from three_mode.dispatcher import AGENT
from three_mode.errors import ThreeModeError
from three_mode.messages import LLMRequest, LLMResponse, Step
from three_mode.modes import CommunicationMode
from three_mode.observe.logs import logger
from three_mode.policies import Policies, Target
from three_mode.policies.budget import ZERO
from three_mode.providers.capabilities import capabilities

if TYPE_CHECKING:
    from three_mode.channels.ai_ai import AgentChannel

AI_AI = CommunicationMode.AI_AI


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


class FirstTry(NamedTuple):
    """An attempt that failed on the short way: what the long way needs to know of it."""

    began: float
    deadline: float
    error: ThreeModeError


class ToAgent:
    """One agent or role, and whatever of a call to it is always the same."""

    __slots__ = ("_book", "_breaker", "_channel", "_limiter", "_profile", "_steps", "target")

    def __init__(
        self, target: Target, channel: "AgentChannel", guards: Guarding, accounts: Accounts, book: Book
    ) -> None:
        self.target = target
        self._channel = channel
        self._breaker, self._limiter = guards.breaker(target), guards.limiter(target)
        self._profile = accounts.profile(target.provider)
        self._book = book
        self._steps = (Step("attempt", 0.0, target.provider, target.model),)

    def enter(self) -> bool:
        """Whether the next call goes this way, which it then does. A name that the table of models knows has more to be checked."""
        breaker, limiter = self._breaker, self._limiter
        if (
            (breaker is not None and not breaker.closed)
            or (limiter is not None and limiter.told)
            or capabilities(self.target.model).known
            or logger.isEnabledFor(logging.INFO)
        ):
            return False
        return limiter is None or limiter.try_acquire()

    async def complete(
        self, request: LLMRequest, began: float, within: float, label: str | None
    ) -> LLMResponse:
        """Behind an `enter`."""
        limiter = self._limiter
        try:
            reply = await self._channel.ask(self.target.model, request, within)
        finally:
            if limiter is not None:
                limiter.release()
        if self._breaker is not None:
            self._breaker.success()
        if limiter is not None:
            limiter.succeeded()
        return self._finished(reply, began, label)

    def _finished(self, reply: LLMResponse, began: float, label: str | None) -> LLMResponse:
        """The reply was just decoded and nobody else has it: what a caller is to see of the call is put into it."""
        target, book = self.target, self._book
        usage = book.priced(target, reply.usage, self._profile)
        book.ledger.settle(target.provider, target.model, label, ZERO, usage)
        latency = time.monotonic() - began
        if reply.request_id:
            force_setattr(reply, "extra", {**reply.extra, "provider_request_id": reply.request_id})
        if not reply.model:
            force_setattr(reply, "model", target.model)
        force_setattr(reply, "provider", target.provider)
        force_setattr(reply, "mode", AI_AI)
        force_setattr(reply, "usage", usage)
        force_setattr(reply, "latency", latency)
        force_setattr(reply, "request_id", new_request_id())
        force_setattr(reply, "steps", self._steps)
        book.metrics.record(target.provider, target.model, latency)
        return reply
