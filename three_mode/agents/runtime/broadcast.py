"""Fanout: deliver one broadcast to all agents of this process that listen to one pattern with one handler.

They share one bus subscription: a message is decoded and checked once, then the handler is called for each agent, in
one plain loop. Busy agents get the message through their mailboxes. With each message a few agents are timed, others
each time.
"""

import asyncio
import time
from collections.abc import Iterator
from contextvars import Context
from functools import partial
from itertools import islice, repeat
from typing import Any, Protocol

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.codec import decode_marked, decoder_for
from three_mode.agents.handlers.declare import Spec, Topic
from three_mode.agents.runtime.actor import Actor, Owner
from three_mode.agents.runtime.eager import Finished
from three_mode.agents.runtime.raised import log_refusal
from three_mode.agents.runtime.requests import QueuedBroadcast
from three_mode.agents.runtime.run import Run
from three_mode.agents.runtime.unsettled import Unsettled
from three_mode.agents.wire.dead_letters import DeadLetters
from three_mode.errors import BadCall, ConfigurationError
from three_mode.handling import NEVER, HandledCall, current
from transports.bus import BadAddress, Message, Subscription, check_pattern


class BroadcastOwner(Owner, Protocol):
    """Interface of the population that the actors of a fanout belong to."""

    unsettled: Unsettled
    dead_letters: DeadLetters
    timings: list[tuple[Actor, float]]

    def store_timings(self) -> None: ...


TIMED = 256  # an agent is timed with one of so many messages
# Timings kept before their actors get them: to touch an actor that is in no CPU cache costs more than its handler.
_TIMINGS_KEPT = 1024


def check_listener(spec: Spec) -> None:
    """Raise at spawn what would be wrong with every message to a handler of broadcasts."""
    if not spec.options.topics:
        return
    for topic in spec.options.topics:
        try:
            check_pattern(topic.pattern)
        except BadAddress as error:
            raise ConfigurationError(f"{spec.function.__qualname__}: {error}") from None
    pattern = spec.options.topics[0].pattern
    if spec.streams:
        raise ConfigurationError(
            f"{spec.function.__qualname__} streams: nobody could read what it yields on {pattern!r}"
        )
    if spec.schema.least > 1 or not spec.schema.parameters:
        raise ConfigurationError(
            f"{spec.function.__qualname__} listens to {pattern!r}, so it takes one argument: the message"
        )


def share(count: int, agents: int, spread: bool) -> tuple[int, int]:
    """Return the range of agents that are timed with message `count`.

    All agents are timed with one message in `TIMED`, or, with `spread`, a few agents with each message, so that no
    message takes much longer than another.
    """
    turn = count % TIMED
    if spread:
        return turn * agents // TIMED, (turn + 1) * agents // TIMED
    return 0, 0 if turn else agents


