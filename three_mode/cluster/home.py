"""What a gateway asks of the orchestrator whose node it is the gateway of."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from three_mode.agents.supervisor.events import SupervisorEvent
from three_mode.agents.supervisor.restart import Restart
from three_mode.agents.wire.orders import SpawnOrder
from transports.bus import Bus


class NodeHome(Protocol):
    """Interface of the orchestrator."""

    def patterns(self) -> Mapping[str, tuple[str, ...]]:
        """Return group -> the patterns that its agents listen to."""
        ...

    @property
    def bus(self) -> Bus:
        """The bus of its own process, which its program calls agents on."""
        ...

    @property
    def hosts(self) -> int:
        """Number of its host processes; 0: its agents are in this process."""
        ...

    def next_number(self, group: str) -> int:
        """Return the number of the next agent of a group."""
        ...

    def has_group(self, group: str) -> bool:
        """Return whether there are agents of a group here."""
        ...

    def place(self, kind: type, order: SpawnOrder, restart: Restart, within: float, own_host: bool) -> Awaitable[None]:
        """Make the agents of an order, all or none; `own_host`: in a host for this group alone."""
        ...

    def take_over(self, kind: type, order: SpawnOrder, restart: Restart, own_host: bool) -> Awaitable[None]:
        """Bring the agents of an order back, which were at a lost node: each as its restart strategy says."""
        ...

    def order(self, verb: str, agents: Sequence[str], within: float, forget: bool | None = None) -> Awaitable[None]:
        """Stop, restart, pause or resume agents. `forget`: whether what those that are stopped kept is removed; None:
        where no other node has it."""
        ...

    def forget(self, agents: Sequence[str]) -> Awaitable[None]:
        """Remove what agents kept that are not here, and will not come back anywhere."""
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
