"""The short way of a call to an agent, where no policy has anything to do before it.

On this machine an answer takes a few dozen microseconds, and asking each policy whether it has something to say took three
times as long. What a policy could say is known beforehand: a plan is made once for each address, and a call goes this way as long as
its breaker is closed and its limiter has learnt nothing. It keeps the same books. A call that fails goes the long way from there, with
this as its first attempt: retries, the breaker and the error are theirs.
"""

import asyncio
import logging
import time
from typing import Any

from msgspec.structs import force_setattr

from three_mode.agents.asking import begin
from three_mode.agents.declare import spec_of
from three_mode.agents.model import Model
from three_mode.agents.verbs import read
from three_mode.calls.accounts import Accounts
from three_mode.calls.book import Book, new_request_id
from three_mode.calls.guards import Guarding
from three_mode.channels.ai_ai import AgentChannel
from three_mode.errors import NoSuchAgent, ThreeModeError
from three_mode.handling import NOBODY, current
from three_mode.messages import LLMRequest, LLMResponse, Step
from three_mode.modes import CommunicationMode
from three_mode.observe.logs import logger
from three_mode.policies import Target
from three_mode.providers.capabilities import capabilities
from transports.bus import BusError

AI_AI = CommunicationMode.AI_AI
_NOT_NAMED: dict[str, Any] = {}


class ToAgent:
    """One agent or role, and whatever of a call to it is always the same."""

    __slots__ = (
        "_book",
        "_breaker",
        "_bus",
        "_channel",
        "_encode",
        "_hosts",
        "_key",
        "_limiter",
        "_link",
        "_profile",
        "_read",
        "_record",
        "_roles",
        "_steps",
        "_topic",
        "_voice",
        "target",
    )  # fmt: skip

    def __init__(
        self, target: Target, channel: AgentChannel, guards: Guarding, accounts: Accounts, book: Book
    ) -> None:
        self.target = target
        self._channel, self._voice = channel, channel.voice
        self._link = link = channel.voice.link
        self._bus, self._roles = link.bus, link.roles
        spec = spec_of(Model.chat_completion)
        self._topic, self._encode, self._read = spec.name, spec.schema.encode_call, spec.schema.result
        self._hosts = None if "/" in target.model else self._roles.hosts(target.model)
        self._record = book.metrics.recorder(target.provider, target.model)
        self._key = (target.provider, target.model, None)
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
        limiter, hosts = self._limiter, self._hosts
        address, well = self.target.model, False
        counted = hosts is not None and len(hosts) != 1
        try:
            if counted:
                address = self._roles.take(address)
            elif hosts is not None:
                (address,) = hosts  # there is nothing to choose, and nothing to count for it
            try:
                call, topic = current.get(), self._topic
                trace = (
                    ""
                    if call is NOBODY and self._link.tracer is None
                    else self._voice.outgoing(call, address, topic)
                )
                payload = self._encode(address, topic, (request.addressed(None, within),), _NOT_NAMED)
                arriving, asked = begin(self._bus, address, payload, topic, within, trace, "")
                try:
                    answer = await arriving
                except asyncio.CancelledError:
                    asked.cancel()
                    raise
                if isinstance(answer, BusError):
                    raise answer
                reply: LLMResponse = read(self._read, answer.raw, address, topic)
                well = True
            finally:
                if counted:
                    self._roles.give_back(address)
        except BusError as error:
            failure = self._link.error(error, address, self._topic)
            raise self._explained(failure) from None
        except NoSuchAgent as failure:
            raise self._explained(failure) from None
        finally:
            if limiter is not None:
                limiter.left(well)
        if self._breaker is not None and self._breaker.failures:
            self._breaker.success()
        return self._finished(reply, began, label)

    def _explained(self, failure: ThreeModeError) -> ThreeModeError:
        return self._channel.explained(self.target.model) if isinstance(failure, NoSuchAgent) else failure

    def _finished(self, reply: LLMResponse, began: float, label: str | None) -> LLMResponse:
        """The reply was just decoded and nobody else has it: what a caller is to see of the call is put into it."""
        target, book = self.target, self._book
        usage = reply.usage
        if usage.cost is None:
            usage = book.priced(target, usage, self._profile)
        book.ledger.add(self._key if label is None else (target.provider, target.model, label), usage)
        latency = time.monotonic() - began
        if reply.request_id:
            force_setattr(reply, "extra", {**reply.extra, "provider_request_id": reply.request_id})
        if not reply.model:
            force_setattr(reply, "model", target.model)
        force_setattr(reply, "provider", target.provider)
        force_setattr(reply, "mode", AI_AI)
        if usage is not reply.usage:
            force_setattr(reply, "usage", usage)
        force_setattr(reply, "latency", latency)
        force_setattr(reply, "request_id", new_request_id())
        force_setattr(reply, "steps", self._steps)
        self._record(latency)
        return reply
