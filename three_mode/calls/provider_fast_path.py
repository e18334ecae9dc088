"""Providers' fast path: a call to a provider's model without a task, where no policy has anything to do but to look on.
connection.py has the normal way.

    begin ──> checked, through the gate, sent ──> done: the reply, in the books
     └─ None: nothing was sent                     └─ it failed: the pipeline goes on, with this as its first attempt

The pipeline wakes a task for each reply, which passes it up through the coroutines of all policies; that takes longer
than the call itself. Here the socket calls back. The request is checked and encoded, the reply is read, and both are
counted by the same functions as in the pipeline; a call that fails goes on there, so that retries, the breaker and the
error are decided in one place.

A connection has such paths if it has no cache, coalescing, hedge, fallback, budget, record, span or hook. The first
call to a model goes through the pipeline, and from then on its path is known.
"""

import time
from datetime import UTC, datetime
from functools import partial
from logging import INFO

from msgspec import Struct

from three_mode.calls.call_book import conversation_of
from three_mode.calls.call_log import CallLog, FailedFirstAttempt, completed_reply, new_request_id
from three_mode.calls.fast_path_terms import NormalWay, OnDone, nothing_acts, raised
from three_mode.calls.gates import Gates
from three_mode.calls.options import Observing
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.calls.request_prep import CallDefaults, RequestPrep
from three_mode.channels.channel import Begin, HeardRequest, SendingChannel
from three_mode.errors import ThreeModeError
from three_mode.handling import current as handled
from three_mode.handling import time_for
from three_mode.messages import LLMRequest, LLMResponse, Step
from three_mode.modes import CommunicationMode
from three_mode.observe.logs import logger
from three_mode.policies import Policies, Target
from three_mode.providers.estimate import estimate_tokens

MOST = 1000  # paths that are known at a time
HUMAN_AI = CommunicationMode.HUMAN_AI
# What requests say, the model's name (or the connection's) and a mode.
Said = tuple[str | None, CommunicationMode | None]


class ProviderFastPaths:
    """Fast paths of one connection, by what requests say."""

    def __init__(
        self,
        model: str | None,
        channel: SendingChannel,
        accounts: ProviderAccounts,
        gates: Gates,
        log: CallLog,
        defaults: CallDefaults,
        policies: Policies,
        observe: Observing,
    ) -> None:
        """`model` is that of requests that name none."""
        self._model, self._channel, self._accounts = model, channel, accounts
        self._gates, self._log, self._defaults = gates, log, defaults
        self._prep = RequestPrep(accounts, log)
        self._known: dict[Said, ProviderFastPath] = {}
        self._allowed = nothing_acts(policies, log, observe)
        gates.on_forget(self._known.clear)
        log.metrics.held_by(self._known.clear)

    def find(self, request: LLMRequest) -> "ProviderFastPath | None":
        """The path of a request; None where it has none."""
        if request.provider is not None:
            return None
        return self._known.get((request.model or self._model, request.mode))

    def learn(self, request: LLMRequest, target: Target) -> None:
        """Note where such a request goes: the next one may go there at once."""
        known, said = self._known, (request.model or self._model, request.mode)
        if not self._allowed or said in known or request.provider is not None:
            return
        begin = None if target.grpc else self._channel.beginner(target)
        if begin is not None:
            if len(known) > MOST:
                known.clear()
            known[said] = ProviderFastPath(
                target, begin, self._prep, self._accounts, self._gates, self._log, self._defaults
            )

    def close(self) -> None:
        """Take no more calls: those that come go the normal way, which says that the connection is closed."""
        self._known.clear()
        self._allowed = False


