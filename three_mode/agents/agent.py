"""`Agent`: the base class. An agent sees its name, the others, the models, recorded time and chance; nothing of the bus."""

import random
from typing import TYPE_CHECKING, Any

from three_mode.errors import ConfigurationError
from three_mode.handling import current

if TYPE_CHECKING:
    from three_mode.agents.calling.receipts import AgentReceipt
    from three_mode.agents.calling.refs import AgentGroup, AgentRef, RoleRef
    from three_mode.agents.runtime.actor import Actor
    from transports.bus import Evicted, Gap, WriterGone


class Agent:
    """Subclass it, decorate methods with `@handler` and `@on`, and spawn it.

    One message at a time, unless a handler says `concurrent=n`. An exception goes to the caller, and the agent lives on with
    its state; spawn it with `Restart(on_error=True)` to have it start afresh instead.
    """

    mailbox: int = 1000
    """How many messages may wait while it is busy. One more is answered with Overloaded; a broadcast becomes a dead letter."""

    _three_mode_actor: "Actor | None" = None

    @property
    def name(self) -> str:
        """`scout/7`: its group and number."""
        return self._actor.name

    @property
    def _actor(self) -> "Actor":
        actor = self._three_mode_actor
        if actor is None:
            raise ConfigurationError(
                f"this {type(self).__name__} was made by hand and is on no bus", hint="use Orchestrator.spawn"
            )
        return actor

    def ref(self, name: str) -> "AgentRef":
        """Another agent, by name."""
        return self._actor.caller.ref(name)

    def group(self, name: str) -> "AgentGroup":
        """All agents of a group that are on the bus now."""
        return self._actor.caller.group(name)

    def any(self, role: str) -> "RoleRef":
        """Whichever agent of that role or group has the least to do."""
        return self._actor.caller.any(role)

    def broadcast(self, topic: str, item: Any) -> "AgentReceipt":
        """Publishes at once. The receipt may be awaited, or asked who has seen it."""
        return self._actor.caller.broadcast(topic, item)

    @property
    def llm(self) -> Any:
        """A connection that knows the bus and every provider; its calls inherit the deadline of the one being handled."""
        return self._actor.caller.llm

    def now(self) -> float:
        """Seconds since the epoch; in a replay, what they were."""
        return self._actor.home.now(self._actor)

    @property
    def random(self) -> random.Random:
        """Chance of its own; in a replay, the same."""
        return self._actor.random

    def remaining(self) -> float:
        """Seconds left of the call being handled; infinite where nobody waits."""
        return current.get().remaining()

    def stop(self) -> None:
        """Ends this agent once the message in hand is done."""
        self._actor.end()

    async def started(self) -> None:
        """Runs before the first message. What it raises makes the spawn fail."""

    async def stopped(self) -> None:
        """Runs after the last message, when the agent is stopped or restarted; not when its process is killed."""

    def missed(self, event: "Gap | WriterGone | Evicted") -> None:
        """Broadcasts were lost to this process, or a writer went; `event` says which."""
