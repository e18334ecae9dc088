"""Agents' fast path: a call to an agent goes there at once, where no policy has anything to do before it. connection.py
has the normal way.

On this machine an answer takes a few dozen microseconds, and asking each policy whether it has something to say took
three times as long. What a policy could say is known beforehand: a path is made once for each address, and a call takes
it as long as nothing has failed there and its limiter has learnt nothing. It keeps the same books. A call that fails
goes on in the pipeline, with this as its first attempt: retries, the breaker and the error are decided there. A
streamed call does the same up to its first content.

A connection has fast paths if it has no cache, coalescing, hedge, fallback, budget, record, span or hook. The first
call to an agent goes through the pipeline, and from then on its path is known.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from logging import INFO
from typing import Any

from msgspec import MsgspecError

from three_mode.agents.calling.caller import unreadable
from three_mode.agents.calling.streams import Stream
from three_mode.agents.handlers.codec import UNENCODABLE, encode
from three_mode.agents.handlers.declare import spec_of
from three_mode.agents.model import Model
from three_mode.calls.call_log import ActiveCall, CallLog, FailedFirstAttempt, completed_reply, new_request_id
from three_mode.calls.gates import Gates
from three_mode.calls.options import Observing
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
from three_mode.policies import CallContext, Gate, Policies, Target
from three_mode.policies.tallies import ZERO
from three_mode.providers.capabilities import capabilities
from three_mode.providers.estimate import estimate_tokens
from transports.bus import BusError, Encoded

MOST = 1000  # paths that are known at a time
AI_AI = CommunicationMode.AI_AI
_NOT_NAMED: dict[str, Any] = {}

# What requests say, the model's name (or the connection's) and a mode, and the path that they take.
KnownPaths = dict[tuple[str | None, CommunicationMode | None], "AgentFastPath"]
# The normal way of a call; a first attempt may have failed already.
NormalWay = Callable[[LLMRequest, FailedFirstAttempt | None], Awaitable[LLMResponse]]


class AgentFastPaths:
    """Finds the fast paths of one connection, and puts them into `known`."""

    def __init__(
        self,
        known: KnownPaths,
        model: str | None,
        channel: AgentChannel,
        accounts: ProviderAccounts,
        gates: Gates,
        log: CallLog,
        defaults: CallDefaults,
        policies: Policies,
        observe: Observing,
    ) -> None:
        self._known, self._model, self._channel, self._defaults = known, model, channel, defaults
        self._accounts, self._gates, self._log = accounts, gates, log
        gates.on_forget(known.clear)
        log.metrics.held_by(known.clear)
        # What the connection asks of every call must leave nothing to do for one to an agent.
        self._allowed = not (
            policies.cache is not None
            or policies.coalesce
            or policies.hedge is not None
            or policies.fallback.targets
            or policies.budgets
            or log.recorder is not None
            or log.traces
            or accounts.profile(AGENT).safety
            or observe.after is not None
        )

    def learn(self, request: LLMRequest, target: Target) -> None:
        """Note where such a request goes: the next one may go there at once."""
        known, key = self._known, (request.model or self._model, request.mode)
        if not self._allowed or key in known:
            return
        if len(known) > MOST:
            known.clear()
        known[key] = AgentFastPath(target, self._channel, self._gates, self._accounts, self._log, self._defaults)


class AgentFastPath:
    """One agent or role, and all that is the same for every call to it."""

    __slots__ = (
        "_accounts",
        "_bus",
        "_caller",
        "_channel",
        "_closed",
        "_defaults",
        "_encode",
        "_fitted",
        "_gate",
        "_hosts",
        "_key",
        "_log",
        "_model",
        "_priced",
        "_profile",
        "_read",
        "_record",
        "_roles",
        "_session",
        "_steps",
        "_target",
        "_topic",
        "_within",
    )

    def __init__(
        self,
        target: Target,
        channel: AgentChannel,
        gates: Gates,
        accounts: ProviderAccounts,
        log: CallLog,
        defaults: CallDefaults,
    ) -> None:
        self._target, self._model = target, target.model
        self._channel, self._caller = channel, channel.caller
        self._session = session = channel.caller.session
        self._bus, self._roles = session.bus, session.roles
        spec = spec_of(Model.chat_completion)
        self._topic, self._encode, self._read = spec.name, spec.schema.encode_call, spec.schema.result
        self._hosts = None if "/" in target.model else self._roles.hosts(target.model)
        self._record = log.metrics.recorder(target.provider, target.model)
        self._key = (target.provider, target.model, defaults.label)
        self._priced = log.has_price(target)
        self._gate, self._closed = gates.gate(target), False
        self._accounts, self._profile = accounts, accounts.profile(target.provider)
        self._log, self._defaults, self._within = log, defaults, defaults.default_time_limit(AGENT)
        self._steps = (Step("attempt", 0.0, target.provider, target.model),)
        self._fitted = accounts.fitted_defaults(AGENT, target.model)

    async def complete(self, request: LLMRequest, normal: NormalWay) -> LLMResponse:
        """The whole reply; `normal` gives it where this path cannot, and after a failure."""
        # A name that the table of models knows has more to be checked.
        if (
            self._closed
            or self._log.events is not None  # somebody listens, and the normal way tells
            or capabilities(self._model).known
            or logger.isEnabledFor(INFO)
            or not self._gate.try_enter_unhindered()
        ):
            return await normal(request, None)
        began = time.monotonic()
        handled, within, counted = current.get(), request.within or self._within, False
        address, hosts, topic = self._model, self._hosts, self._topic
        failed: BusError | ThreeModeError
        try:
            if handled is not NOBODY:
                within = time_for(within, handled)
            if hosts is not None:
                if len(hosts) == 1:
                    (address,) = hosts  # there is nothing to choose, and nothing to count for it
                else:
                    address, counted = self._roles.take(address), True
            untraced = handled is NOBODY and self._session.tracer is None
            trace = "" if untraced else self._caller.outgoing(handled, address, topic)
            wanted = ((request if self._fitted is None else self._fitted.applied_to(request)).addressed(None, within),)
            try:
                payload = encode(wanted)
            except UNENCODABLE:
                payload = self._encode(address, topic, wanted, _NOT_NAMED)  # it says what is wrong
            asked = self._bus.asked(address, Encoded(payload), topic, within, trace)
        except (BusError, ThreeModeError) as error:
            failed = error
        except BaseException:
            self._leave(address, counted)
            raise
        else:
            request_id = new_request_id()  # made while the agent is at work
            try:
                answer = await asked.future
            except BaseException:
                asked.cancel()
                self._leave(address, counted)
                raise
            if isinstance(answer, BusError):
                failed = answer
            else:
                try:
                    reply: LLMResponse = self._read(answer.raw)
                except (MsgspecError, ValueError, TypeError) as error:
                    failed = unreadable(error, address, topic)
                else:
                    if counted:
                        self._roles.give_back(address)
                    self._gate.succeeded()
                    target, log, key, usage = self._target, self._log, self._key, reply.usage
                    if request.metadata and "label" in request.metadata:
                        key = (target.provider, target.model, str(request.metadata["label"]))
                    if self._priced and usage.cost is None:
                        usage = log.with_cost(target, usage, self._profile)
                    log.ledger.add(key, usage)
                    reply = completed_reply(
                        reply, target, AI_AI, usage, began, request_id, reply.created_at, self._steps
                    )
                    self._record(reply.latency)
                    return reply
        self._leave(address, counted)
        failure = self._session.error(failed, address, self._topic) if isinstance(failed, BusError) else failed
        if isinstance(failure, NoSuchAgent):  # it may be there, and only stream
            return await normal(request, None)
        return await normal(request, FailedFirstAttempt(began, began + within, failure))

    def close(self) -> None:
        """Take no more calls: those that come go the normal way, which says that the connection is closed."""
        self._closed = True

    def try_stream(self, request: LLMRequest) -> "AgentFastStream | None":
        """A streamed call on this path; None where it cannot take it just now."""
        within = self._defaults.time_limit(request.within, AGENT)
        if (
            self._log.events is not None
            or capabilities(self._model).known
            or logger.isEnabledFor(INFO)
            or not self._gate.try_enter_unhindered()
        ):
            return None
        label = self._defaults.label_of(request)
        if self._fitted is not None:
            request = self._fitted.applied_to(request)
        return AgentFastStream(request, self._target, within, label, self._channel, self._gate, self._accounts)

    def _leave(self, address: str, counted: bool) -> None:
        if counted:
            self._roles.give_back(address)
        self._gate.left()


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
