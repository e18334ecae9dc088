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
from collections.abc import Coroutine
from functools import partial
from logging import INFO
from typing import Any

from msgspec import MsgspecError, Struct

from three_mode.agents.calling.caller import unreadable
from three_mode.agents.handlers.codec import UNENCODABLE, encode
from three_mode.agents.handlers.declare import spec_of
from three_mode.agents.model import Model
from three_mode.calls.agent_fast_stream import AgentFastStream
from three_mode.calls.call_book import conversation_of
from three_mode.calls.call_log import CallLog, FailedFirstAttempt, completed_reply, new_request_id
from three_mode.calls.fast_path_terms import NormalWay, OnDone, nothing_acts, raised
from three_mode.calls.gates import Gates
from three_mode.calls.options import Observing
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.calls.request_prep import CallDefaults
from three_mode.channels.agents import AgentChannel
from three_mode.dispatcher import AGENT
from three_mode.errors import NoSuchAgent, ThreeModeError
from three_mode.handling import NOBODY, current, time_for
from three_mode.messages import LLMRequest, LLMResponse, Step
from three_mode.modes import CommunicationMode
from three_mode.observe.logs import logger
from three_mode.policies import Policies, Target
from three_mode.providers.capabilities import capabilities
from transports.bus import BusError, Call, Encoded, Message

MOST = 1000  # paths that are known at a time
AI_AI = CommunicationMode.AI_AI
_NOT_NAMED: dict[str, Any] = {}

