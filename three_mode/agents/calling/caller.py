"""Verbs of a caller: tell, ask, stream, broadcast, gather, from an orchestrator, an agent, or a program that joined."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Protocol

import msgspec

from three_mode.agents.calling.gather import Gathered, Plan, gather
from three_mode.agents.calling.receipts import AgentReceipt
from three_mode.agents.calling.roles import Roles
from three_mode.agents.calling.session import Session, group_numbers
from three_mode.agents.calling.streams import CREDIT, Stream
from three_mode.agents.handlers.codec import (
    UNENCODABLE,
    Decode,
    decode_any,
    decode_marked_by,
    encode,
    encode_exact,
)
from three_mode.agents.handlers.declare import Spec, spec_of
from three_mode.agents.handlers.extensions import exact
from three_mode.errors import BadCall, BadResult, CallCycle, PeerLost, ThreeModeError
from three_mode.handling import NOBODY, HandledCall, current, time_for
from transports.bus import BadAddress, BusError, Encoded

Handler = Callable[..., Any] | str
"""Handler as a caller names it: the method of the class, or its name."""

_RETRY_AFTER = 0.01  # seconds until an idempotent call is repeated
_LONGEST_CHAIN = 900  # characters of a chain of callers: about 60 agents that wait for one another


class Sent:
    """Message that was sent. Awaiting it waits until the carrier has the message, and raises if it never will."""

    __slots__ = ("_error", "_handler", "_sent", "_session", "_to")

    def __init__(
        self,
        sent: Awaitable[Any] | None,
        error: ThreeModeError | None = None,
        session: Session | None = None,
        to: str = "",
        handler: str = "",
    ) -> None:
        self._sent, self._error = sent, error
        self._session, self._to, self._handler = session, to, handler

    def __await__(self) -> Generator[Any, None, None]:
        if self._error is not None:
            raise self._error
        if self._sent is None:
            return
        try:
            yield from self._sent.__await__()
        except BusError as error:
            if self._session is None:
                raise
            raise self._session.error(error, self._to, self._handler) from None


class SentToAll(list[Sent]):
    """Messages that were sent to the agents of a group, one `Sent` each, in order.

    Awaiting it waits until the carrier has all of them, and raises the first error of one that it never will have.
    """

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        failure: Exception | None = None
        for sent in self:
            try:
                yield from sent.__await__()
            except ThreeModeError as error:
                failure = failure or error
        if failure is not None:
            raise failure


class Running(Protocol):
    """Interface of the actor that a caller speaks for."""

    @property
    def run(self) -> HandledCall | None:
        """Call that the actor is handling, if that call had to wait."""
        ...


class Caller:
    """Verbs of one agent, or of a process that is no agent. `name` is the sender that others see."""

    __slots__ = ("actor", "name", "session")

    def __init__(self, session: Session, name: str, actor: Running | None = None) -> None:
        self.session, self.name, self.actor = session, name, actor

    @property
    def roles(self) -> Roles:
        """Roles on this bus."""
        return self.session.roles

    @property
    def llm(self) -> Any:
        """Connection to models on this bus, an `LLMConnection`."""
        return self.session.llm

    def group_numbers(self, group: str) -> list[int]:
        """Return the numbers of a group's agents that are on the bus now."""
        return group_numbers(self.session.bus.names(), group)

    # verbs ------------------------------------------------------------------------------------------------------------
    async def ask(
        self, to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], within: float | None
    ) -> Any:
        """Call a handler and return its result.

        An idempotent call is repeated while its agent is lost and time is left.
        """
        topic, payload, decode, spec = target(to, handler, args, kwargs)
        session, call, trace = self.session, current.get(), ""
        if call is NOBODY and within is None:
            seconds = session.default_within
        else:
            seconds = time_for(within, call, session.default_within)
        if call is not NOBODY or self.actor is not None or session.tracer is not None:
            trace = self.outgoing(call, to, topic)
        ends = time.monotonic() + seconds if spec is not None and spec.idempotent else 0.0
        while True:
            try:
                asked = session.bus.asked(to, Encoded(payload), topic, seconds, trace, self.name)
                try:
                    reply = await asked.future
                except asyncio.CancelledError:
                    asked.cancel()
                    raise
                if isinstance(reply, BusError):
                    raise reply
            except BusError as error:
                failure = session.error(error, to, topic)
                if not (ends and isinstance(failure, PeerLost)):
                    raise failure from None
            else:
                return read(decode, reply.raw, to, topic)
            # An idempotent handler: wait until the agent is back, as long as there is time, and ask again.
            seconds = await self._wait_until_back(to, ends, failure)

    async def _wait_until_back(self, to: str, ends: float, failure: ThreeModeError) -> float:
        """Wait for a lost agent; return the seconds that are left, or raise `failure` when there are none."""
        try:
            await self.session.bus.wait_for([to], within=max(0.001, ends - time.monotonic()))
        except BusError:
            raise failure from None
        if ends - time.monotonic() <= _RETRY_AFTER:
            raise failure
        await asyncio.sleep(_RETRY_AFTER)
        return ends - time.monotonic()

    def tell(self, to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent:
        """Send a message at once; one that cannot be sent becomes a dead letter."""
        topic, payload, _, _ = target(to, handler, args, kwargs)
        trace = self._trace(to, topic)
        try:
            sent = self.session.bus.send(to, Encoded(payload), topic, trace, self.name)
            return Sent(sent, None, self.session, to, topic)
        except BusError as error:
            failure = self.session.error(error, to, topic)
            self.session.dead_letters.add(to, topic, self.name, error.code, failure.message, payload)
            return Sent(None, failure)

    def stream(
        self, to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], within: float | None
    ) -> Stream[Any]:
        """Make the stream of a streamed reply; it is asked for when it is entered or iterated over."""
        topic, payload, decode, _ = target(to, handler, args, kwargs)
        call = current.get()
        seconds = time_for(within, call, self.session.default_within)
        parts = self.session.bus.stream(
            to,
            Encoded(payload),
            topic=topic,
            within=seconds,
            credit=CREDIT,
            trace=self.outgoing(call, to, topic),
            sender=self.name,
        )
        return Stream(parts, decode, self.session, to, topic)

    def broadcast(self, topic: str, item: Any) -> AgentReceipt:
        """Publish a message to all agents that listen to its topic."""
        try:
            payload = Encoded(encode_exact(item))
        except UNENCODABLE as error:
            raise BadCall(f"what is broadcast on {topic} cannot be sent: {error}", argument="item") from None
        session = self.session
        trace = current.get().trace if session.tracer is None else self._trace(topic, "")
        try:
            return AgentReceipt(session.bus.publish(topic, payload, trace=trace, sender=self.name), session)
        except BadAddress as error:
            raise BadCall(str(error), argument="topic") from None
        except (AttributeError, TypeError):
            if isinstance(topic, str):
                raise
            raise BadCall(f"a topic is a text such as 'news.eu', not {topic!r}", argument="topic") from None
        except BusError as error:
            raise session.error(error, topic, "broadcast") from None

    async def gather(
        self,
        names: Sequence[str],
        handler: Handler,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        within: float | None,
        quorum: int | None,
    ) -> Gathered[Any]:
        """Ask all these agents at once; see `AgentGroup.gather`."""
        if quorum is not None and not isinstance(quorum, int):
            raise BadCall(f"quorum is a number of agents, not {quorum!r}", hint="quorum=3", argument="quorum")
        if quorum is not None and not 0 <= quorum <= len(names):
            raise BadCall(f"a quorum of {quorum} among {len(names)} agents cannot be", argument="quorum")
        first = names[0] if names else "nobody"
        topic, payload, decode, _ = target(first, handler, args, kwargs)
        call = current.get()
        seconds = time_for(within, call, self.session.default_within)
        plan = Plan(topic, payload, decode, seconds, self.outgoing(call, first, topic), self.name)
        return await gather(self.session, names, plan, quorum)

    def _trace(self, to: str, topic: str) -> str:
        """Return the trace id of a message that nobody waits for."""
        tracer = self.session.tracer
        return current.get().trace if tracer is None else tracer.outgoing(to, topic)

    def outgoing(self, call: HandledCall, to: str, topic: str) -> str:
        """Return the `trace` field: trace id and chain of waiting callers. The chain shows a cycle where it closes."""
        if not call.agent:
            if self.actor is not None and self.actor.run is not None:
                call = self.actor.run
            elif self.session.tracer is None:
                return call.trace
        field = call.outgoing()
        if self.session.tracer is not None:
            _, _, chain = field.partition("|")
            field = f"{self.session.tracer.outgoing(to, topic)}|{chain}"
        if len(field) > _LONGEST_CHAIN:
            raise CallCycle(
                f"{to}.{topic} would be the end of a chain of {field.count('>') + 2} calls that wait for one another",
                agent=to,
            )
        return field


