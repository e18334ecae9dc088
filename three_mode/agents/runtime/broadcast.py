"""One broadcast to the many agents of this process that listen in the same way.

There is one bus subscription for each pattern and handler of a class, however many agents share it: a message is decoded and
checked once, then the handler is called for each. While all of them are free that is one plain loop; the few that are busy
get it through their mailboxes. With each message a few agents are timed, others each time.
"""

import asyncio
import time
from collections.abc import Iterator
from contextvars import Context
from functools import partial
from itertools import islice, repeat
from typing import Any, Protocol

import msgspec

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.codec import decoder_for
from three_mode.agents.handlers.declare import Spec, Topic
from three_mode.agents.runtime.actor import Actor, Owner, Run
from three_mode.agents.runtime.eager import Finished
from three_mode.agents.runtime.requests import QueuedBroadcast
from three_mode.agents.runtime.unsettled import Unsettled
from three_mode.agents.wire.dead_letters import DeadLetters
from three_mode.errors import BadCall, ConfigurationError
from three_mode.handling import NEVER, Call, current
from transports.bus import BadAddress, Message, Subscription, check_pattern


class BroadcastOwner(Owner, Protocol):
    """What a fanout asks of the population that its actors belong to."""

    unsettled: Unsettled
    dead_letters: DeadLetters
    took: list[tuple[Actor, float]]

    def tell_times(self) -> None: ...


TIMED = 256  # of so many messages an agent is timed with one
_TOLD = 1024  # times that are kept before they are told to their agents: a cell that is in no cache costs more than its handler


def check_listener(spec: Spec) -> None:
    """Says at spawn what would be wrong with every message."""
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
    """From which to which of so many agents message `count` is timed: all of them with one in `TIMED`, or, spread, a few
    with each, so that no message takes much longer than another."""
    turn = count % TIMED
    if spread:
        return turn * agents // TIMED, (turn + 1) * agents // TIMED
    return 0, 0 if turn else agents


