"""First attempt of a call, where no policy has anything to do but to look on: sent at once, and one coroutine waits for
it.

The loop of `policies/attempts.py` gives each policy a coroutine of its own around an attempt. Every call would pay for
it, and only one that has to wait, is late, or fails needs it. So the first attempt is made here, through the same gate
and with the same books, where the gate lets it pass at once and its first content has no limit of its own. The loop
takes over what comes after it: retries, fallback, and the verdict.
"""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial

import msgspec

from three_mode.calls.call_log import ActiveCall, CallLog
from three_mode.calls.gates import Gates
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.calls.request_prep import RequestPrep
from three_mode.channels.channel import Send, SendingChannel, SentRequest
from three_mode.errors import ThreeModeError
from three_mode.messages import LLMResponse
from three_mode.policies import Attempts, Clock, Gate, Target
from three_mode.policies.attempts import blame
from three_mode.policies.coalesce import Coalescer
from three_mode.policies.hedge import SecondRunner
from three_mode.policies.tallies import ZERO
from three_mode.providers import Profile
from three_mode.providers.emulation import calls_from_text

Answered = tuple[LLMResponse, Target]
Fetch = Callable[[ActiveCall, Target, float], Awaitable[Answered]]
MOST = 1000  # targets whose plans are kept


class TargetPlan:
    """What first attempts on one target share. Without `send` there are none; `second` makes a hedge's attempt."""

    __slots__ = ("gate", "profile", "second", "send")

    def __init__(
        self, gate: Gate, profile: Profile, send: Send | None, second: "Callable[[InFlight], Awaitable[Answered]]"
    ) -> None:
        self.gate, self.profile, self.send, self.second = gate, profile, send, second


class InFlight:
    """One attempt. `sent`: in flight, None when done. `came`: the unmodified reply. `late`: the hedge, once started."""

    __slots__ = ("call", "came", "emulated", "key", "late", "plan", "reserved", "sent", "spare", "target")

    def __init__(self, call: ActiveCall, target: Target, spare: Target, plan: TargetPlan, key: bytes | None) -> None:
        self.call, self.target, self.spare, self.plan, self.key = call, target, spare, plan, key
        self.sent: SentRequest | None = None
        self.came: SentRequest | None = None
        self.late: SecondRunner[Answered] | None = None
        self.reserved: Decimal = ZERO
        self.emulated = False

    @property
    def overtaken(self) -> bool:
        """Whether its hedge has won."""
        return self.late is not None and self.late.interrupted

    def start(self) -> None:
        """Start its hedge: it is late."""
        self.late = SecondRunner(self.plan.second, (self,), self._interrupt)
        self.late.start()

    def _interrupt(self) -> None:
        """Fail the wait for its reply."""
        if self.sent is not None:
            self.sent.cancel()


