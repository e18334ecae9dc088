"""Population: the actors of one process, their roles and subscriptions, and the way of a message to its actor."""

import asyncio
import contextvars
import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any

from three_mode.agents.agent import Agent
from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.declare import Spec, Topic
from three_mode.agents.keeping.keeper import Keeper
from three_mode.agents.runtime import restoring
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.broadcast import Fanout
from three_mode.agents.runtime.eager import Starter
from three_mode.agents.runtime.journal import Journal
from three_mode.agents.runtime.raised import RaisedHandlers, log_refusal
from three_mode.agents.runtime.requests import FromBus, Incoming, QueuedBroadcast
from three_mode.agents.runtime.startup import NoNotes, StartNotes, Startup
from three_mode.agents.runtime.state import STOPPING, State
from three_mode.agents.runtime.unsettled import Unsettled
from three_mode.agents.wire.orders import Failed, role_name
from three_mode.errors import BadCall, NoSuchAgent, ThreeModeError
from transports.bus import Evicted, Gap, Policy, SubscribeOptions, WriterGone, matches

log = logging.getLogger("three_mode.agents")


class Population:
    """Actors of one process, with their roles and subscriptions."""

    def __init__(self, session: Session, label: str, tell_supervisor: Callable[[Failed], None]) -> None:
        self.session, self.label, self.dead_letters = session, label, session.dead_letters
        self.loop = asyncio.get_running_loop()
        self.starter = Starter(self.loop)
        self.context = contextvars.copy_context()
        self.unsettled = Unsettled()
        self.raised = RaisedHandlers(self.loop)
        self.actors: dict[str, Actor] = {}
        self.leaving: set[Actor] = set()
        """Actors that have ended themselves, until their supervisor knows."""
        self.ending: dict[str, asyncio.Future[None]] = {}
        """Agents that an order stops, and what is done once they have ended."""
        self.startups: dict[str, Startup] = {}
        """Agents that are being made or restarted."""
        self.tickets: dict[str, int] = {}
        """Agent -> the ticket of the order that restarted it last."""
        self.fanouts: dict[tuple[Spec, Topic], Fanout] = {}
        self.roles: dict[str, list[Actor]] = {}
        self._newest = 0.0  # when the last of the actors began to listen
        self._opening = 0  # orders whose actors are about to
        self.told_missed: Callable[[str, int, int], None] | None = None
        """Called with a handler, the broadcasts that it has missed, and how many agents have it, while somebody wants
        to hear of that."""
        # The lists of `roles`, by the whole address that a caller uses; `roles` keeps each list for good.
        self._by_address: dict[str, list[Actor]] = {}
        self.timings: list[tuple[Actor, float]] = []
        """Seconds of handlers of broadcasts that their actors have not got yet."""
        self._tell_supervisor = tell_supervisor
        self.seed = 0
        self.journal: Journal | None = None
        self.start_note: StartNotes = NoNotes()
        self.keeper: Keeper | None = None
        """Keeper of the agents' snapshots; None in a replay, where nothing is kept."""
        self.watch: Any = None
        """What is counted while somebody looks (`PopulationWatch` of watched.py); None: nobody does."""
        self.when_closed: list[Callable[[], None]] = []
        """Called once all agents have stopped."""

    # messages ---------------------------------------------------------------------------------------------------------
    def on_request(self, request: FromBus) -> None:
        """Give a message to its actor. The bus calls this for every message to an agent here."""
        wanted = request.envelope
        actor = self.actors.get(wanted.to)
        if actor is None:
            actors = self._by_address.get(wanted.to)
            actor = (
                actors[0]
                if actors is not None and len(actors) == 1 and actors[0].state is not STOPPING
                else self._least_busy(wanted.to)
            )
            if actor is None:
                self.turn_away(request, self.no_such(wanted.to, wanted.topic))
                return
        spec = actor.specs.get(wanted.topic)
        if spec is None:
            self.turn_away(request, self.no_such(actor.name, wanted.topic))
            return
        actor.accept(spec, request)

    def _least_busy(self, address: str) -> Actor | None:
        """Return the agent of a role with the least to do; among equals the one that was chosen longest ago."""
        actors = self._by_address.get(address)
        if actors is None:
            if not address.startswith("any:"):
                return None
            role = address.removeprefix("any:").partition("@")[0]
            if role not in self.roles:
                return None
            actors = self._by_address[address] = self.roles[role]
        if not actors:
            return None
        place = next((place for place, actor in enumerate(actors) if actor.ready), None)
        if place is None:
            staying = (place for place, actor in enumerate(actors) if actor.stays)
            place = min(staying, key=lambda index: actors[index].load, default=None)
        if place is None:
            return None  # all of them are about to end
        actor = actors.pop(place)
        actors.append(actor)
        return actor

    def turn_away(self, request: FromBus, error: ThreeModeError) -> None:
        """Refuse a message that is for no actor here; without a caller it is a dead letter."""
        if request.tells:
            self.dead_letters.add(
                request.to, request.topic, request.sender, "no_such_agent", error.message, request.raw
            )
        request.refuse(error)

    def no_such(self, name: str, handler: str) -> NoSuchAgent:
        """Return the error for an agent that is not here, or that has no such handler."""
        actor = self.actors.get(name)
        if actor is None:
            return NoSuchAgent(f"no agent {name!r} is here", agent=name, handler=handler)
        known = ", ".join(sorted(actor.specs)) or "none"
        kind = type(actor.agent).__name__
        return NoSuchAgent(
            f"{name} has no handler {handler!r}", hint=f"{kind} has: {known}", agent=name, handler=handler
        )

    def refuse(self, actor: Actor, spec: Spec, request: Incoming, error: ThreeModeError) -> None:
        """Refuse a message to an actor: its caller gets the error; without a caller it is a dead letter."""
        if request.tells and not request.answered:
            code = type(error).__name__
            self.dead_letters.add(actor.name, spec.name, request.sender, code, error.message, request.raw)
            if isinstance(error, BadCall):
                log_refusal(actor.name, error)
        request.refuse(error)

    # subscriptions ----------------------------------------------------------------------------------------------------
    async def listen(self, actors: list[Actor]) -> None:
        """Add actors of one class to its fanouts, and subscribe for each fanout that is new.

        Where another order subscribes for a fanout at this moment, wait for that, too: a broadcast reaches the actors
        once this returns. If that fails, subscribe here.
        """
        self._opening += 1
        try:
            await self._listen(actors)
        finally:
            self._opening -= 1
        self._newest = time.monotonic()
        for actor in actors:
            actor.opened = self._newest

    async def _listen(self, actors: list[Actor]) -> None:
        while actors:
            new, others = self._join_fanouts(actors)
            await self._subscribe(new)
            waited = [fanout for fanout in others if not await self._is_subscribed(fanout)]
            if not waited:
                return
            for fanout in waited:
                for actor in actors:
                    fanout.remove(actor)
                    actor.fanouts = tuple(other for other in actor.fanouts if other is not fanout)

    def _join_fanouts(self, actors: list[Actor]) -> tuple[list[Fanout], list[Fanout]]:
        """Add actors to the fanouts of their class. Return those that are new, and those that others made."""
        new: list[Fanout] = []
        others: list[Fanout] = []
        for spec in actors[0].specs.values():
            for topic in spec.options.topics:
                fanout = self.fanouts.get((spec, topic))
                if fanout is None:
                    fanout = self.fanouts[spec, topic] = Fanout(spec, topic, self)
                    new.append(fanout)
                else:
                    others.append(fanout)
                fanout.add([actor for actor in actors if fanout not in actor.fanouts])
        return new, others

    async def _subscribe(self, new: list[Fanout]) -> None:
        """Subscribe for new fanouts. If that fails, the next actors of the class subscribe again."""
        if not new:
            return
        ended = self.loop.create_future()
        for fanout in new:
            fanout.subscribing = ended
        wanted = [(fanout.topic.pattern, fanout.deliver, self._options(fanout)) for fanout in new]
        try:
            subscriptions = await self.session.bus.subscribe_many(wanted)
        except BaseException:
            for fanout in new:  # instead of listening to nothing
                self.fanouts.pop((fanout.spec, fanout.topic), None)
            raise
        else:
            for fanout, subscription in zip(new, subscriptions, strict=True):
                fanout.subscription = subscription
        finally:
            ended.set_result(None)
            for fanout in new:
                fanout.subscribing = None

    async def _is_subscribed(self, fanout: Fanout) -> bool:
        """Wait for the end of a subscription that another order makes; return whether there is one."""
        if fanout.subscribing is not None:
            await asyncio.wait([fanout.subscribing])
        return self.fanouts.get((fanout.spec, fanout.topic)) is fanout

    def _options(self, fanout: Fanout) -> SubscribeOptions:
        return SubscribeOptions(
            policy=Policy(fanout.topic.delivery),
            replay=fanout.topic.replay,
            on_event=lambda event: self._missed(fanout, event),
            subscriber=f"{self.label}:{fanout.spec.name}",
        )

    def _missed(self, fanout: Fanout, event: Gap | WriterGone | Evicted) -> None:
        """Report losses of a subscription to its agents, and to whoever reads events."""
        if isinstance(event, Gap) and self.told_missed is not None:
            self.told_missed(fanout.spec.name, event.count, len(fanout.actors))
        for actor in fanout.actors:
            if isinstance(event, Gap):
                actor.gaps += event.count
            try:
                actor.agent.missed(event)
            except BaseException as error:  # noqa: BLE001  # an agent's own hook
                actor.broadcast_failed(fanout.spec, error)

    def store_timings(self) -> None:
        """Add the timings of broadcasts to their actors: now and then, and before a report."""
        for actor, seconds in self.timings:
            actor.add_time(seconds)
        self.timings.clear()

    def listening(self, topic: str, but: AbstractSet[str] = frozenset()) -> int:
        """Return how many agents here listen to a topic, not counting those named in `but`."""
        lists = [fanout.actors for (_, on), fanout in self.fanouts.items() if matches(on.pattern, topic)]
        if but:
            return len({actor for actors in lists for actor in actors if actor.name not in but})
        return len(lists[0]) if len(lists) == 1 else len({actor for actors in lists for actor in actors})

    def listening_since(self, when: float) -> set[str]:
        """Return the agents that were opened to messages after `when`, on time.monotonic()."""
        if when >= self._newest and not self._opening:
            return set()
        return {name for name, actor in self.actors.items() if actor.opened > when}

    # actors -----------------------------------------------------------------------------------------------------------
    def add(self, actors: Iterable[Actor], roles: Iterable[str]) -> list[str]:
        """Add actors; return the names to register on the bus: theirs, and those of roles that are new here."""
        names = []
        actors = list(actors)
        for actor in actors:
            self.actors[actor.name] = actor
            names.append(actor.name)
        for role in roles:
            if not self.roles.get(role):
                names.append(role_name(role, self.label))
            self.roles.setdefault(role, []).extend(actors)
        return names

    def remove(self, actor: Actor) -> list[str]:
        """Remove an actor; return the names to take off the bus: its own, and those of roles without another actor."""
        actor.state = State.STOPPED
        self.leaving.discard(actor)
        self.tickets.pop(actor.name, None)
        names = [actor.name] if self.actors.pop(actor.name, None) else []
        for fanout in actor.fanouts:
            fanout.remove(actor)
        actor.fanouts = ()
        for role, actors in self.roles.items():
            if actor in actors:
                actors.remove(actor)
                if not actors:
                    names.append(role_name(role, self.label))
        return names

    # the interface of actors ------------------------------------------------------------------------------------------
    def caller_of(self, actor: Actor) -> Caller:
        """Return the verbs of an agent, journaled if there is a journal."""
        caller = Caller(self.session, actor.name, actor)
        return caller if self.journal is None else self.journal.caller(caller)

    def journaled(self, actor: Actor, spec: Spec, request: Incoming) -> Incoming:
        """Record that a message begins; the returned request records its outcome."""
        assert self.journal is not None
        broadcast = isinstance(request, QueuedBroadcast) or getattr(request, "heard", False)
        return self.journal.request(request, actor.name, actor.turn + 1, spec.name, broadcast)

    def now(self, actor: Actor) -> float:
        """Return the seconds since the epoch, journaled if there is a journal."""
        return time.time() if self.journal is None else self.journal.now(actor.caller)

    def seed_of(self, name: str) -> int:
        """Return the seed of an agent's random numbers."""
        return int.from_bytes(hashlib.blake2b(f"{self.seed}:{name}".encode(), digest_size=8).digest())

    async def keep(self, actor: Actor, agent: Agent, state: Any) -> None:
        """Keep the state of an agent."""
        await restoring.keep(actor, agent, state)

    def raised_unseen(self, actor: Actor, handler: str, error: ThreeModeError, failure: BaseException) -> None:
        """Log and report an exception of a handler or hook that no caller waits for."""
        self.raised.add(actor.name, handler, error, failure)

    def handler_failed(self, actor: Actor, spec: Spec, error: ThreeModeError) -> None:
        """Have an agent whose handler raised restarted, if it was spawned with `on_error`."""
        log.debug("%s", error)
        if actor.options.on_error and actor.state is State.RUNNING:
            actor.state = State.PAUSED  # until it is restarted
            for fanout in actor.fanouts:
                fanout.update_busy(actor)
            self._tell_supervisor(Failed(actor.name, f"{type(error).__name__}: {error.message}", False))

    def ends_itself(self, actor: Actor) -> None:
        """End an actor on its own wish, once its current message is done."""
        if actor in self.leaving or actor.state in (State.STOPPING, State.STOPPED):
            return
        self.leaving.add(actor)
        if actor.state is not State.STARTING:
            self.leaves(actor)

    def leaves(self, actor: Actor) -> None:
        """Let an actor that has ended itself begin with no further message."""
        actor.state = State.STOPPING
        for fanout in actor.fanouts:
            fanout.update_busy(actor)
        self.loop.call_soon(self.check_ended, actor)

    def check_ended(self, actor: Actor) -> None:
        """Tell the supervisor of an actor that has ended itself, once it has no run left."""
        if actor in self.leaving and actor.run is None and not actor.side and actor.state is State.STOPPING:
            self.leaving.discard(actor)
            self._tell_supervisor(Failed(actor.name, "ended itself", True))