class Fanout:
    """Agents of this process that listen to one pattern with one handler."""

    def __init__(self, spec: Spec, topic: Topic, owner: BroadcastOwner) -> None:
        check_listener(spec)
        parameters = spec.schema.parameters
        self.spec, self.topic, self.owner = spec, topic, owner
        self._hint = parameters[0].hint
        self._decode = decoder_for(self._hint)
        self._actors: dict[Actor, int] = {}  # actor -> the count when it joined
        self._agents: tuple[Agent, ...] = ()
        self._order: tuple[Actor, ...] = ()
        self._left = False  # whether actors have left that `_order` still has
        self._busy: dict[Actor, None] = {}
        self._envelope, self._trace = b"", ""  # of the last message: most messages have the same
        self.count = 0
        self.subscription: Subscription | None = None
        self.subscribing: asyncio.Future[None] | None = None  # while an order subscribes

    @property
    def actors(self) -> tuple[Actor, ...]:
        """Actors that listen, in the order in which they are called."""
        self._drop_left()
        return self._order

    def add(self, actors: list[Actor]) -> None:
        """Add actors; the next message reaches them."""
        for actor in actors:
            self._actors[actor] = self.count
            actor.fanouts = (*actor.fanouts, self)
            self.update_busy(actor)
        self.refresh_agents()

    def remove(self, actor: Actor) -> None:
        """Remove an actor; the next message does not reach it."""
        self._actors.pop(actor, None)
        self._busy.pop(actor, None)
        if not self._left:  # once for all that leave in one turn of the loop
            self._left = True
            self.owner.loop.call_soon(self._drop_left)

    def delivered_to(self, actor: Actor) -> int:
        """Return how many messages the actor has begun with here."""
        return self.count - self._actors.get(actor, self.count)

    def refresh_agents(self) -> None:
        """Take the agents from the actors again: actors came or left, or one was restarted with a new agent."""
        self._left = False
        self._order = tuple(self._actors)
        self._agents = tuple(actor.agent for actor in self._order)

    def _drop_left(self) -> None:
        """Take the agents from the actors again, if some have left."""
        if self._left:
            self.refresh_agents()

    def update_busy(self, actor: Actor) -> None:
        """Note whether the actor can begin with a message at once."""
        if actor.ready:
            self._busy.pop(actor, None)
        elif actor in self._actors:
            self._busy[actor] = None

    # delivery ---------------------------------------------------------------------------------------------------------
    def deliver(self, message: Message) -> None:
        """Call the handler of each free agent, and queue the message for busy ones.

        The bus calls this for each message.
        """
        if self._left:
            self.refresh_agents()
        try:
            value = self._decode(message.raw)
        except Exception as error:  # noqa: BLE001  # code of a hint may raise anything
            try:
                value = decode_marked(self._hint, message.raw, error)
            except Exception as still:  # noqa: BLE001
                self._reject(message, still)
                return
        if self.owner.journal is not None or self.owner.session.tracer is not None:
            self._deliver_singly(value, message)
            return
        self.count += 1
        order = self._order
        if self._busy or (self.spec.options.concurrent > 1 and self._has_concurrent_runs()):
            order = self._queue_for_busy(value, message)
        agents = self._agents if order is self._order else tuple(actor.agent for actor in order)
        if message.envelope is not self._envelope:
            self._envelope, self._trace = message.envelope, message.trace
        context = self._context_with(self._trace) if self._trace else self.owner.context
        first, last = share(self.count, len(order), self.spec.plain)  # starting coroutines in parts costs more
        # One iterator for all ranges: slices of the tuples would touch each agent, and most are in no CPU cache.
        left = iter(agents)
        if first:
            self._call_next(order, left, first, value, context, message)
        if first < last:
            self._timed(order, left, last - first, value, context, message)
        if last < len(order):
            self._call_next(order, left, len(order) - last, value, context, message)

    def _call_next(
        self,
        order: tuple[Actor, ...],
        left: Iterator[Agent],
        count: int,
        value: Any,
        context: Context,
        message: Message,
    ) -> None:
        """Call the handler of the next `count` agents of `left`, the iterator over the agents of `order`."""
        if not self.spec.plain:
            self._start_all(order, left, count, value, context, message)
        elif context is self.owner.context:
            self._call_all(order, left, count, value, message)
        else:
            context.run(self._call_all, order, left, count, value, message)

    def _context_with(self, trace: str) -> Context:
        """Return a context whose current call has the message's trace id."""
        context = self.owner.context.copy()
        context.run(current.set, HandledCall(trace=trace.partition("|")[0]))
        return context

    def _call_all(
        self, order: tuple[Actor, ...], left: Iterator[Agent], count: int, value: Any, message: Message
    ) -> None:
        function, some = self.spec.function, islice(left, count)
        while True:
            try:
                for agent in some:
                    function(agent, value)
                return
            except BaseException as error:  # noqa: BLE001  # the other agents get the message all the same
                self._failed(self._last_of(order, left), message, error)

    def _failed(self, actor: Actor, message: Message, error: BaseException) -> None:
        self.owner.unsettled.raised(message.member, message.seq, actor.name)
        actor.broadcast_failed(self.spec, error)

    def _start_all(
        self,
        order: tuple[Actor, ...],
        left: Iterator[Agent],
        count: int,
        value: Any,
        context: Context,
        message: Message,
    ) -> None:
        nobody: list[_NoCaller] = []  # one for all agents that have to wait

        def suspended(task: "asyncio.Task[None]", own: Context) -> Finished:
            actor = self._last_of(order, left)
            actor.turn += 1
            trace = own.run(current.get).trace
            if not nobody:
                nobody.append(_NoCaller(self.owner.unsettled, message))
            run = Run(actor.name, actor.turn, NEVER, trace, "", actor, self.spec, nobody[0])
            own.run(current.set, run)
            actor.run_suspended(run, task)
            return partial(actor.run_ended, run)

        def failed(error: BaseException) -> None:
            self._failed(self._last_of(order, left), message, error)

        works = map(self.spec.function, islice(left, count), repeat(value))
        self.owner.starter.start_each(works, context, suspended, failed)

    @staticmethod
    def _last_of(order: tuple[Actor, ...], left: Iterator[Agent]) -> Actor:
        """Return the actor whose agent the iterator has given last."""
        return order[len(order) - left.__length_hint__() - 1]  # type: ignore[attr-defined]

    def _timed(
        self,
        order: tuple[Actor, ...],
        left: Iterator[Agent],
        count: int,
        value: Any,
        context: Context,
        message: Message,
    ) -> None:
        timings = self.owner.timings
        for _ in range(count):
            started = time.perf_counter()
            self._call_next(order, left, 1, value, context, message)
            timings.append((self._last_of(order, left), time.perf_counter() - started))
        if len(timings) >= _TIMINGS_KEPT:
            self.owner.loop.call_soon(self.owner.store_timings)

    def _deliver_singly(self, value: Any, message: Message) -> None:
        """Give the message to each actor as any other message, to be recorded or traced."""
        for actor in self._order:
            actor.accept(self.spec, QueuedBroadcast(value, message, actor.name, self.owner.unsettled))

    # busy agents ------------------------------------------------------------------------------------------------------
    def _has_concurrent_runs(self) -> bool:
        return any(actor.side for actor in self._order)

    def _queue_for_busy(self, value: Any, message: Message) -> tuple[Actor, ...]:
        """Queue the message for busy actors, and return the others."""
        free = []
        for actor in self._order:
            if actor.free_for(self.spec):
                free.append(actor)
            else:
                self._actors[actor] += 1  # counted where it begins
                actor.accept(self.spec, QueuedBroadcast(value, message, actor.name, self.owner.unsettled))
        return tuple(free)

    def _reject(self, message: Message, error: Exception) -> None:
        """Count an unreadable message as an error of each agent, as lost for its receipt, and as one dead letter."""
        hint = self.spec.schema.parameters[0]
        problem, _, path = str(error).partition(" - at ")
        wrong = BadCall(
            f"{self.spec.function.__qualname__} cannot take what {message.sender} published on {message.topic}: "
            f"argument {hint.name!r}: {problem}{' at ' + path if path else ''}",
            handler=self.spec.name,
            argument=hint.name,
        )
        for actor in self._order:
            actor.note_error(wrong)
            self.owner.unsettled.lost(message.member, message.seq, actor.name)
        to = f"{len(self._order)} agents on {self.topic.pattern}"
        self.owner.dead_letters.add(to, self.spec.name, message.sender, "bad_call", wrong.message, message.raw)
        log_refusal(to, wrong)


class _NoCaller:
    """Request of a broadcast that began at once: there is no caller to answer."""

    __slots__ = ("_key", "_unsettled")
    trace, sender, raw = "", "", b""
    deadline = float("inf")
    streams, tells, answered = False, True, True

    def __init__(self, unsettled: Unsettled, message: Message) -> None:
        self._unsettled, self._key = unsettled, (message.member, message.seq)

    def raised(self, agent: str) -> None:
        self._unsettled.raised(*self._key, agent)

    def answer(self, result: Any) -> None: ...
    def refuse(self, error: Any) -> None: ...
    def abandoned(self) -> None: ...
    def on_cancel(self, callback: Any) -> None: ...
    def arguments(self, agent: str, spec: Spec) -> Any:
        raise AssertionError("it has begun already")

    def open_parts(self) -> Any:
        raise AssertionError("a broadcast has no reply")
