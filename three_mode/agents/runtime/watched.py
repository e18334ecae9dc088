"""A population that somebody looks at: who sends how much to which group, and the last messages of single agents.

While nobody looks, no line of this runs. While somebody does, actors and fanouts are of classes that count first, and
are of their own classes again once nobody has asked for a while.
"""

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from three_mode.agents.handlers.declare import Spec
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.broadcast import Fanout
from three_mode.agents.runtime.population import Population
from three_mode.agents.runtime.requests import Incoming
from three_mode.agents.runtime.run import Run
from three_mode.agents.runtime.sampling import RequestSampling
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.orders import HostSettled, SettledOrder
from three_mode.agents.wire.watching import (
    AgentSight,
    HandlerSight,
    MessageSight,
    ReceiptSight,
    TurnSight,
    WatchOrder,
    WatchReport,
)
from three_mode.errors import ThreeModeError
from three_mode.histogram import Histogram
from transports.bus import Message

KEPT = 20  # messages and errors of an agent that are kept
RECEIPTS = 64
MOST_LOOKED_AT = 64  # agents at a time
_LONGEST = 400  # characters of a content
_READ_AT_MOST = 64 * 1024  # bytes of a message whose content is read


class WatchedActor(Actor):
    """An actor whose messages are counted."""

    __slots__ = ()

    def begin(self, spec: Spec, request: Incoming, queued_at: float) -> None:
        watch = self.owner.watch
        watch.count(request.sender, self.group)
        if watch.sampling is None:
            Actor.begin(self, spec, request, queued_at)
            return
        turn = self.turn
        watch.sampling.began(self.name, turn + 1, request, queued_at)
        Actor.begin(self, spec, request, queued_at)
        if self.turn == turn:  # it was refused, and no handler saw it
            watch.sampling.refused(self.name, turn + 1)

    def run_ended(self, run: Run, result: Any, failure: BaseException | None) -> None:
        if self.owner.watch.sampling is not None:
            self.owner.watch.sampling.ended(run, failure)
        Actor.run_ended(self, run, result, failure)


class LookedAtActor(WatchedActor):
    """An actor whose messages are kept for a while, and timed."""

    __slots__ = ()

    def begin(self, spec: Spec, request: Incoming, queued_at: float) -> None:
        look = self.owner.watch.looks.get(self.name)
        if look is None:
            WatchedActor.begin(self, spec, request, queued_at)
            return
        turn, entry = self.turn, look.began(self.turn + 1, spec, request)
        WatchedActor.begin(self, spec, request, queued_at)
        if self.turn == turn:  # it was refused, and no handler saw it
            look.refused(turn + 1, entry)

    def run_ended(self, run: Run, result: Any, failure: BaseException | None) -> None:
        look = self.owner.watch.looks.get(self.name)
        if look is not None:
            look.ended(run, failure)
        WatchedActor.run_ended(self, run, result, failure)

    def note_error(self, error: ThreeModeError) -> None:
        look = self.owner.watch.looks.get(self.name)
        if look is not None:
            look.failed(error)
        Actor.note_error(self, error)


class WatchedFanout(Fanout):
    """A fanout whose messages are counted."""

    def _call_next(
        self, order: tuple[Actor, ...], left: Iterator[Any], count: int, value: Any, context: Any, message: Message
    ) -> None:
        watch: PopulationWatch = self.owner.watch
        watch.count_broadcast(self, message, count)
        Fanout._call_next(self, order, left, count, value, context, message)


