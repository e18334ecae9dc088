"""The short way of a streamed call to an agent, beside that of a whole one (to_agent.py): nothing stands before the channel.

A call that fails before its first content goes the long way from there, with this as its first attempt.
"""

import time
from functools import partial
from typing import Any

from three_mode.agents.calling.streams import Stream
from three_mode.calls.accounts import Accounts
from three_mode.calls.book import OneCall, new_request_id
from three_mode.calls.guards import Guarding
from three_mode.calls.opening import Opening
from three_mode.channels.ai_ai import AgentChannel
from three_mode.channels.channel import OpenReply
from three_mode.errors import NoSuchAgent
from three_mode.messages import LLMRequest
from three_mode.policies import Call, Target
from three_mode.policies.tallies import ZERO
from three_mode.providers.estimate import estimate_tokens


class StreamToAgent:
    """One call, behind the `enter` of its way. It is sent before anything is written down of it: the agent's process, which may
    have to wake up, works meanwhile."""

    def __init__(
        self,
        request: LLMRequest,
        target: Target,
        within: float,
        label: str | None,
        channel: AgentChannel,
        guards: Guarding,
    ) -> None:
        self.began, self.within = time.monotonic(), within
        self._request, self._target, self._label = request, target, label
        self._channel, self._guards = channel, guards
        self._stream: Stream[Any] | None = None

    def send(self) -> OneCall:
        """What is told of the call, which is on its way now."""
        target, began = self._target, self.began
        try:
            self._stream = self._channel.begin(target.model, self._request, self.within)
        except NoSuchAgent:
            pass  # `open` finds out why
        except BaseException:
            self._leave(False)
            raise
        policy = Call(deadline=began + self.within, began=began)
        policy.step("attempt", began, target)
        return OneCall(self._request, new_request_id(), policy, label=self._label, target=target)

    async def open(self, one: OneCall, opening: Opening, accounts: Accounts) -> OpenReply:
        """With its first content."""
        target, well = self._target, False
        try:
            opened = await self._opened(one.policy.deadline)
            well = True
        finally:
            self._leave(well)
        one.first_content = time.monotonic() - self.began
        multiplier = accounts.profile(target.provider).multiplier(target.model)
        asked = partial(estimate_tokens, self._request, target.model, multiplier)
        return opening.accounted(one, target, opened, ZERO, asked)

    async def _opened(self, deadline: float) -> OpenReply:
        target = self._target
        if self._stream is not None:
            try:
                return await self._channel.opened(self._stream, target.model, None)
            except NoSuchAgent:
                pass
        return await self._channel.open(target, self._request, deadline, deadline)

    def _leave(self, well: bool) -> None:
        limiter = self._guards.limiter(self._target)
        if limiter is not None:
            limiter.left(well)
