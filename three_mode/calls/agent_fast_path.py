"""Fast path of a call to an agent, where no policy has anything to do before it. The pipeline is the normal way: see connection.py.

On this machine an answer takes a few dozen microseconds, and asking each policy whether it has something to say took three
times as long. What a policy could say is known beforehand: a path is made once for each address, and a call goes this way as long as
nothing has failed there and its limiter has learnt nothing. It keeps the same books. A call that fails goes through the pipeline from
there, with this as its first attempt: retries, the breaker and the error are decided there. A streamed call does the same up to its
first content.

Which connections have fast paths: those without a cache, coalescing, hedge, fallback, budget, record, span or hook. The first call to
an agent goes through the pipeline, and from then on its path is known.
"""

import logging
import time
from functools import partial
from typing import Any

from msgspec import MsgspecError
from msgspec.structs import force_setattr

from three_mode.agents.codec import UNENCODABLE, encode
from three_mode.agents.declare import spec_of
from three_mode.agents.model import Model
from three_mode.agents.streams import Stream
from three_mode.agents.verbs import unreadable
from three_mode.calls.call_log import ActiveCall, CallLog, FailedFirstAttempt, new_request_id
from three_mode.calls.gates import Gates
from three_mode.calls.options import Hook
from three_mode.calls.pipeline import StreamOpener
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.calls.request_prep import CallDefaults
from three_mode.channels.agents import AgentChannel
from three_mode.channels.channel import OpenReply
from three_mode.dispatcher import AGENT
from three_mode.errors import NoSuchAgent, ThreeModeError
from three_mode.handling import NOBODY, current, time_for
from three_mode.messages import LLMRequest, LLMResponse, Step
from three_mode.modes import CommunicationMode
from three_mode.observe.logs import logger
from three_mode.policies import CallContext, Policies, Target
from three_mode.policies.tallies import ZERO
from three_mode.providers.capabilities import capabilities
from three_mode.providers.estimate import estimate_tokens
from transports.bus import Asked, BusError, Encoded, Message

MOST = 1000  # ways that are known at a time

# A call on a short way: the question, its address and whether it counts there as one in flight, when it began, its time, and
# its id. A plain tuple, because one is made for each call.
Underway = tuple[Asked, str, bool, float, float, str]


class AgentFastPaths:
    """Those of one connection. They are `known` by what requests say: a model's name (or the connection's) and a mode."""

    def __init__(
        self,
        known: dict[tuple[str | None, CommunicationMode | None], "AgentFastPath"],
        model: str | None,
        channel: AgentChannel,
        accounts: ProviderAccounts,
        guards: Gates,
        book: CallLog,
        terms: CallDefaults,
        policies: Policies,
        after: Hook | None,
    ) -> None:
        self.known, self._model, self._channel, self._terms = known, model, channel, terms
        self._accounts, self._guards, self._book = accounts, guards, book
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
        known[key] = AgentFastPath(
            target,
            self._channel,
            self._guards,
            self._accounts,
            self._book,
            self._terms,
        )


AI_AI = CommunicationMode.AI_AI
_NOT_NAMED: dict[str, Any] = {}


