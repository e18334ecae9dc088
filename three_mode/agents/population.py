"""The agents of one process: who is here, what they listen to, and how a message finds its cell."""

import asyncio
import contextvars
import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from three_mode.agents.cell import STOPPING, Cell, State
from three_mode.agents.declare import Spec, Topic
from three_mode.agents.eager import Starter
from three_mode.agents.fanout import Fanout
from three_mode.agents.link import Link
from three_mode.agents.orders import Failed, role_name
from three_mode.agents.requests import FromBus, Heard
from three_mode.agents.settling import Settling
from three_mode.agents.verbs import Voice
from three_mode.errors import NoSuchAgent, ThreeModeError
from transports.bus import Evicted, Gap, Policy, SubscribeOptions, WriterGone
from transports.bus.topics import matches

if TYPE_CHECKING:
    from three_mode.agents.recording.tape import Tape
    from three_mode.agents.requests import Incoming
    from three_mode.agents.spawning import Making

log = logging.getLogger("three_mode.agents")


class Population:
    def __init__(self, link: Link, label: str, tell_supervisor: Callable[[Failed], None]) -> None:
        self.link, self.label, self.letters = link, label, link.letters
        self.loop = asyncio.get_running_loop()
        self.starter = Starter(self.loop)
        self.context = contextvars.copy_context()
        self.settling = Settling()
        self.cells: dict[str, Cell] = {}
        self.leaving: set[Cell] = set()
        """Those that have ended themselves, until their supervisor is told."""
        self.making: dict[str, Making] = {}
        """Those that are being made, or made anew."""
        self.tickets: dict[str, int] = {}
        """The ticket of the order by which each was last made anew."""
        self.fanouts: dict[tuple[Spec, Topic], Fanout] = {}
        self.roles: dict[str, list[Cell]] = {}
        # The lists of `roles`, by the whole name that a caller uses; `roles` never lets go of a list.
        self._by_address: dict[str, list[Cell]] = {}
        self.took: list[tuple[Cell, float]] = []
        """Seconds of handlers of broadcasts that their cells are still to be told."""
        self._tell_supervisor = tell_supervisor
        self.seed = 0
        self.tape: Tape | None = None

    # how messages come in ---------------------------------------------------------------------------------------------
    def on_request(self, request: FromBus) -> None:
        """The bus calls this for every message to an agent here."""
        wanted = request.envelope
        cell = self.cells.get(wanted.to)
        if cell is None:
            cells = self._by_address.get(wanted.to)
            cell = (
                cells[0]
                if cells is not None and len(cells) == 1 and cells[0].state is not STOPPING
                else self._chosen(wanted.to)
            )
            if cell is None:
                self.turn_away(request, self.no_such(wanted.to, wanted.topic))
                return
        spec = cell.specs.get(wanted.topic)
        if spec is None:
            self.turn_away(request, self.no_such(cell.name, wanted.topic))
            return
        cell.accept(spec, request)

    def _chosen(self, address: str) -> Cell | None:
        """The agent of a role with the least to do; among equals the one that was chosen longest ago."""
        cells = self._by_address.get(address)
        if cells is None:
            if not address.startswith("any:"):
                return None
            role = address.removeprefix("any:").partition("@")[0]
            if role not in self.roles:
                return None
            cells = self._by_address[address] = self.roles[role]
        if not cells:
            return None
        place = next((place for place, cell in enumerate(cells) if cell.ready), None)
        if place is None:
            staying = (place for place, cell in enumerate(cells) if cell.stays)
            place = min(staying, key=lambda one: cells[one].load, default=None)
        if place is None:
            return None  # all of them are about to go
        cell = cells.pop(place)
        cells.append(cell)
        return cell

    def turn_away(self, request: FromBus, error: ThreeModeError) -> None:
        if request.tells:
            self.letters.add(request.to, request.topic, request.sender, "no_such_agent", error.message, request.raw)
        request.refuse(error)

    def no_such(self, name: str, handler: str) -> NoSuchAgent:
        cell = self.cells.get(name)
        if cell is None:
            return NoSuchAgent(f"no agent {name!r} is here", agent=name, handler=handler)
        known = ", ".join(sorted(cell.specs)) or "none"
        kind = type(cell.agent).__name__
        return NoSuchAgent(
            f"{name} has no handler {handler!r}", hint=f"{kind} has: {known}", agent=name, handler=handler
        )

    def refuse(self, cell: Cell, spec: Spec, request: "Incoming", error: ThreeModeError) -> None:
        """A message that this agent will not handle: its caller gets the error; without a caller it is a dead letter."""
        if request.tells and not request.answered:
            code = type(error).__name__
            self.letters.add(cell.name, spec.name, request.sender, code, error.message, request.raw)
        request.refuse(error)

    # what agents listen to --------------------------------------------------------------------------------------------
    async def listen(self, cells: list[Cell]) -> None:
        """Joins them to the fanouts of their class; a subscription is made for each that is new."""
        made: list[Fanout] = []
        for spec in cells[0].specs.values() if cells else ():
            for topic in spec.options.topics:
                fanout = self.fanouts.get((spec, topic))
                if fanout is None:
                    fanout = self.fanouts[spec, topic] = Fanout(spec, topic, self)
                    made.append(fanout)
                fanout.add(cells)
        if made:
            wanted = [(one.topic.pattern, one.deliver, self._options(one)) for one in made]
            try:
                subscriptions = await self.link.bus.subscribe_many(wanted)
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

    def _missed(self, fanout: Fanout, event: "Gap | WriterGone | Evicted") -> None:
        for cell in fanout.cells:
            if isinstance(event, Gap):
                cell.gaps += event.count
            try:
                cell.agent.missed(event)
            except BaseException as error:  # noqa: BLE001  # an agent's own hook
                cell.failed_in_fanout(fanout.spec, error)

    def tell_times(self) -> None:
        """Before anybody looks at them, and now and then."""
        for cell, seconds in self.took:
            cell.add_time(seconds)
        self.took.clear()

    def listening(self, topic: str) -> int:
        """How many agents here hear a topic."""
        heard = [one.cells for (_, wanted), one in self.fanouts.items() if matches(wanted.pattern, topic)]
        return len(heard[0]) if len(heard) == 1 else len({cell for cells in heard for cell in cells})

    # who is here ------------------------------------------------------------------------------------------------------
    def add(self, cells: Iterable[Cell], roles: Iterable[str]) -> list[str]:
        """Their names, and those of roles that are new here: what is to be registered on the bus."""
        names = []
        cells = list(cells)
        for cell in cells:
            self.cells[cell.name] = cell
            names.append(cell.name)
        for role in roles:
            if not self.roles.get(role):
                names.append(role_name(role, self.label))
            self.roles.setdefault(role, []).extend(cells)
        return names

    def remove(self, cell: Cell) -> list[str]:
        """The names that go with it."""
        cell.state = State.STOPPED
        self.leaving.discard(cell)
        self.tickets.pop(cell.name, None)
        names = [cell.name] if self.cells.pop(cell.name, None) else []
        for fanout in cell.fanouts:
            fanout.remove(cell)
        cell.fanouts = ()
        for role, cells in self.roles.items():
            if cell in cells:
                cells.remove(cell)
                if not cells:
                    names.append(role_name(role, self.label))
        return names

    # what cells ask of their home -------------------------------------------------------------------------------------
    def voice_of(self, cell: Cell) -> Voice:
        voice = Voice(self.link, cell.name, cell)
        if self.tape is None:
            return voice
        from three_mode.agents.recording.taped import TapedVoice

        return TapedVoice(voice, self.tape)

    def taped(self, cell: Cell, spec: Spec, request: "Incoming") -> "Incoming":
        """Writes down that a message begins; what comes of it is written down by what is returned."""
        from three_mode.agents.recording.taped import TapedRequest

        assert self.tape is not None
        turn = cell.turn + 1
        self.tape.got(
            cell.name,
            turn,
            spec.name,
            bytes(request.raw),
            isinstance(request, Heard) or getattr(request, "heard", False),
            request.streams,
            request.sender,
        )
        return TapedRequest(request, self.tape, cell.name, turn)

    def now(self, cell: Cell) -> float:
        if self.tape is None:
            return time.time()
        from three_mode.agents.recording.taped import TapedVoice

        voice = cell.voice
        assert isinstance(voice, TapedVoice)
        return voice.now(time.time)

    def seed_of(self, name: str) -> int:
        return int.from_bytes(hashlib.blake2b(f"{self.seed}:{name}".encode(), digest_size=8).digest())

    def handler_failed(self, cell: Cell, spec: Spec, error: ThreeModeError) -> None:
        log.debug("%s", error)
        if cell.options.on_error and cell.state is State.RUNNING:
            cell.state = State.PAUSED  # until it is made anew
            for fanout in cell.fanouts:
                fanout.look(cell)
            self._tell_supervisor(Failed(cell.name, f"{type(error).__name__}: {error.message}", False))

    def ends_itself(self, cell: Cell) -> None:
        if cell in self.leaving or cell.state in (State.STOPPING, State.STOPPED):
            return
        self.leaving.add(cell)
        if cell.state is not State.STARTING:
            self.leaves(cell)

    def leaves(self, cell: Cell) -> None:
        cell.state = State.STOPPING
        for fanout in cell.fanouts:
            fanout.look(cell)
        self.loop.call_soon(self.look_for_end, cell)

    def look_for_end(self, cell: Cell) -> None:
        if cell in self.leaving and cell.run is None and not cell.side and cell.state is State.STOPPING:
            self.leaving.discard(cell)
            self._tell_supervisor(Failed(cell.name, "ended itself", True))