class Streaming:
    """Open streams from one handler; everything that is the same for each of them is worked out once."""

    __slots__ = ("_caller", "_encode", "_read", "_topic")

    def __init__(self, handler: Callable[..., Any], caller: Caller) -> None:
        spec = spec_of(handler)
        self._topic, self._encode, self._read = spec.name, spec.schema.encode_call, spec.schema.result
        self._caller = caller

    def begin(self, to: str, args: tuple[Any, ...], within: float) -> Stream[Any]:
        """Ask the agent `to` for a stream at once.

        `within` is at most what remains of the call that the stream serves.
        """
        caller, topic, call = self._caller, self._topic, current.get()
        session = caller.session
        trace = "" if call is NOBODY and session.tracer is None else caller.outgoing(call, to, topic)
        payload = Encoded(self._encode(to, topic, args, {}))
        parts = session.bus.stream(
            to, payload, topic=topic, within=within, credit=CREDIT, trace=trace, sender=caller.name
        )
        try:
            parts.begin()
        except BusError as error:
            raise session.error(error, to, topic) from None
        stream: Stream[Any] = Stream(parts, self._read, session, to, topic)
        stream._parts = parts
        return stream


def read(decode: Decode, raw: bytes, agent: str, handler: str) -> Any:
    """Decode a result as the handler's type hint says, or raise BadResult."""
    try:
        return decode(raw)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        try:
            return decode_marked_by(decode, raw, error)
        except (msgspec.MsgspecError, ValueError, TypeError) as still:
            raise unreadable(still, agent, handler) from None


def unreadable(error: Exception, agent: str, handler: str) -> BadResult:
    """Return the error for a result that does not fit the handler's type hint."""
    said = f"{agent}.{handler} answered something else than its hint says: {error}"
    return BadResult(said, agent=agent, handler=handler)


def target(
    to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, bytes, Decode, Spec | None]:
    """Return the handler's name, the encoded call, the decoder of its result, and its spec if the function is known."""
    if not isinstance(handler, str):
        spec = spec_of(handler)
        name, schema = spec.name, spec.schema
        if not kwargs and schema.least <= len(args) <= schema.most:
            try:
                return name, schema.encode_args(args), schema.result, spec
            except UNENCODABLE:
                pass  # encode_call below finds the argument and names it
        return name, schema.encode_call(to, name, args, kwargs), schema.result, spec
    if args and kwargs:
        raise BadCall(
            f"{to}.{handler}: arguments by order and by name together need the handler itself, not its name",
            hint="give all by name",
            agent=to,
            handler=handler,
        )
    try:
        return handler, encode(exact(kwargs) if kwargs else [*map(exact, args)]), decode_any, None
    except UNENCODABLE as error:
        raise BadCall(f"{to}.{handler}: an argument cannot be sent: {error}", agent=to, handler=handler) from None
