"""Population of a replay: one agent at work without a bus."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decode_marked, decoder_for
from three_mode.agents.handlers.declare import Spec, specs_of
from three_mode.agents.recording.events import Got, Made
from three_mode.agents.runtime import lifecycle, restoring
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.hooks import has_hook
from three_mode.agents.runtime.population import Population
from three_mode.agents.runtime.requests import Arguments, Parts
from three_mode.agents.runtime.state import State
from three_mode.agents.wire.dead_letters import DeadLetters
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.handling import DEFAULT_WITHIN

if TYPE_CHECKING:
    from three_mode.agents.runtime.journal import Journal


class _NoSession:
    """Session of a process that is on no bus."""

    bus = None
    tracer = None
    default_within = DEFAULT_WITHIN

    def __init__(self) -> None:
        self.dead_letters = DeadLetters()


class ReplayPopulation:
    """Population of a replay: it makes an agent and gives it recorded messages."""

    def __init__(self, journal: "Journal", loop: asyncio.AbstractEventLoop) -> None:
        self._population = Population(cast("Session", _NoSession()), "replay", lambda _: None)
        self._population.journal = journal
        self._requests: dict[int, Recorded] = {}
        self.beyond: set[int] = set()
        """Turns that streamed all recorded parts before they were cancelled: their next part waits for the
        cancellation."""

    def make(self, event: Made) -> None:
        """Make an agent, in place of an earlier one of its name."""
        group, _, _ = event.agent.partition("/")
        self._population.seed = event.seed
        kind = lifecycle.load_agent_class(event.target)
        actor = Actor(event.agent, group, specs_of(kind), self._population)
        actor.options = order = SpawnOrder(group, (), event.target, event.init)
        actor.agent = lifecycle.make(kind, actor, order)
        actor.state = State.RUNNING
        if has_hook(kind, "started"):
            self._starting = asyncio.get_running_loop().create_task(_start(actor))
        self._population.actors[event.agent] = actor

    def give(self, event: Got) -> None:
        """Have the agent begin with a recorded message."""
        actor = self._population.actors.get(event.agent)
        spec = actor.specs.get(event.handler) if actor is not None else None
        if actor is None or spec is None:
            raise ConfigurationError(f"{event.agent} has no handler {event.handler!r} any more")
        actor.turn = event.turn - 1
        request = self._requests[event.turn] = Recorded(event, self.beyond)
        asyncio.get_running_loop().call_soon(actor.begin, spec, request, 0.0)

    def cancel(self, turn: int, reason: str) -> None:
        """Cancel the message with that turn."""
        if turn in self._requests:
            self._requests[turn].cancel(reason)


async def _start(actor: Actor) -> None:
    await restoring.restore(actor)
    await actor.agent.started()


class Recorded:
    """Message of a recording. Its answer goes nowhere: the journal compares it with the recorded one."""

    trace = ""
    deadline = float("inf")

    def __init__(self, event: Got, beyond: set[int]) -> None:
        self._event, self._beyond = event, beyond
        self.cancel: Callable[[str], None] = lambda _: None
        self.streams, self.tells, self.sender, self.raw = event.streams, False, event.sender, event.call
        self.heard = event.heard
        self.answered = False

    def arguments(self, agent: str, spec: Spec) -> Arguments:
        if self._event.heard:
            hint, call = spec.schema.parameters[0].hint, self._event.call
            try:
                return (decoder_for(hint)(call),), {}
            except msgspec.ValidationError as error:
                return (decode_marked(hint, call, error),), {}
        return spec.schema.decode_call(agent, spec.name, self._event.call)

    def answer(self, result: Any) -> None:
        self.answered = True

    def refuse(self, error: ThreeModeError) -> None:
        self.answered = True

    def abandoned(self) -> None:
        self.answered = True

    def raised(self, agent: str) -> None:
        """Do nothing: no receipt asks a replay."""

    def on_cancel(self, callback: Callable[[str], None]) -> None:
        self.cancel = callback

    def open_parts(self) -> Parts:
        return _Nowhere(self._event.turn, self._beyond)


class _Nowhere:
    """Outgoing parts without a consumer."""

    def __init__(self, turn: int, beyond: set[int]) -> None:
        self._turn, self._beyond = turn, beyond

    def at_once(self, part: Any) -> bool:
        return False

    async def send(self, part: Any) -> None:
        """Do nothing: the journal has the part. Wait where the recorded run was cancelled."""
        if self._turn in self._beyond:
            await asyncio.get_running_loop().create_future()
