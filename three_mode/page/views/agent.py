"""One agent: its mailbox, its handlers, its last messages and errors, and where it is written."""

import asyncio
from collections.abc import Sequence

import msgspec

from three_mode.page.readers import PageReader
from three_mode.page.system import WatchedSystem


class AgentView:
    """The agents that somebody looks at, each asked of its host once for all pages."""

    name = "agent"
    every = 0.5

    def __init__(self, system: WatchedSystem) -> None:
        self._system = system

    async def tell(self, readers: Sequence[PageReader]) -> None:
        agents = sorted({reader.agent for reader in readers if reader.agent})
        for agent, report in zip(agents, await asyncio.gather(*map(self._system.watch_agent, agents)), strict=True):
            sight = None if report is None else report.agent  # None: it has ended, or is of another node
            text = msgspec.json.encode({"kind": "agent", "name": agent, "sight": sight})
            for reader in readers:
                if reader.agent == agent:
                    reader.put(text)

    def left(self) -> None:
        """Its host stops keeping messages by itself."""
