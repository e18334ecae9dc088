"""A streamed call on the agents' fast path: see agent_fast_path.py."""

import time
from functools import partial
from typing import Any

from three_mode.agents.calling.streams import Stream
from three_mode.calls.call_log import ActiveCall, new_request_id
from three_mode.calls.pipeline import StreamOpener
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.channels.agents import AgentChannel
from three_mode.channels.channel import OpenReply
from three_mode.errors import NoSuchAgent
from three_mode.messages import LLMRequest
from three_mode.policies import CallContext, Gate, Target
from three_mode.policies.tallies import ZERO
from three_mode.providers.estimate import estimate_tokens


class AgentFastStream:
    """One streamed call that has entered the gate. It is sent before anything is written down of it: the agent's
    process, which may have to wake up, works meanwhile."""

    def __init__(
        self,
        request: LLMRequest,
        target: Target,
        within: float,
        label: str | None,
        channel: AgentChannel,
        gate: Gate,
        accounts: ProviderAccounts,
    ) -> None:
        self.began, self.within = time.monotonic(), within
        self._request, self._target, self._label = request, target, label
        self._channel, self._gate, self._accounts = channel, gate, accounts
        self._stream: Stream[Any] | None = None

    def send(self) -> ActiveCall:
        """Send the request; the call that it is of."""
        target, began = self._target, self.began
        try:
            self._stream = self._channel.begin(target.model, self._request, self.within)
        except NoSuchAgent:
            pass  # `open` finds out why
        except BaseException:
            self._gate.left()
            raise
        context = CallContext(deadline=began + self.within, began=began)
        context.add_step("attempt", began, target)
        return ActiveCall(self._request, new_request_id(), context, label=self._label, target=target)

    async def open(self, call: ActiveCall, opener: StreamOpener) -> OpenReply:
        """The reply, with its first content."""
        target, answered = self._target, False
        try:
            opened = await self._opened(call.context.deadline)
            answered = True
        finally:
            self._gate.left(answered=answered)  # its end is judged by the account
        call.first_content = time.monotonic() - self.began
        multiplier = self._accounts.profile(target.provider).multiplier(target.model)
        asked = partial(estimate_tokens, self._request, target.model, multiplier)
        return opener.accounted(call, target, opened, ZERO, asked)

    async def _opened(self, deadline: float) -> OpenReply:
        target = self._target
        if self._stream is not None:
            try:
                return await self._channel.opened(self._stream, target.model, None)
            except NoSuchAgent:
                pass
        return await self._channel.open(target, self._request, deadline, deadline)
