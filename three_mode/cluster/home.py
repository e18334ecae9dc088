"""What a gateway asks of the orchestrator whose node it is the gateway of."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from three_mode.agents.supervisor.events import SupervisorEvent


class NodeHome(Protocol):
    """Interface of the orchestrator."""

    def patterns(self) -> Mapping[str, tuple[str, ...]]:
        """Return group -> the patterns that its agents listen to."""
        ...

    def comes_back(self, agent: str) -> bool:
        """Return whether an agent that is not there may come back."""
        ...

    def stop(self, agents: Sequence[str]) -> Awaitable[None]:
        """Stop agents that have lost their names to another node."""
        ...

    def happened(self, event: SupervisorEvent) -> None:
        """Take an event."""
        ...

    def dead_letter(self, to: str, handler: str, sender: str, code: str, reason: str, payload: bytes) -> None:
        """Take a message that no agent has taken."""
        ...