class AgentFastPath:
    """One agent or role, and whatever of a call to it is always the same."""

    __slots__ = (
        "_book",
        "_breaker",
        "_bus",
        "_channel",
        "_encode",
        "_guards",
        "_hosts",
        "_key",
        "_limiter",
        "_link",
        "_model",
        "_priced",
        "_profile",
        "_read",
        "_record",
        "_roles",
        "_steps",
        "_terms",
        "_topic",
        "_voice",
        "_within",
        "target",
    )

    def __init__(
        self,
        target: Target,
        channel: AgentChannel,
        guards: Gates,
        accounts: ProviderAccounts,
        book: CallLog,
        terms: CallDefaults,
    ) -> None:
        self.target, self._model = target, target.model
        self._channel, self._voice = channel, channel.voice
        self._link = link = channel.voice.link
        self._bus, self._roles = link.bus, link.roles
        self._guards, self._terms = guards, terms
        spec = spec_of(Model.chat_completion)
        self._topic, self._encode, self._read = spec.name, spec.schema.encode_call, spec.schema.result
        self._hosts = None if "/" in target.model else self._roles.hosts(target.model)
        self._record = book.metrics.recorder(target.provider, target.model)
        self._key = (target.provider, target.model, terms.label)
        self._priced = book.has_price(target)
        self._breaker, self._limiter = guards.breaker(target), guards.limiter(target)
        self._profile = accounts.profile(target.provider)
        self._book, self._within = book, terms.usual(AGENT)
        self._steps = (Step("attempt", 0.0, target.provider, target.model),)

    def enter(self) -> bool:
        """Whether the next call goes this way, which it then does. A name that the table of models knows has more to be checked."""
        breaker, limiter = self._breaker, self._limiter
        return not (
            (breaker is not None and breaker.failures)
            or capabilities(self._model).known
            or logger.isEnabledFor(logging.INFO)
            or (limiter is not None and (limiter.told or not limiter.try_acquire()))
        )

    def begin(self, request: LLMRequest) -> Underway | FailedFirstAttempt:
        """Asks, behind an `enter`."""
        began = time.monotonic()
        call, within, counted = current.get(), request.within or self._within, False
        address, hosts, topic = self._model, self._hosts, self._topic
        try:
            if call is not NOBODY:
                within = time_for(within, call)
            if hosts is not None:
                if len(hosts) == 1:
                    (address,) = hosts  # there is nothing to choose, and nothing to count for it
                else:
                    address, counted = self._roles.take(address), True
            trace = "" if call is NOBODY and self._link.tracer is None else self._voice.outgoing(call, address, topic)
            wanted = (request.addressed(None, within),)
            try:
                payload = encode(wanted)
            except UNENCODABLE:
                payload = self._encode(address, topic, wanted, _NOT_NAMED)  # it says what is wrong
            asked = self._bus.asked(address, Encoded(payload), topic, within, trace)
        except BaseException as error:
            self._failed(address, counted)
            if isinstance(error, BusError | ThreeModeError):
                return self._first_try(error, address, began, within)
            raise
        return (
            asked,
            address,
            counted,
            began,
            within,
            new_request_id(),
        )  # the id is made while the agent is at work

    def end(self, call: Underway, answer: Message | BusError, request: LLMRequest) -> LLMResponse | FailedFirstAttempt:
        """What became of it. A reply was just decoded and nobody else has it: what a caller is to see of the call is put into it."""
        _, address, counted, began, within, request_id = call
        failed: BusError | ThreeModeError
        if isinstance(answer, BusError):
            failed = answer
        else:
            try:
                reply: LLMResponse = self._read(answer.raw)
            except (MsgspecError, ValueError, TypeError) as error:
                failed = unreadable(error, address, self._topic)
            else:
                if counted:
                    self._roles.give_back(address)
                if self._limiter is not None:
                    self._limiter.left(True)
                if self._breaker is not None and self._breaker.failures:
                    self._breaker.success()
                target, book, key, usage = self.target, self._book, self._key, reply.usage
                if request.metadata and "label" in request.metadata:
                    key = (target.provider, target.model, str(request.metadata["label"]))
                if self._priced and usage.cost is None:
                    usage = book.priced(target, usage, self._profile)
                    force_setattr(reply, "usage", usage)
                book.ledger.add(key, usage)
                latency = time.monotonic() - began
                self._record(latency)
                if reply.request_id:
                    force_setattr(reply, "extra", {**reply.extra, "provider_request_id": reply.request_id})
                if not reply.model:
                    force_setattr(reply, "model", target.model)
                force_setattr(reply, "provider", target.provider)
                force_setattr(reply, "mode", AI_AI)
                force_setattr(reply, "latency", latency)
                force_setattr(reply, "request_id", request_id)
                force_setattr(reply, "steps", self._steps)
                return reply
        self._failed(address, counted)
        return self._first_try(failed, address, began, within)

    def cancelled(self, call: Underway) -> None:
        asked, address, counted, _, _, _ = call
        asked.cancel()
        self._failed(address, counted)

    def begin_stream(self, request: LLMRequest) -> "AgentFastStream | None":
        """A streamed call on this path; None where it cannot take it just now."""
        within = self._terms.within(request.within, AGENT)
        if not self.enter():
            return None
        return AgentFastStream(request, self.target, within, self._terms.label_of(request), self._channel, self._guards)

    def _failed(self, address: str, counted: bool) -> None:
        if counted:
            self._roles.give_back(address)
        if self._limiter is not None:
            self._limiter.left(False)

    def _first_try(
        self, error: BusError | ThreeModeError, address: str, began: float, within: float
    ) -> FailedFirstAttempt:
        failure = self._link.error(error, address, self._topic) if isinstance(error, BusError) else error
        if isinstance(failure, NoSuchAgent):
            failure = self._channel.explained(self._model)
        return FailedFirstAttempt(began, began + within, failure)


class AgentFastStream:
    """One call, behind the `enter` of its way. It is sent before anything is written down of it: the agent's process, which may
    have to wake up, works meanwhile."""

    def __init__(
        self,
        request: LLMRequest,
        target: Target,
        within: float,
        label: str | None,
        channel: AgentChannel,
        guards: Gates,
    ) -> None:
        self.began, self.within = time.monotonic(), within
        self._request, self._target, self._label = request, target, label
        self._channel, self._guards = channel, guards
        self._stream: Stream | None = None

    def send(self) -> ActiveCall:
        """What is told of the call, which is on its way now."""
        target, began = self._target, self.began
        try:
            self._stream = self._channel.begin(target.model, self._request, self.within)
        except NoSuchAgent:
            pass  # `open` finds out why
        except BaseException:
            self._leave(False)
            raise
        policy = CallContext(deadline=began + self.within, began=began)
        policy.step("attempt", began, target)
        return ActiveCall(self._request, new_request_id(), policy, label=self._label, target=target)

    async def open(self, one: ActiveCall, opening: StreamOpener, accounts: ProviderAccounts) -> OpenReply:
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