class Fanout:
    """The agents that listen to one pattern with one handler."""

    def __init__(self, spec: Spec, topic: Topic, owner: BroadcastOwner) -> None:
        check_listener(spec)
        parameters = spec.schema.parameters
        self.spec, self.topic, self.owner = spec, topic, owner
        hint = parameters[0].hint
        self._decode = None if hint in (Any, object) else decoder_for(hint)
        self._actors: dict[Actor, int] = {}  # and the count when it joined
        self._agents: tuple[Agent, ...] = ()
        self._order: tuple[Actor, ...] = ()
        self._busy: dict[Actor, None] = {}
        self._envelope, self._trace = b"", ""  # of the last message: most have the same
        self.count = 0
        self.subscription: Subscription | None = None

    @property
    def actors(self) -> tuple[Actor, ...]:
        return self._order

    def add(self, actors: list[Actor]) -> None:
        for actor in actors:
            self._actors[actor] = self.count
            actor.fanouts = (*actor.fanouts, self)
            self.look(actor)
        self.changed()

    def remove(self, actor: Actor) -> None:
        self._actors.pop(actor, None)
        self._busy.pop(actor, None)
        self.changed()

    def heard(self, actor: Actor) -> int:
        """How many messages it began with here."""
        return self.count - self._actors.get(actor, self.count)

    def changed(self) -> None:
        """Agents came or went, or one was made anew."""
        self._order = tuple(self._actors)
        self._agents = tuple(actor.agent for actor in self._order)

    def look(self, actor: Actor) -> None:
        """Keeps the books on who cannot take a message at once."""
        if actor.ready:
            self._busy.pop(actor, None)
        elif actor in self._actors:
            self._busy[actor] = None

    # delivery ---------------------------------------------------------------------------------------------------------
    def deliver(self, message: Message) -> None:
        try:
            value = message.payload if self._decode is None else self._decode(message.raw)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            self._misfit(message, error)
            return
        if self.owner.tape is not None or self.owner.session.tracer is not None:
            self._one_by_one(value, message)
            return
        self.count += 1
        order = self._order
        if self._busy or (self.spec.options.concurrent > 1 and self._crowded()):
            order = self._put_aside(value, message)
        agents = self._agents if order is self._order else tuple(actor.agent for actor in order)
        if message.envelope is not self._envelope:
            self._envelope, self._trace = message.envelope, message.trace
        context = self._context(self._trace) if self._trace else self.owner.context
        first, last = share(self.count, len(order), self.spec.plain)  # to start coroutines in parts costs more
        # One iterator for all parts: to cut the tuples would touch each cell, and most are in no cache.
        left = iter(agents)
        if first:
            self._each(order, left, first, value, context)
        if first < last:
            self._timed(order, left, last - first, value, context)
        if last < len(order):
            self._each(order, left, len(order) - last, value, context)

    def _each(self, order: tuple[Actor, ...], left: Iterator[Agent], count: int, value: Any, context: Context) -> None:
        """The next `count` agents of `left`, which goes over those of `order`."""
        if not self.spec.plain:
            self._start_all(order, left, count, value, context)
        elif context is self.owner.context:
            self._call_all(order, left, count, value)
        else:
            context.run(self._call_all, order, left, count, value)

    def _context(self, trace: str) -> Context:
        context = self.owner.context.copy()
        context.run(current.set, Call(trace=trace.partition("|")[0]))
        return context

    def _call_all(self, order: tuple[Actor, ...], left: Iterator[Agent], count: int, value: Any) -> None:
        function, some = self.spec.function, islice(left, count)
        while True:
            try:
                for agent in some:
                    function(agent, value)
                return
            except BaseException as error:  # noqa: BLE001  # it harms no other: the loop goes on behind it
                self._at(order, left).failed_in_fanout(self.spec, error)

    def _start_all(
        self, order: tuple[Actor, ...], left: Iterator[Agent], count: int, value: Any, context: Context
    ) -> None:
        def suspended(task: "asyncio.Task[None]", own: Context) -> Finished:
            actor = self._at(order, left)
            actor.turn += 1
            trace = own.run(current.get).trace
            run = Run(actor.name, actor.turn, NEVER, trace, "", actor, self.spec, _UNANSWERED)
            own.run(current.set, run)
            actor.suspended(run, task)
            return partial(actor.ended, run)

        def failed(error: BaseException) -> None:
            self._at(order, left).failed_in_fanout(self.spec, error)

        works = map(self.spec.function, islice(left, count), repeat(value))
        self.owner.starter.start_each(works, context, suspended, failed)

    @staticmethod
    def _at(order: tuple[Actor, ...], left: Iterator[Agent]) -> Actor:
        """The cell that an iterator over the agents has just given."""
        return order[len(order) - left.__length_hint__() - 1]  # type: ignore[attr-defined]

    def _timed(self, order: tuple[Actor, ...], left: Iterator[Agent], count: int, value: Any, context: Context) -> None:
        took = self.owner.took
        for _ in range(count):
            started = time.perf_counter()
            self._each(order, left, 1, value, context)
            took.append((self._at(order, left), time.perf_counter() - started))
        if len(took) >= _TOLD:
            self.owner.loop.call_soon(self.owner.tell_times)

    def _one_by_one(self, value: Any, message: Message) -> None:
        """What is recorded or traced goes the way of all messages."""
        for actor in self._order:
            done = self.owner.unsettled.put_aside(message.member, message.seq, actor.name)
            actor.accept(self.spec, QueuedBroadcast(value, message, done))

    # those that cannot take it now ------------------------------------------------------------------------------------
    def _crowded(self) -> bool:
        return any(actor.side for actor in self._order)

    def _put_aside(self, value: Any, message: Message) -> tuple[Actor, ...]:
        """Queues it for those that are busy; the others are returned."""
        free = []
        for actor in self._order:
            if actor.free_for(self.spec):
                free.append(actor)
            else:
                self._actors[actor] += 1  # counted where it begins
                done = self.owner.unsettled.put_aside(message.member, message.seq, actor.name)
                actor.accept(self.spec, QueuedBroadcast(value, message, done))
        return tuple(free)

    def _misfit(self, message: Message, error: Exception) -> None:
        """Nobody here can read it: counted at each, one dead letter, and those who ask for the receipt see it as lost."""
        hint = self.spec.schema.parameters[0]
        said = str(error).partition(" - at ")
        wrong = BadCall(
            f"{self.spec.function.__qualname__} cannot take what {message.sender} published on {message.topic}: "
            f"argument {hint.name!r}: {said[0]}{' at ' + said[2] if said[2] else ''}",
            handler=self.spec.name,
            argument=hint.name,
        )
        for actor in self._order:
            actor.note(wrong)
            self.owner.unsettled.lost(message.member, message.seq, actor.name)
        to = f"{len(self._order)} agents on {self.topic.pattern}"
        self.owner.dead_letters.add(to, self.spec.name, message.sender, "bad_call", wrong.message, message.raw)


class _Unanswered:
    """What a broadcast that began at once has instead of a caller."""

    __slots__ = ()
    trace, sender, raw = "", "", b""
    deadline = float("inf")
    streams, tells, answered = False, True, True

    def answer(self, result: Any) -> None: ...
    def refuse(self, error: Any) -> None: ...
    def abandoned(self) -> None: ...
    def on_cancel(self, callback: Any) -> None: ...
    def arguments(self, agent: str, spec: Spec) -> Any:
        raise AssertionError("it has begun already")

    def open_parts(self) -> Any:
        raise AssertionError("a broadcast has no reply")


_UNANSWERED = _Unanswered()
