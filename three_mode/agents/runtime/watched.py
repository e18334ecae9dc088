"""A population that somebody looks at: who sends how much to which group, and the last messages of single agents.

While nobody looks, no line of this runs. While somebody does, actors and fanouts are of classes that count first, and
are of their own classes again once nobody has asked for a while.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from three_mode.agents.calling.caller import Caller, Handler
from three_mode.agents.handlers.declare import Spec
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.broadcast import Fanout
from three_mode.agents.runtime.looked_at import AgentLook
from three_mode.agents.runtime.population import Population
from three_mode.agents.runtime.requests import Incoming
from three_mode.agents.runtime.run import Run
from three_mode.agents.runtime.sampling import RequestSampling
from three_mode.agents.wire.orders import HostSettled, SettledOrder
from three_mode.agents.wire.watching import AskSight, ReceiptSight, TurnSight, WatchOrder, WatchReport
from three_mode.errors import ThreeModeError
from three_mode.handling import current
from transports.bus import Message

RECEIPTS = 64
MOST_LOOKED_AT = 64  # agents at a time
_EXACT = 500  # messages from one order to the next that are counted one by one; of more, some count for others
_BLOCKED = 0.3  # seconds by which a loop is late that was blocked
_GRACE = 1.5  # seconds that it then has for the orders of that time
_random = random.Random()  # a program's own seed stays as it is


class WatchedActor(Actor):
    """An actor whose messages are counted.

    Each of its methods asks who looks: a message may end after the last one has gone.
    """

    __slots__ = ()

    def begin(self, spec: Spec, request: Incoming, queued_at: float) -> None:
        watch: PopulationWatch | None = self.owner.watch
        if watch is None:
            Actor.begin(self, spec, request, queued_at)
            return
        watch.gap -= 1
        if watch.gap <= 0:
            watch.count(request.sender, self.group)
        sampling, turn = watch.sampling, self.turn
        if sampling is None or not sampling.takes(self.name, turn + 1, request):
            Actor.begin(self, spec, request, queued_at)
            return
        sampling.began(self.name, turn + 1, request.sender, queued_at)
        Actor.begin(self, spec, request, queued_at)
        if self.turn == turn:  # it was refused, and no handler saw it
            sampling.refused(self.name, turn + 1)

    def run_ended(self, run: Run, result: Any, failure: BaseException | None) -> None:
        watch: PopulationWatch | None = self.owner.watch
        if watch is not None and watch.sampling is not None and watch.sampling.open:
            watch.sampling.ended(run, failure)
        Actor.run_ended(self, run, result, failure)


class LookedAtActor(WatchedActor):
    """An actor whose messages are kept for a while, and timed."""

    __slots__ = ()

    @property
    def _look(self) -> AgentLook | None:
        watch: PopulationWatch | None = self.owner.watch
        return None if watch is None else watch.looks.get(self.name)

    def begin(self, spec: Spec, request: Incoming, queued_at: float) -> None:
        look = self._look
        if look is None:
            WatchedActor.begin(self, spec, request, queued_at)
            return
        turn, entry = self.turn, look.began(self.turn + 1, spec, request)
        WatchedActor.begin(self, spec, request, queued_at)
        if self.turn == turn:  # it was refused, and no handler saw it
            look.refused(turn + 1, entry)

    def run_ended(self, run: Run, result: Any, failure: BaseException | None) -> None:
        look = self._look
        if look is not None:
            look.ended(run, failure)
        WatchedActor.run_ended(self, run, result, failure)

    def note_error(self, error: ThreeModeError) -> None:
        look = self._look
        if look is not None:
            look.failed(error)
        Actor.note_error(self, error)


class WatchedFanout(Fanout):
    """A fanout whose messages are counted."""

    def _call_next(
        self, order: tuple[Actor, ...], left: Iterator[Any], count: int, value: Any, context: Any, message: Message
    ) -> None:
        watch: PopulationWatch | None = self.owner.watch
        if watch is not None:
            watch.count_broadcast(self, message, count)
        Fanout._call_next(self, order, left, count, value, context, message)


class WatchedCaller(Caller):
    """Verbs of an agent, while requests are sampled: it is noted when an ask of a sampled turn began and ended."""

    __slots__ = ()

    async def ask(
        self, to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], within: float | None
    ) -> Any:
        watch: PopulationWatch | None = self.actor.owner.watch if isinstance(self.actor, Actor) else None
        sampling = None if watch is None else watch.sampling
        asks = sampling.asks_of(current.get()) if sampling is not None and sampling.open else None
        if asks is None:
            return await Caller.ask(self, to, handler, args, kwargs, within)
        began, error = time.perf_counter(), ""
        try:
            return await Caller.ask(self, to, handler, args, kwargs, within)
        except BaseException as failure:
            error = type(failure).__name__
            raise
        finally:
            name = handler if isinstance(handler, str) else getattr(handler, "__name__", "")
            asks.append(AskSight(to, name, began, time.perf_counter(), error))


class PopulationWatch:
    """What is counted of one population while somebody looks."""

    def __init__(self, population: Population, content: bool) -> None:
        self._population, self._content = population, content
        self.began = time.time()
        self.looks: dict[str, AgentLook] = {}
        self._sent: dict[tuple[str, str], int] = {}  # sender, receiver's group
        self.gap = 1
        """Messages until the one whose sender is looked at, which counts for all of these."""
        self._gap, self._mean_gap, self._messages = 1, 1, 0
        self._heard: dict[tuple[str, WatchedFanout], int] = {}  # sender, fanout: times that an agent got a broadcast
        self._flows: dict[tuple[str, str], int] = {}  # group, group
        self._receipts: deque[ReceiptSight] = deque(maxlen=RECEIPTS)
        self._receipt = 0
        self.sampling: RequestSampling | None = None
        self._turn = 0  # number of the last turn of a sampled request, over all times that somebody looked
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
                self.sampling = RequestSampling(population.session, self._turn)
            self._note_asks()
            self.sampling.asked(order.requests, until)
            turns = self.sampling.since(order.since)
        sight = None
        actor = population.actors.get(order.agent)
        if actor is not None:
            look = self._look(actor)
            look.until = until
            sight = look.sight(actor)
        self._again(order.within)
        messages = self._messages
        self._fold()
        self._mean_gap = 1 + (self._messages - messages) // _EXACT
        if self._mean_gap == 1:  # the next message is counted, and with it those since the last one that was
            self._gap, self.gap = self._gap - self.gap + 1, 1
        flows = tuple((source, target, count) for (source, target), count in self._flows.items())
        receipts, host = tuple(self._receipts), population.label
        return WatchReport(host, self.began, flows, sight, receipts, self._receipt, turns, self._messages)

    def _look(self, actor: Actor) -> AgentLook:
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

    def _note_asks(self) -> None:
        for actor in self._population.actors.values():
            if type(actor.caller) is Caller:  # that of a recording notes what it needs itself
                _become(actor.caller, WatchedCaller)

    def _again(self, within: float) -> None:
        """Look again, when the time of an order is over, whether anybody does."""
        if self._timer is None:
            self._timer = self._population.loop.call_later(within + 0.05, self._end_what_is_over)

    def _end_what_is_over(self) -> None:
        timer, self._timer, now = self._timer, None, time.monotonic()
        if timer is not None and self._population.loop.time() - timer.when() > _BLOCKED:
            self._again(_GRACE)  # the loop was blocked: an order may have come meanwhile, and wait behind this call
            return
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
            _become(actor, WatchedActor if self._flows_until > time.monotonic() else Actor)

    def _sample_no_more(self) -> None:
        if self.sampling is not None:
            self.sampling.close()
            self._turn, self.sampling = self.sampling.number, None
            for actor in self._population.actors.values():
                if type(actor.caller) is WatchedCaller:
                    _become(actor.caller, Caller)

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
        """Count a message to an agent of a group, and with it those since the last one that was counted.

        Where there are many, gaps of random length stand between those that are counted: no rhythm of senders hides.
        """
        key = (sender, group)
        self._sent[key] = self._sent.get(key, 0) + self._gap
        self._gap = self.gap = 1 if self._mean_gap == 1 else _random.randrange(1, 2 * self._mean_gap)

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
        self._messages += sum(sent.values())
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


def _become(one: Actor | Fanout | Caller, kind: type) -> None:
    one.__class__ = kind


def group_of(name: str) -> str:
    """The group of a sender; of a program or a host, its own name."""
    group, slash, number = name.rpartition("/")
    return group if slash and number.isdigit() else name
