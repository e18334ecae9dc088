"""`Agent`: the base class. An agent sees its name, the others, the models, recorded time and chance; nothing of the bus."""

import random
from typing import Protocol

from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.refs import Verbs
from three_mode.errors import ConfigurationError
from three_mode.handling import current
from transports.bus import Evicted, Gap, WriterGone


class AgentActor(Protocol):
    """What an agent asks of the actor that runs it."""

    @property
    def name(self) -> str: ...
    @property
    def caller(self) -> Caller: ...
    @property
    def random(self) -> random.Random: ...
    def now(self) -> float: ...
    def end(self) -> None: ...


class Agent(Verbs):
    """Subclass it, decorate methods with `@handler` and `@on`, and spawn it.

    One message at a time, unless a handler says `concurrent=n`. An exception goes to the caller, and the agent lives on with
    its state; spawn it with `Restart(on_error=True)` to have it start afresh instead.
    """

    mailbox: int = 1000
    """How many messages may wait while it is busy. One more is answered with Overloaded; a broadcast becomes a dead letter."""

    # Attributes of ours have long names: a subclass is free to use the short ones.
    _three_mode_actor: AgentActor | None = None

    @property
    def name(self) -> str:
        """The group and number of the agent: `scout/7`."""
        return _actor_of(self).name

    @property
    def _three_mode_caller(self) -> Caller:  # type: ignore[override]
        return _actor_of(self).caller

    def now(self) -> float:
        """Seconds since the epoch; in a replay, what they were."""
        return _actor_of(self).now()

    @property
    def random(self) -> random.Random:
        """Chance of its own; in a replay, the same."""
        return _actor_of(self).random

    def remaining(self) -> float:
        """Seconds left of the call being handled; infinite where nobody waits."""
        return current.get().remaining()

    def stop(self) -> None:
        """Ends this agent once the message in hand is done."""
        _actor_of(self).end()

    async def started(self) -> None:
        """Runs before the first message. What it raises makes the spawn fail."""

    async def stopped(self) -> None:
        """Runs after the last message, when the agent is stopped or restarted; not when its process is killed."""

    def missed(self, event: Gap | WriterGone | Evicted) -> None:
        """Broadcasts were lost to this process, or a writer went; `event` says which."""


def _actor_of(agent: Agent) -> AgentActor:
    actor = agent._three_mode_actor
    if actor is None:
        raise ConfigurationError(
            f"this {type(agent).__name__} was made by hand and is on no bus", hint="use Orchestrator.spawn"
        )
    return actor
