"""An orchestrator as the home of a node: what the gateway to other nodes asks of it."""

from collections.abc import Mapping, Sequence

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.supervisor.events import SupervisorEvent, SupervisorEvents
from three_mode.agents.supervisor.supervisor import Supervisor

_STOP_WITHIN = 10.0


class SupervisedNode:
    """A node, seen from its gateway."""

    def __init__(self, session: Session, supervisor: Supervisor, events: SupervisorEvents) -> None:
        self._session, self._supervisor, self._events = session, supervisor, events

    def patterns(self) -> Mapping[str, tuple[str, ...]]:
        """Return group -> the patterns that its agents listen to."""
        found = {}
        for name, group in self._supervisor.roster.groups.items():
            specs = specs_of(group.kind).values()
            patterns = tuple(sorted({topic.pattern for spec in specs for topic in spec.options.topics}))
            if patterns:
                found[name] = patterns
        return found

    def comes_back(self, agent: str) -> bool:
        """Return whether an agent that is not there may come back."""
        return self._supervisor.roster.comes_back(agent)

    async def stop(self, agents: Sequence[str]) -> None:
        """Stop agents that have lost their names to another node."""
        known = [agent for agent in agents if agent in self._supervisor.roster.agents]
        if known:
            await self._supervisor.stop(known, _STOP_WITHIN, forget=False)  # what they kept is the later ones'

    def happened(self, event: SupervisorEvent) -> None:
        """Take an event."""
        self._events.add(event)

    def dead_letter(self, to: str, handler: str, sender: str, code: str, reason: str, payload: bytes) -> None:
        """Take a message that no agent has taken."""
        self._session.dead_letters.add(to, handler, sender, code, reason, payload)