# What requests say, the model's name (or the connection's) and a mode, and the path that they take.
KnownPaths = dict[tuple[str | None, CommunicationMode | None], "AgentFastPath"]


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
        self._allowed = nothing_acts(policies, log, observe) and not accounts.profile(AGENT).safety

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
        if not self._enter():
            return await normal(request, None)
        began = time.monotonic()
        address, within, counted = self._model, request.within or self._within, False
        try:
            address, within, counted, trace = self._route(within)
            payload = self._encoded(request, address, within)
            asked = self._bus.asked(address, payload, self._topic, within, trace)
        except (BusError, ThreeModeError) as error:
            self._leave(address, counted)
            return await self._go_on(request, normal, began, within, address, error)
        except BaseException:
            self._leave(address, counted)
            raise
        request_id = new_request_id()  # made while the agent is at work
        try:
            answer = await asked.future
        except BaseException:
            asked.cancel()
            self._leave(address, counted)
            self._count_cancelled(request, began)
            raise
        found = self._answered(request, request_id, began, address, counted, answer)
        if isinstance(found, LLMResponse):
            return found
        return await self._go_on(request, normal, began, within, address, found)

    def begin(self, request: LLMRequest, normal: NormalWay, on_done: OnDone) -> "AgentCall | None":
        """Asks without a task: `on_done` gets the reply later, or what gives it in the normal way. None: nothing was
        asked, and the normal way has to be taken."""
        if not self._enter():
            return None
        address, within, counted = self._model, request.within or self._within, False
        try:
            address, within, counted, trace = self._route(within)
            call = AgentCall(self, request, normal, on_done, time.monotonic(), within, address, counted)
            payload = self._encoded(request, address, within)
            call.asked = self._bus.call(address, payload, call.done, self._topic, within, trace)
        except (BusError, ThreeModeError):
            self._leave(address, counted)
            return None
        except BaseException:
            self._leave(address, counted)
            raise
        call.request_id = new_request_id()
        return call

    def _enter(self) -> bool:
        """Enters the gate, if a call may take this path just now."""
        # A name that the table of models knows has more to be checked. Where somebody listens, the normal way tells.
        return not (
            self._closed
            or self._log.events is not None
            or capabilities(self._model).known
            or logger.isEnabledFor(INFO)
            or not self._gate.try_enter_unhindered()
        )

    def _route(self, within: float) -> tuple[str, float, bool, str]:
        """Whom to ask, in how many seconds, whether that counts as a call in flight at a host, and the trace."""
        address, hosts, handled, counted = self._model, self._hosts, current.get(), False
        if handled is not NOBODY:
            within = time_for(within, handled)
        if hosts is not None:
            if len(hosts) == 1:
                (address,) = hosts  # there is nothing to choose, and nothing to count for it
            else:
                address, counted = self._roles.take(address), True
        if handled is NOBODY and self._session.tracer is None:
            return address, within, counted, ""
        try:
            return address, within, counted, self._caller.outgoing(handled, address, self._topic)
        except BaseException:
            if counted:
                self._roles.give_back(address)
            raise

    def _encoded(self, request: LLMRequest, address: str, within: float) -> Encoded:
        wanted = ((request if self._fitted is None else self._fitted.applied_to(request)).addressed(None, within),)
        try:
            return Encoded(encode(wanted))
        except UNENCODABLE:
            return Encoded(self._encode(address, self._topic, wanted, _NOT_NAMED))  # it says what is wrong

    def _answered(
        self, request: LLMRequest, request_id: str, began: float, address: str, counted: bool, answer: Any
    ) -> "LLMResponse | BusError | ThreeModeError":
        """The reply, once it is in the books; or how the call failed. It has left the gate."""
        if isinstance(answer, BusError):
            self._leave(address, counted)
            return answer
        try:
            reply: LLMResponse = self._read(answer.raw)
        except (MsgspecError, ValueError, TypeError, RecursionError) as error:
            self._leave(address, counted)
            return unreadable(error, address, self._topic)
        except BaseException:
            self._leave(address, counted)
            raise
        if counted:
            self._roles.give_back(address)
        self._gate.succeeded()
        target, log, key, usage = self._target, self._log, self._key, reply.usage
        conversation = None
        if request.metadata:
            conversation = conversation_of(request)
            if "label" in request.metadata:
                key = (target.provider, target.model, str(request.metadata["label"]))
        if self._priced and usage.cost is None:
            usage = log.with_cost(target, usage, self._profile)
        log.ledger.add(key, usage)
        reply = completed_reply(reply, target, AI_AI, usage, began, request_id, reply.created_at, self._steps)
        self._record(reply.latency)
        log.book.tallies.add_answer(key, conversation, usage, reply.latency)
        return reply

    def _go_on(
        self,
        request: LLMRequest,
        normal: NormalWay,
        began: float,
        within: float,
        address: str,
        failed: BusError | ThreeModeError,
    ) -> Coroutine[Any, Any, LLMResponse]:
        """The reply in the normal way, of a call that failed on this path."""
        failure = self._session.error(failed, address, self._topic) if isinstance(failed, BusError) else failed
        if isinstance(failure, NoSuchAgent):  # it may be there, and only stream
            return normal(request, None)
        return normal(request, FailedFirstAttempt(began, began + within, failure))

    def _count_cancelled(self, request: LLMRequest, began: float) -> None:
        label = self._defaults.label_of(request)
        self._log.book.add_cancelled(self._target, request, label, time.monotonic() - began)

    def close(self) -> None:
        """Take no more calls: those that come go the normal way, which says that the connection is closed."""
        self._closed = True

    def try_stream(self, request: LLMRequest) -> AgentFastStream | None:
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


class AgentCall(Struct, eq=False):
    """A call for a whole reply that was sent on this path, and whose caller is called back."""

    path: AgentFastPath
    request: LLMRequest
    normal: NormalWay
    on_done: OnDone
    began: float
    within: float
    address: str
    counted: bool
    request_id: str = ""
    asked: "Call | None" = None

    def done(self, answer: "Message | BusError") -> None:
        """The agent has answered, or will not."""
        path, request = self.path, self.request
        try:
            found = path._answered(request, self.request_id, self.began, self.address, self.counted, answer)
        except Exception as error:  # noqa: BLE001  # nobody else tells who waits
            self.on_done(partial(raised, error))
            return
        if isinstance(found, LLMResponse):
            self.on_done(found)
        else:
            self.on_done(partial(path._go_on, request, self.normal, self.began, self.within, self.address, found))

    def cancel(self) -> None:
        """Ends the call, which has not ended yet, and the agent's work."""
        if self.asked is not None and self.asked.cancel():
            self.path._leave(self.address, self.counted)
            self.path._count_cancelled(self.request, self.began)
