"""The short way of a streamed call to an agent, beside that of a whole one (to_agent.py): nothing stands before the channel.

A call that fails before its first content goes the long way from there, with this as its first attempt.
"""

import time
from functools import partial

from three_mode.calls.accounts import Accounts
from three_mode.calls.book import OneCall, new_request_id
from three_mode.calls.engine import Engine
from three_mode.calls.guards import Guarding
from three_mode.channels.channel import Channel, OpenReply
from three_mode.messages import LLMRequest
from three_mode.policies import Call, Target
from three_mode.policies.budget import ZERO
from three_mode.providers.estimate import estimate_tokens


class StreamToAgent:
    """One call, behind the `enter` of its way. `one` is what is told of it."""

    def __init__(
        self, request: LLMRequest, target: Target, within: float, label: str | None, channel: Channel,
        guards: Guarding,
    ) -> None:  # fmt: skip
        began = time.monotonic()
        self.one = OneCall(
            request, new_request_id(), Call(deadline=began + within, began=began), label=label, target=target
        )
        self._target, self._channel, self._guards = target, channel, guards

    async def open(self, engine: Engine, accounts: Accounts) -> OpenReply:
        """With its first content."""
        one, target = self.one, self._target
        one.policy.step("attempt", one.policy.began, target)
        breaker, limiter, well = self._guards.breaker(target), self._guards.limiter(target), False
        try:
            deadline = one.policy.deadline
            opened = await self._channel.open(target, one.request, deadline, deadline)
            well = True
        finally:
            if limiter is not None:
                limiter.left(well)
        if breaker is not None and breaker.failures:
            breaker.success()
        one.first_content = time.monotonic() - one.policy.began
        multiplier = accounts.profile(target.provider).multiplier(target.model)
        asked = partial(estimate_tokens, one.request, target.model, multiplier)
        return engine.accounted(one, target, opened, ZERO, asked)