class ProviderFastPath:
    """One model of a provider, and all that is the same for every call to it."""

    __slots__ = (
        "_defaults",
        "_gate",
        "_key",
        "_log",
        "_multiplier",
        "_prep",
        "_profile",
        "_record",
        "_send",
        "_steps",
        "_target",
        "_within",
    )

    def __init__(
        self,
        target: Target,
        begin: Begin,
        prep: RequestPrep,
        accounts: ProviderAccounts,
        gates: Gates,
        log: CallLog,
        defaults: CallDefaults,
    ) -> None:
        self._target, self._send, self._prep = target, begin, prep
        self._log, self._defaults = log, defaults
        self._profile = accounts.profile(target.provider)
        self._multiplier = self._profile.multiplier(target.model)
        self._gate = gates.gate(target)
        self._record = log.metrics.recorder(target.provider, target.model)
        self._key = (target.provider, target.model, defaults.label)
        self._within = defaults.default_time_limit(target.provider)
        self._steps = (Step("attempt", 0.0, target.provider, target.model),)

    def begin(self, request: LLMRequest, normal: NormalWay, on_done: OnDone) -> "ProviderCall | None":
        """Asks without a task: `on_done` gets the reply later, or what gives it in the normal way. None: nothing was
        asked, and the normal way has to be taken."""
        if self._log.events is not None or logger.isEnabledFor(INFO):
            return None  # the normal way tells who listens
        target = self._target
        tokens = estimate_tokens(request, target.model, self._multiplier)
        try:
            wanted, emulated = self._prep.fit(request, target, tokens)
        except ThreeModeError:
            return None  # the normal way says why
        if emulated or not self._gate.try_enter(tokens):
            return None
        began = time.monotonic()
        deadline = began + time_for(request.within or self._within, handled.get())
        call = ProviderCall(self, request, normal, on_done, began, deadline)
        try:
            call.sent = self._send(wanted, target.model, deadline, call.done)
        except ThreeModeError:
            self._gate.left()
            return None
        except BaseException:
            self._gate.left()
            raise
        return call

    def _answered(self, call: "ProviderCall", reply: LLMResponse) -> LLMResponse:
        """The reply, once it is in the books. It has left the gate."""
        self._gate.succeeded()
        target, log, key, request = self._target, self._log, self._key, call.request
        conversation = None
        if request.metadata:
            conversation, key = conversation_of(request), (*key[:2], self._defaults.label_of(request))
        usage = log.with_cost(target, reply.usage, self._profile)
        log.ledger.add(key, usage)
        reply = completed_reply(
            reply, target, HUMAN_AI, usage, call.began, new_request_id(), datetime.now(UTC), self._steps
        )
        self._record(reply.latency)
        log.book.tallies.add_answer(key, conversation, usage, reply.latency)
        return reply

    def _failed(self, call: "ProviderCall", error: ThreeModeError) -> FailedFirstAttempt:
        """How the call failed, once that is counted. It has left the gate."""
        self._log.metrics.failed(self._target.provider, self._target.model, error)
        blamed = self._gate.failed(error, given=call.deadline - call.began)
        return FailedFirstAttempt(call.began, call.deadline, error, blamed)


class ProviderCall(Struct, eq=False):
    """A call for a whole reply that was sent on this path, and whose caller is called back."""

    path: ProviderFastPath
    request: LLMRequest
    normal: NormalWay
    on_done: OnDone
    began: float
    deadline: float
    sent: HeardRequest | None = None

    def done(self) -> None:
        """The provider has answered, or will not."""
        path = self.path
        assert self.sent is not None
        try:
            reply = self.sent.result()
        except ThreeModeError as error:
            self.on_done(partial(self.normal, self.request, path._failed(self, error)))
            return
        except Exception as error:  # noqa: BLE001  # nobody else tells who waits
            path._gate.left()
            self.on_done(partial(raised, error))
            return
        self.on_done(path._answered(self, reply))

    def cancel(self) -> None:
        """End the call, which has not ended yet, and the provider's work."""
        assert self.sent is not None
        self.sent.cancel()
        path = self.path
        path._gate.left()
        label = path._defaults.label_of(self.request)
        path._log.book.add_cancelled(path._target, self.request, label, time.monotonic() - self.began)