class PopulationWatch:
    """What is counted of one population while somebody looks."""

    def __init__(self, population: Population, content: bool) -> None:
        self._population, self._content = population, content
        self.began = time.time()
        self.looks: dict[str, AgentLook] = {}
        self._sent: dict[tuple[str, str], int] = {}  # sender, receiver's group
        self._heard: dict[tuple[str, WatchedFanout], int] = {}  # sender, fanout: times that an agent got a broadcast
        self._flows: dict[tuple[str, str], int] = {}  # group, group
        self._receipts: deque[ReceiptSight] = deque(maxlen=RECEIPTS)
        self._receipt = 0
        self.sampling: RequestSampling | None = None
        self._flows_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._last: tuple[str, str, int] = ("", "", -1)

    # the order --------------------------------------------------------------------------------------------------------
    def asked(self, order: WatchOrder) -> WatchReport:
        """Count for a while from now on, and say what has been counted so far."""
        population, until = self._population, time.monotonic() + order.within
        if order.flows or order.requests:
            self._flows_until = max(self._flows_until, until)
            self._count_flows()
        turns: tuple[TurnSight, ...] = ()
        if order.requests:
            if self.sampling is None:
                self.sampling = RequestSampling(population.session)
            self.sampling.rate, self.sampling.until = order.requests, until
            turns = self.sampling.since(order.since)
        sight = None
        actor = population.actors.get(order.agent)
        if actor is not None:
            look = self._look(actor)
            look.until = until
            sight = look.sight(actor)
        self._again(order.within)
        self._fold()
        flows = tuple((source, target, count) for (source, target), count in self._flows.items())
        return WatchReport(population.label, self.began, flows, sight, tuple(self._receipts), self._receipt, turns)

    def _look(self, actor: Actor) -> "AgentLook":
        look = self.looks.get(actor.name)
        if look is None or look.incarnation is not actor.agent:
            while len(self.looks) >= MOST_LOOKED_AT:
                self._leave(next(iter(self.looks)))
            look = self.looks[actor.name] = AgentLook(actor, self._content)
            self._count_broadcasts()
        if type(actor) is not LookedAtActor:
            _become(actor, LookedAtActor)
        return look

    def _count_flows(self) -> None:
        for actor in self._population.actors.values():
            if type(actor) is Actor:
                _become(actor, WatchedActor)
        self._count_broadcasts()

    def _count_broadcasts(self) -> None:
        for fanout in self._population.fanouts.values():
            if type(fanout) is Fanout:
                _become(fanout, WatchedFanout)

    def _again(self, within: float) -> None:
        """Look again, when the time of an order is over, whether anybody does."""
        if self._timer is None:
            self._timer = self._population.loop.call_later(within + 0.05, self._end_what_is_over)

    def _end_what_is_over(self) -> None:
        self._timer, now = None, time.monotonic()
        for name in [name for name, look in self.looks.items() if look.until <= now]:
            self._leave(name)
        if self.sampling is not None and self.sampling.until <= now:
            self._sample_no_more()
        over = self._flows_until <= now
        if over:
            for actor in self._population.actors.values():
                if type(actor) is WatchedActor:
                    _become(actor, Actor)
        if over and not self.looks:
            self.end()
            return
        self._again(max([self._flows_until, *(look.until for look in self.looks.values())]) - now)

    def _leave(self, name: str) -> None:
        del self.looks[name]
        actor = self._population.actors.get(name)
        if actor is not None and type(actor) is LookedAtActor:
            _become(actor, Actor)

    def _sample_no_more(self) -> None:
        if self.sampling is not None:
            self.sampling.close()
            self.sampling = None

    def end(self) -> None:
        """Count nothing more."""
        self._sample_no_more()
        if self._timer is not None:
            self._timer.cancel()
        for actor in self._population.actors.values():
            if type(actor) in (WatchedActor, LookedAtActor):
                _become(actor, Actor)
        for fanout in self._population.fanouts.values():
            if type(fanout) is WatchedFanout:
                _become(fanout, Fanout)
        if self._population.watch is self:
            self._population.watch = None

    # counting ---------------------------------------------------------------------------------------------------------
    def count(self, sender: str, group: str) -> None:
        """Count a message to an agent of a group."""
        key = (sender, group)
        self._sent[key] = self._sent.get(key, 0) + 1

    def count_broadcast(self, fanout: WatchedFanout, message: Message, agents: int) -> None:
        """Count a broadcast for as many agents of a fanout."""
        key = (message.sender, fanout)
        self._heard[key] = self._heard.get(key, 0) + agents
        if self.looks:
            place = (message.member, fanout.spec.name, message.seq)
            if place != self._last:  # a message comes here in up to three parts
                self._last = place
                for actor in fanout.actors:
                    look = self.looks.get(actor.name)
                    if look is not None:
                        look.heard(fanout.spec, message)

    def settled(self, order: SettledOrder, found: HostSettled) -> None:
        """Keep what somebody was told who asked for a receipt."""
        self._receipt += 1
        self._receipts.append(
            ReceiptSight(
                self._receipt,
                time.time(),
                order.member,
                order.seq,
                order.topic,
                found.agents,
                found.late,
                found.lost,
                found.failed,
            )
        )

    def _fold(self) -> None:
        """Sum up by groups, so that what is kept does not grow with the agents that send."""
        sent, self._sent = self._sent, {}
        for (sender, group), count in sent.items():
            self._add(group_of(sender), group, count)
        heard, self._heard = self._heard, {}
        for (sender, fanout), count in heard.items():
            groups: dict[str, int] = {}
            for actor in fanout.actors:
                groups[actor.group] = groups.get(actor.group, 0) + 1
            for group, agents in groups.items():
                self._add(group_of(sender), group, count * agents // max(1, len(fanout.actors)))

    def _add(self, source: str, target: str, count: int) -> None:
        key = (source, target)
        if key in self._flows or len(self._flows) < 1000:
            self._flows[key] = self._flows.get(key, 0) + count


class _Kept:
    """A message that is kept, while it is not known what becomes of it."""

    __slots__ = ("began", "content", "handler", "outcome", "seconds", "sender", "size", "when")

    def __init__(self, sender: str, handler: str, size: int, content: str) -> None:
        self.sender, self.handler, self.size, self.content = sender, handler, size, content
        self.when, self.began = time.time(), time.perf_counter()
        self.outcome, self.seconds = "running", None  # type: str, float | None

    def sight(self) -> MessageSight:
        return MessageSight(self.when, self.sender, self.handler, self.size, self.outcome, self.seconds, self.content)


class _HandlerLook:
    __slots__ = ("count", "errors", "latency")

    def __init__(self) -> None:
        self.count = self.errors = 0
        self.latency = Histogram()


class AgentLook:
    """What is kept of one agent while somebody looks at it."""

    def __init__(self, actor: Actor, content: bool) -> None:
        self.incarnation, self.until = actor.agent, 0.0
        self._content, self._since = content, time.time()
        self._handlers: dict[str, _HandlerLook] = {}
        self._messages: deque[_Kept] = deque(maxlen=KEPT)
        self._errors: deque[MessageSight] = deque(maxlen=KEPT)
        self._running: dict[int, _Kept] = {}  # turn
        self._before = {fanout: fanout.delivered_to(actor) for fanout in actor.fanouts}
        self._file, self._line = place_of_class(type(actor.agent))

    def began(self, turn: int, spec: Spec, request: Incoming) -> _Kept:
        """A handler is about to begin with a message."""
        entry = _Kept(request.sender, spec.name, len(request.raw), self._read(request.raw))
        self._messages.append(entry)
        self._running[turn] = entry
        self._handler(spec).count += 1
        return entry

    def refused(self, turn: int, entry: _Kept) -> None:
        """It did not begin."""
        self._running.pop(turn, None)
        entry.outcome = "refused"

    def heard(self, spec: Spec, message: Message) -> None:
        """A handler was called with a broadcast, beside all other agents."""
        entry = _Kept(message.sender, spec.name, len(message.raw), self._read(message.raw))
        entry.outcome = "broadcast"
        self._messages.append(entry)

    def ended(self, run: Run, failure: BaseException | None) -> None:
        """A handler has ended."""
        entry = self._running.pop(run.turn, None)
        if entry is None:
            return
        entry.seconds = time.perf_counter() - entry.began
        handler = self._handler(run.spec)
        handler.latency.add(entry.seconds)
        if failure is None:
            entry.outcome = "done"
        elif run.cancelled:
            entry.outcome = "cancelled"
        else:
            handler.errors += 1
            entry.outcome = f"{type(failure).__name__}: {failure}"[:_LONGEST]

    def failed(self, error: ThreeModeError) -> None:
        """An error of the agent was counted."""
        handler = str(getattr(error, "handler", "") or "")
        self._errors.append(MessageSight(time.time(), "", handler, 0, wire_errors.text_of(error)[:_LONGEST]))

    def sight(self, actor: Actor) -> AgentSight:
        """What there is to see."""
        waiting = [
            MessageSight(0.0, request.sender, spec.name, len(request.raw), "waiting", time.perf_counter() - queued)
            for spec, request, queued in list(actor.waiting or ())[:KEPT]
        ]
        heard: dict[str, int] = {}
        for fanout in actor.fanouts:
            count = fanout.delivered_to(actor) - self._before.get(fanout, 0)
            heard[fanout.spec.name] = heard.get(fanout.spec.name, 0) + count
        return AgentSight(
            name=actor.name,
            kind=type(actor.agent).__name__,
            file=self._file,
            line=self._line,
            since=self._since,
            limit=actor.agent.mailbox,
            waiting=tuple(waiting),
            handlers=tuple(self._handler_sight(spec, heard.get(name, 0)) for name, spec in actor.specs.items()),
            messages=tuple(entry.sight() for entry in reversed(self._messages)),
            errors=tuple(reversed(self._errors)),
        )

    def _handler_sight(self, spec: Spec, heard: int) -> HandlerSight:
        look = self._handler(spec)
        file, line = place_of(spec.function)
        return HandlerSight(
            name=spec.name,
            file=file,
            line=line,
            topics=tuple(topic.pattern for topic in spec.options.topics),
            streams=spec.streams,
            count=look.count + heard,
            errors=look.errors,
            p50=look.latency.quantile(0.5),
            p99=look.latency.quantile(0.99),
        )

    def _handler(self, spec: Spec) -> _HandlerLook:
        look = self._handlers.get(spec.name)
        if look is None:
            look = self._handlers[spec.name] = _HandlerLook()
        return look

    def _read(self, raw: bytes | memoryview) -> str:
        """What a message says, as JSON that is cut short, where it may be shown."""
        if not self._content:
            return ""
        if len(raw) > _READ_AT_MOST:
            return f"{len(raw)} bytes"
        try:
            text = msgspec.json.encode(msgspec.msgpack.decode(raw)).decode()
        except Exception as error:  # noqa: BLE001  # whatever was sent
            return f"cannot be read: {error}"[:_LONGEST]
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _become(one: Actor | Fanout, kind: type) -> None:
    one.__class__ = kind


def group_of(name: str) -> str:
    """The group of a sender; of a program or a host, its own name."""
    group, slash, number = name.rpartition("/")
    return group if slash and number.isdigit() else name


def place_of(function: Callable[..., Any]) -> tuple[str, int]:
    """File and line of a function."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return ("", 0) if code is None else (code.co_filename, code.co_firstlineno)


def place_of_class(kind: type) -> tuple[str, int]:
    """File and line of a class; no line where its source is not at hand."""
    try:
        file = inspect.getsourcefile(kind) or ""
        return file, inspect.getsourcelines(kind)[1]
    except (OSError, TypeError):
        return "", 0
