"""One agent: its mailbox, its handlers, its last messages and errors, and where it is written."""

from collections.abc import Sequence

import msgspec

from three_mode.agents.wire.watching import AgentSight, WatchOrder
from three_mode.page.readers import PageReader
from three_mode.page.system import WatchedSystem


class AgentView:
    """The agents that somebody looks at, each asked of its host once for all pages."""

    name = "agent"
    every = 0.5

    def __init__(self, system: WatchedSystem) -> None:
        self._system = system

    async def tell(self, readers: Sequence[PageReader]) -> None:
        for agent in sorted({reader.agent for reader in readers if reader.agent}):
            text = msgspec.json.encode({"kind": "agent", "name": agent, **await self._said(agent)})
            for reader in readers:
                if reader.agent == agent:
                    reader.put(text)

    async def _said(self, agent: str) -> dict[str, AgentSight | None]:
        if self._system.bus.locate(agent) is None:
            return {"sight": None}  # it has ended, or is of another node
        reports = await self._system.watch(WatchOrder(agent=agent))
        return {"sight": next((report.agent for report in reports if report.agent is not None), None)}

    def left(self) -> None:
        """Its host stops keeping messages by itself."""