class FirstAttempt:
    """Makes first attempts; `fetch` is what makes the others."""

    def __init__(
        self,
        channel: SendingChannel,
        accounts: ProviderAccounts,
        gates: Gates,
        log: CallLog,
        prep: RequestPrep,
        attempts: Attempts,
        coalescer: Coalescer[Answered] | None,
        fetch: Fetch,
        clock: Clock,
    ) -> None:
        self._channel, self._accounts, self._gates, self._log = channel, accounts, gates, log
        self._prep, self._attempts, self._hedge = prep, attempts, attempts.hedge
        self._coalescer, self._fetch = coalescer, fetch
        self._now = clock.now
        self._plans: dict[tuple[str, str, bool], TargetPlan] = {}  # by provider, model and whether over gRPC
        gates.on_forget(self._plans.clear)

    def try_send(self, call: ActiveCall, target: Target, spare: Target, key: bytes | None) -> InFlight | None:
        """Send the attempt; None where there is something to be waited for, or the target takes no such call."""
        context = call.context
        if call.failed_blamed is not None:
            self._resume(call, target)
        if call.failed is not None or (
            context.first_content is not None and context.began + context.first_content < context.deadline
        ):
            return None
        plan = self._plans.get((target.provider, target.model, target.grpc)) or self._plan(target)
        send = plan.send
        if send is None or not plan.gate.try_enter(context.tokens):
            return None
        now = self._now()
        context.add_step("attempt", now, target)
        call.target = target
        flight = InFlight(call, target, spare, plan, key)
        try:
            request, flight.emulated = self._prep.prepare(call, target)
            flight.reserved = self._prep.reserve(call, request, target)
            flight.sent = send(request, target.model, context.deadline, context.deadline)
        except BaseException as error:
            self._fail(flight, error)
            raise
        if self._hedge is not None:
            self._hedge.watch(flight, now)
        return flight

    def _resume(self, call: ActiveCall, target: Target) -> None:
        """Write the attempt down that was made, and judged, on a fast path, and raise how it ended."""
        context, error = call.context, call.failed
        assert error is not None
        context.add_step("attempt", context.began, target)
        call.target = target
        self._log.book.add_failure(call, target, error)
        if call.failed_blamed:
            context.blamed += (target,)
        call.failed_blamed = None
        call.raise_first_failure()

    async def reply(self, flight: InFlight) -> Answered:
        """Wait for the reply. Where this task is cancelled while others wait for the same reply, the request stays out:
        see `reply_for_others`."""
        assert flight.sent is not None
        target, plan = flight.target, flight.plan
        try:
            reply = await flight.sent.reply()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self._has_others(flight):
                raise
            self._fail(flight, error)
            if self._hedge is not None:
                late = flight.late
                if late is None:
                    self._hedge.unwatch(flight)
                elif await self._hedge.second_wins(late, error):
                    return late.result()
            raise
        flight.came, flight.sent = None if flight.emulated else flight.sent, None
        usage = self._log.settle_attempt(flight.call, target, flight.reserved, reply.usage, plan.profile)
        plan.gate.succeeded()
        if self._hedge is not None:
            if flight.late is None:
                self._hedge.unwatch(flight)
            else:
                await self._hedge.stop_second(flight.late)
        if usage is not reply.usage:
            reply = msgspec.structs.replace(reply, usage=usage)
        return (calls_from_text(reply) if flight.emulated else reply), target

    async def reply_for_others(
        self, flight: InFlight, rest: Callable[[ThreeModeError], Awaitable[Answered]]
    ) -> Answered:
        """`reply` in a task of the call's own, after its caller has left; and the `rest` of the call where the attempt
        fails."""
        try:
            return await self.reply(flight)
        except ThreeModeError as error:
            failed = error
        return await rest(failed)

    def _has_others(self, flight: InFlight) -> bool:
        """Whether others wait for the reply."""
        return flight.key is not None and self._coalescer is not None and self._coalescer.wanted(flight.key)

    def _fail(self, flight: InFlight, error: BaseException) -> None:
        if flight.overtaken:
            error = asyncio.CancelledError()  # that it broke off says nothing of its target
        if flight.sent is not None:
            flight.sent.cancel()
            flight.sent = None
        self._log.fail_attempt(flight.call, flight.target, flight.reserved, error)
        context = flight.call.context
        began = context.began + next(step.at for step in context.steps if step.kind == "attempt")
        blame(context, flight.plan.gate, error, context.deadline - began)

    def _second(self, flight: InFlight) -> Awaitable[Answered]:
        call = flight.call
        return self._attempts.second_attempt(
            call.context, flight.target, flight.spare, call.context.deadline, partial(self._fetch, call)
        )

    def _plan(self, target: Target) -> TargetPlan:
        if len(self._plans) > MOST:
            self._plans.clear()
        send, profile = self._channel.sender(target), self._accounts.profile(target.provider)
        plan = TargetPlan(self._gates.gate(target), profile, send, self._second)
        self._plans[target.provider, target.model, target.grpc] = plan
        return plan
