"""The agents of one process: who is here, what they listen to, and how a message finds its cell."""

import asyncio
import contextvars
import hashlib
import logging
import time
from collections.abc import Callable, Iterable

from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.declare import Spec, Topic
from three_mode.agents.runtime.actor import STOPPING, Actor, State
from three_mode.agents.runtime.broadcast import Fanout
from three_mode.agents.runtime.eager import Starter
from three_mode.agents.runtime.making import Making
from three_mode.agents.runtime.requests import FromBus, Incoming, QueuedBroadcast
from three_mode.agents.runtime.tape import Tape
from three_mode.agents.runtime.unsettled import Unsettled
from three_mode.agents.wire.orders import Failed, role_name
from three_mode.errors import NoSuchAgent, ThreeModeError
from transports.bus import Evicted, Gap, Policy, SubscribeOptions, WriterGone, matches

log = logging.getLogger("three_mode.agents")


class Population:
    """The actors of one process, their roles and what they listen to."""

    def __init__(self, session: Session, label: str, tell_supervisor: Callable[[Failed], None]) -> None:
        self.session, self.label, self.dead_letters = session, label, session.dead_letters
        self.loop = asyncio.get_running_loop()
        self.starter = Starter(self.loop)
        self.context = contextvars.copy_context()
        self.unsettled = Unsettled()
        self.actors: dict[str, Actor] = {}
        self.leaving: set[Actor] = set()
        """Those that have ended themselves, until their supervisor is told."""
        self.making: dict[str, Making] = {}
        """Those that are being made, or made anew."""
        self.tickets: dict[str, int] = {}
        """The ticket of the order by which each was last made anew."""
        self.fanouts: dict[tuple[Spec, Topic], Fanout] = {}
        self.roles: dict[str, list[Actor]] = {}
        # The lists of `roles`, by the whole name that a caller uses; `roles` never lets go of a list.
        self._by_address: dict[str, list[Actor]] = {}
        self.took: list[tuple[Actor, float]] = []
        """Seconds of handlers of broadcasts that their cells are still to be told."""
        self._tell_supervisor = tell_supervisor
        self.seed = 0
        self.tape: Tape | None = None

    # how messages come in ---------------------------------------------------------------------------------------------
    def on_request(self, request: FromBus) -> None:
        """The bus calls this for every message to an agent here."""
        wanted = request.envelope
        actor = self.actors.get(wanted.to)
        if actor is None:
            actors = self._by_address.get(wanted.to)
            actor = (
                actors[0]
                if actors is not None and len(actors) == 1 and actors[0].state is not STOPPING
                else self._chosen(wanted.to)
            )
            if actor is None:
                self.turn_away(request, self.no_such(wanted.to, wanted.topic))
                return
        spec = actor.specs.get(wanted.topic)
        if spec is None:
            self.turn_away(request, self.no_such(actor.name, wanted.topic))
            return
        actor.accept(spec, request)

    def _chosen(self, address: str) -> Actor | None:
        """The agent of a role with the least to do; among equals the one that was chosen longest ago."""
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
            place = min(staying, key=lambda one: actors[one].load, default=None)
        if place is None:
            return None  # all of them are about to go
        actor = actors.pop(place)
        actors.append(actor)
        return actor

    def turn_away(self, request: FromBus, error: ThreeModeError) -> None:
        if request.tells:
            self.dead_letters.add(
                request.to, request.topic, request.sender, "no_such_agent", error.message, request.raw
            )
        request.refuse(error)

    def no_such(self, name: str, handler: str) -> NoSuchAgent:
        actor = self.actors.get(name)
        if actor is None:
            return NoSuchAgent(f"no agent {name!r} is here", agent=name, handler=handler)
        known = ", ".join(sorted(actor.specs)) or "none"
        kind = type(actor.agent).__name__
        return NoSuchAgent(
            f"{name} has no handler {handler!r}", hint=f"{kind} has: {known}", agent=name, handler=handler
        )

    def refuse(self, actor: Actor, spec: Spec, request: Incoming, error: ThreeModeError) -> None:
        """A message that this agent will not handle: its caller gets the error; without a caller it is a dead letter."""
        if request.tells and not request.answered:
            code = type(error).__name__
            self.dead_letters.add(actor.name, spec.name, request.sender, code, error.message, request.raw)
        request.refuse(error)

    # what agents listen to --------------------------------------------------------------------------------------------
    async def listen(self, actors: list[Actor]) -> None:
        """Joins them to the fanouts of their class; a subscription is made for each that is new."""
        made: list[Fanout] = []
        for spec in actors[0].specs.values() if actors else ():
            for topic in spec.options.topics:
                fanout = self.fanouts.get((spec, topic))
                if fanout is None:
                    fanout = self.fanouts[spec, topic] = Fanout(spec, topic, self)
                    made.append(fanout)
                fanout.add(actors)
        if made:
            wanted = [(one.topic.pattern, one.deliver, self._options(one)) for one in made]
            try:
                subscriptions = await self.session.bus.subscribe_many(wanted)
            except BaseException:
                for fanout in made:  # the next to come try again, instead of listening to nothing
                    self.fanouts.pop((fanout.spec, fanout.topic), None)
                raise
            for fanout, subscription in zip(made, subscriptions, strict=True):
                fanout.subscription = subscription

    def _options(self, fanout: Fanout) -> SubscribeOptions:
        return SubscribeOptions(
            policy=Policy(fanout.topic.delivery),
            replay=fanout.topic.replay,
            on_event=lambda event: self._missed(fanout, event),
            subscriber=f"{self.label}:{fanout.spec.name}",
        )

    def _missed(self, fanout: Fanout, event: Gap | WriterGone | Evicted) -> None:
        for actor in fanout.actors:
            if isinstance(event, Gap):
                actor.gaps += event.count
            try:
                actor.agent.missed(event)
            except BaseException as error:  # noqa: BLE001  # an agent's own hook
                actor.failed_in_fanout(fanout.spec, error)

    def tell_times(self) -> None:
        """Before anybody looks at them, and now and then."""
        for actor, seconds in self.took:
            actor.add_time(seconds)
        self.took.clear()

    def listening(self, topic: str) -> int:
        """How many agents here hear a topic."""
        heard = [one.actors for (_, wanted), one in self.fanouts.items() if matches(wanted.pattern, topic)]
        return len(heard[0]) if len(heard) == 1 else len({actor for actors in heard for actor in actors})

    # who is here ------------------------------------------------------------------------------------------------------
    def add(self, actors: Iterable[Actor], roles: Iterable[str]) -> list[str]:
        """Their names, and those of roles that are new here: what is to be registered on the bus."""
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
        """The names that go with it."""
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

    # what actors ask of their owner -----------------------------------------------------------------------------------
    def caller_of(self, actor: Actor) -> Caller:
        caller = Caller(self.session, actor.name, actor)
        return caller if self.tape is None else self.tape.caller(caller)

    def taped(self, actor: Actor, spec: Spec, request: Incoming) -> Incoming:
        """Records that a message begins; the returned request records its outcome."""
        assert self.tape is not None
        broadcast = isinstance(request, QueuedBroadcast) or getattr(request, "heard", False)
        return self.tape.request(request, actor.name, actor.turn + 1, spec.name, broadcast)

    def now(self, actor: Actor) -> float:
        return time.time() if self.tape is None else self.tape.now(actor.caller)

    def seed_of(self, name: str) -> int:
        return int.from_bytes(hashlib.blake2b(f"{self.seed}:{name}".encode(), digest_size=8).digest())

    def handler_failed(self, actor: Actor, spec: Spec, error: ThreeModeError) -> None:
        log.debug("%s", error)
        if actor.options.on_error and actor.state is State.RUNNING:
            actor.state = State.PAUSED  # until it is made anew
            for fanout in actor.fanouts:
                fanout.look(actor)
            self._tell_supervisor(Failed(actor.name, f"{type(error).__name__}: {error.message}", False))

    def ends_itself(self, actor: Actor) -> None:
        if actor in self.leaving or actor.state in (State.STOPPING, State.STOPPED):
            return
        self.leaving.add(actor)
        if actor.state is not State.STARTING:
            self.leaves(actor)

    def leaves(self, actor: Actor) -> None:
        actor.state = State.STOPPING
        for fanout in actor.fanouts:
            fanout.look(actor)
        self.loop.call_soon(self.look_for_end, actor)

    def look_for_end(self, actor: Actor) -> None:
        if actor in self.leaving and actor.run is None and not actor.side and actor.state is State.STOPPING:
            self.leaving.discard(actor)
            self._tell_supervisor(Failed(actor.name, "ended itself", True))
