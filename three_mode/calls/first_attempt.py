"""The first attempt of a call, where no policy has anything to do but to look on: sent at once, and one coroutine waits for it.

The loop of `policies/attempts.py` gives each policy a coroutine of its own around the attempt, which is paid for by every call, and needed
by one that has to wait, is late, or fails. So the first attempt is made here, in the same order and with the same books, where
its breaker is closed, its limiter lets it go, and its first content has no limit of its own. The loop takes over what comes after
it: retries, fallback, and the verdict.
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
from three_mode.policies import Attempts, Clock, Target
from three_mode.policies.attempts import judge
from three_mode.policies.coalesce import Coalescer
from three_mode.policies.hedge import Late
from three_mode.policies.tallies import ZERO
from three_mode.providers.emulation import calls_from_text

Answered = tuple[LLMResponse, Target]
Fetch = Callable[[ActiveCall, Target, float], Awaitable[Answered]]


class TargetPlan:
    """What calls to one target have in common. Without `send` there is no straight one; `second` makes the attempt of a hedge."""

    __slots__ = ("breaker", "limiter", "profile", "second", "send")

    def __init__(
        self,
        target: Target,
        send: Send | None,
        second: "Callable[[InFlight], Awaitable[Answered]]",
        accounts: ProviderAccounts,
        guards: Gates,
    ) -> None:
        self.send, self.second = send, second
        self.profile = accounts.profile(target.provider)
        self.breaker, self.limiter = guards.breaker(target), guards.limiter(target)


class InFlight:
    """An attempt on its way. It has nothing `sent` when it is over, `came` when it went well and is as it came, and a `late`
    one beside it when it is that."""

    __slots__ = ("came", "emulated", "key", "late", "one", "reserved", "sent", "spare", "target", "way")

    def __init__(self, one: ActiveCall, target: Target, spare: Target, way: TargetPlan, key: bytes | None) -> None:
        self.one, self.target, self.spare, self.way, self.key = one, target, spare, way, key
        self.sent: SentRequest | None = None
        self.came: SentRequest | None = None
        self.late: Late[Answered] | None = None
        self.reserved: Decimal = ZERO
        self.emulated = False

    @property
    def overtaken(self) -> bool:
        return self.late is not None and self.late.interrupted

    def start(self) -> None:
        self.late = Late(self.way.second, (self,), self._interrupt)
        self.late.start()

    def _interrupt(self) -> None:
        """Whoever waits for the reply hears that there will be none."""
        if self.sent is not None:
            self.sent.cancel()


class FirstAttempt:
    """Makes first attempts; `fetch` is what makes the others."""

    def __init__(
        self,
        channel: SendingChannel,
        accounts: ProviderAccounts,
        guards: Gates,
        book: CallLog,
        preparing: RequestPrep,
        attempts: Attempts,
        coalescer: Coalescer[Answered] | None,
        fetch: Fetch,
        clock: Clock,
    ) -> None:
        self._channel, self._accounts, self._guards, self._book = channel, accounts, guards, book
        self._preparing, self._attempts, self._hedge = preparing, attempts, attempts.hedge
        self._coalescer, self._fetch = coalescer, fetch
        self._now = clock.now
        self._ways: dict[tuple[str, str], TargetPlan] = {}
        guards.held_by(self._ways.clear)

    def begin(self, one: ActiveCall, target: Target, spare: Target, key: bytes | None) -> InFlight | None:
        """The attempt, sent; None where there is something to be waited for, or the target takes no such call."""
        policy = one.policy
        if one.failed is not None or (
            policy.first_content is not None and policy.began + policy.first_content < policy.deadline
        ):
            return None
        way = self._ways.get((target.provider, target.model)) or self._way(target)
        send, breaker, limiter = way.send, way.breaker, way.limiter
        if send is None or (breaker is not None and not breaker.closed):
            return None
        if limiter is not None and not limiter.try_acquire(policy.tokens):
            return None
        now = self._now()
        policy.step("attempt", now, target)
        one.target = target
        flight = InFlight(one, target, spare, way, key)
        try:
            request, flight.emulated = self._preparing.request(one, target)
            flight.reserved = self._preparing.reserve(one, request, target)
            flight.sent = send(request, target.model, policy.deadline, policy.deadline)
        except BaseException as error:
            self._failed(flight, error)
            raise
        if self._hedge is not None:
            self._hedge.enter(flight, now)
        return flight

    async def answer(self, flight: InFlight) -> Answered:
        """What comes of it. Where its task is cancelled while others wait for the same reply, it stays on its way; see `alone`."""
        assert flight.sent is not None
        one, target, way = flight.one, flight.target, flight.way
        try:
            reply = await flight.sent.reply()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and self._stays(flight):
                raise
            self._failed(flight, error)
            if self._hedge is not None:
                late = flight.late
                if late is None:
                    self._hedge.leave(flight)
                elif await self._hedge.rescued(late, error):
                    return late.result()
            raise
        flight.came, flight.sent = None if flight.emulated else flight.sent, None
        usage = self._book.priced(target, reply.usage, way.profile)
        self._book.ledger.settle(target.provider, target.model, one.label, flight.reserved, usage)
        if way.limiter is not None:
            way.limiter.left(True)
        if way.breaker is not None and way.breaker.failures:
            way.breaker.success()
        if self._hedge is not None:
            if flight.late is None:
                self._hedge.leave(flight)
            else:
                await self._hedge.end(flight.late)
        if usage is not reply.usage:
            reply = msgspec.structs.replace(reply, usage=usage)
        return (calls_from_text(reply) if flight.emulated else reply), target

    async def alone(self, flight: InFlight, rest: Callable[[ThreeModeError], Awaitable[Answered]]) -> Answered:
        """The same in a task that is nobody's but the call's; and the `rest` of the call where the attempt fails."""
        try:
            return await self.answer(flight)
        except ThreeModeError as error:
            failed = error
        return await rest(failed)

    def _stays(self, flight: InFlight) -> bool:
        """Whether it stays on its way when its task is cancelled: while others wait for the reply."""
        return flight.key is not None and self._coalescer is not None and self._coalescer.wanted(flight.key)

    def _failed(self, flight: InFlight, error: BaseException) -> None:
        one, target, way = flight.one, flight.target, flight.way
        if flight.overtaken:
            error = asyncio.CancelledError()  # that it broke off says nothing of its target
        if flight.sent is not None:
            flight.sent.cancel()
            flight.sent = None
        self._book.ledger.settle(target.provider, target.model, one.label, flight.reserved, None)
        if isinstance(error, ThreeModeError):
            self._book.metrics.failed(target.provider, target.model, error)
        if way.limiter is not None:
            way.limiter.release()
        judge(error, way.breaker, way.limiter)

    def _second(self, flight: InFlight) -> Awaitable[Answered]:
        one = flight.one
        return self._attempts.late(
            one.policy, flight.target, flight.spare, one.policy.deadline, partial(self._fetch, one)
        )

    def _way(self, target: Target) -> TargetPlan:
        if len(self._ways) > 1000:
            self._ways.clear()
        way = TargetPlan(target, self._channel.sender(target), self._second, self._accounts, self._guards)
        self._ways[target.provider, target.model] = way
        return way
