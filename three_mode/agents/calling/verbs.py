"""The verbs as methods, for whoever holds them: an orchestrator, or a program that joined."""

from typing import Any

from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.receipts import AgentReceipt
from three_mode.agents.calling.refs import AgentGroup, AgentRef, RoleRef


class Verbs:
    _caller: Caller

    def ref(self, name: str) -> AgentRef:
        """An agent by name: `scout/7`."""
        return self._caller.ref(name)

    def group(self, name: str) -> AgentGroup:
        """All agents of a group that are on the bus now."""
        return self._caller.group(name)

    def any(self, role: str) -> RoleRef:
        """Whichever agent of that role or group has the least to do, chosen at each call."""
        return self._caller.any(role)

    def broadcast(self, topic: str, item: Any) -> AgentReceipt:
        """Publishes at once. The receipt may be awaited, or asked who has seen it."""
        return self._caller.broadcast(topic, item)

    @property
    def llm(self) -> Any:
        """A connection to models that knows this bus."""
        return self._caller.llm
