"""The short way of a call to an agent, where no policy has anything to do before it.

On this machine an answer takes a few dozen microseconds, and asking each policy whether it has something to say took three
times as long. What a policy could say is known beforehand: a plan is made once for each address, and a call goes this way as long as
nothing has failed there and its limiter has learnt nothing. It keeps the same books. A call that fails goes the long way from there,
with this as its first attempt: retries, the breaker and the error are theirs.

Plain functions: `begin` asks, the connection waits in the one coroutine that a call is, `end` makes of the answer what the caller gets.
"""

import logging
import time
from typing import Any

from msgspec import MsgspecError
from msgspec.structs import force_setattr

from three_mode.agents.calling.caller import unreadable
from three_mode.agents.handlers.codec import UNENCODABLE, encode
from three_mode.agents.handlers.declare import spec_of
from three_mode.agents.model import Model
from three_mode.calls.accounts import Accounts
from three_mode.calls.book import Book, new_request_id
from three_mode.calls.guards import Guarding
from three_mode.calls.short_ways import FirstTry, Underway
from three_mode.channels.ai_ai import AgentChannel
from three_mode.errors import NoSuchAgent, ThreeModeError
from three_mode.handling import NOBODY, current, time_for
from three_mode.messages import LLMRequest, LLMResponse, Step
from three_mode.modes import CommunicationMode
from three_mode.observe.logs import logger
from three_mode.policies import Target
from three_mode.providers.capabilities import capabilities
from transports.bus import BusError, Encoded, Message

AI_AI = CommunicationMode.AI_AI
_NOT_NAMED: dict[str, Any] = {}


class ToAgent:
    """One agent or role, and whatever of a call to it is always the same."""

    __slots__ = (
        "_book",
        "_breaker",
        "_bus",
        "_caller",
        "_channel",
        "_encode",
        "_hosts",
        "_key",
        "_limiter",
        "_model",
        "_priced",
        "_profile",
        "_read",
        "_record",
        "_roles",
        "_session",
        "_steps",
        "_topic",
        "_within",
        "target",
    )

    def __init__(
        self,
        target: Target,
        channel: AgentChannel,
        guards: Guarding,
        accounts: Accounts,
        book: Book,
        label: str | None,
        within: float,
    ) -> None:
        self.target, self._model = target, target.model
        self._channel, self._caller = channel, channel.caller
        self._session = session = channel.caller.session
        self._bus, self._roles = session.bus, session.roles
        spec = spec_of(Model.chat_completion)
        self._topic, self._encode, self._read = spec.name, spec.schema.encode_call, spec.schema.result
        self._hosts = None if "/" in target.model else self._roles.hosts(target.model)
        self._record = book.metrics.recorder(target.provider, target.model)
        self._key = (target.provider, target.model, label)
        self._priced = book.has_price(target)
        self._breaker, self._limiter = guards.breaker(target), guards.limiter(target)
        self._profile = accounts.profile(target.provider)
        self._book, self._within = book, within
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

    def begin(self, request: LLMRequest) -> Underway | FirstTry:
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
            trace = (
                "" if call is NOBODY and self._session.tracer is None else self._caller.outgoing(call, address, topic)
            )
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

    def end(self, call: Underway, answer: Message | BusError, request: LLMRequest) -> LLMResponse | FirstTry:
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

    def _failed(self, address: str, counted: bool) -> None:
        if counted:
            self._roles.give_back(address)
        if self._limiter is not None:
            self._limiter.left(False)

    def _first_try(self, error: BusError | ThreeModeError, address: str, began: float, within: float) -> FirstTry:
        failure = self._session.error(error, address, self._topic) if isinstance(error, BusError) else error
        if isinstance(failure, NoSuchAgent):
            failure = self._channel.explained(self._model)
        return FirstTry(began, began + within, failure)
