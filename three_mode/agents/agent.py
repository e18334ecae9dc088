"""`Agent`: the base class.

An agent sees its name, other agents, models, the clock and random numbers; nothing of the bus.
"""

import random
from typing import Any, Protocol

from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.refs import Verbs
from three_mode.errors import ConfigurationError
from three_mode.handling import current
from transports.bus import Evicted, Gap, WriterGone


class AgentActor(Protocol):
    """Interface of the actor that runs an agent."""

    @property
    def name(self) -> str: ...
    @property
    def caller(self) -> Caller: ...
    @property
    def random(self) -> random.Random: ...
    def now(self) -> float: ...
    def end(self) -> None: ...
    async def keep(self, agent: "Agent", state: Any) -> None: ...


class Agent(Verbs):
    """Base class of agents: subclass it, decorate methods with `@handler` and `@on`, and spawn it.

    An agent handles one message at a time, unless a handler says `concurrent=n`. An exception in a handler goes to the
    caller, and the agent lives on with its state; an agent spawned with `Restart(on_error=True)` is restarted instead.
    """

    mailbox: int = 1000
    """Messages that may wait while the agent is busy. One more call is answered with Overloaded; one more broadcast
    or `tell` becomes a dead letter."""

    keep_version: int = 1
    """Version of the state that this class keeps: count it up where its shape changes."""

    # Attributes of the runtime have long names: the short ones belong to subclasses.
    _three_mode_actor: AgentActor | None = None

    @property
    def name(self) -> str:
        """Name of the agent, its group and number: `scout/7`."""
        return _actor_of(self).name

    @property
    def _three_mode_caller(self) -> Caller:  # type: ignore[override]
        return _actor_of(self).caller

    def now(self) -> float:
        """Return the seconds since the epoch; in a replay, the recorded ones."""
        return _actor_of(self).now()

    @property
    def random(self) -> random.Random:
        """Random numbers of this agent, from the orchestrator's `seed` and its name: the same in a replay."""
        return _actor_of(self).random

    def remaining(self) -> float:
        """Return the seconds left of the call being handled; infinity where nobody waits for an answer."""
        return current.get().remaining()

    def stop(self) -> None:
        """End this agent once the current message is done."""
        _actor_of(self).end()

    async def keep(self, state: Any) -> None:
        """Keep the state, so that it outlives this process: `restored` of a later agent of this name gets it.

        Returns once it is kept, as durably as `OrchestratorOptions.keep` says; raises BadCall for a state that cannot
        be kept, and StateNotKept where it was not. Of several keeps at once the last one counts. The class has a hook
        `restored`.
        """
        await _actor_of(self).keep(self, state)

    def restored(self, *args: Any, **kwargs: Any) -> Any:
        """Hook: `restored(self, state)`, async or not, gets the last state that was kept under this agent's name.

        It runs after `__init__` and before `started`, and not where nothing was kept. The hint of `state` says what it
        becomes. With `restored(self, state, version)` it gets snapshots of every `keep_version`, those of other
        versions as plain data; without, one of another version is an error. An exception makes the spawn fail.
        """

    async def started(self) -> None:
        """Hook: runs before the first message. An exception makes the spawn fail."""

    async def stopped(self) -> None:
        """Hook: runs after the last message, when the agent is stopped or restarted; not when its process is killed."""

    def missed(self, event: Gap | WriterGone | Evicted) -> None:
        """Hook: this process has lost broadcasts, or a writer has left; `event` says which."""


def _actor_of(agent: Agent) -> AgentActor:
    actor = agent._three_mode_actor
    if actor is None:
        raise ConfigurationError(
            f"this {type(agent).__name__} was made by hand and is on no bus", hint="use Orchestrator.spawn"
        )
    return actor
