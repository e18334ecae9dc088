"""Agents that pages look at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.serve.page_cast import Scout
from three_mode.agents import Orchestrator
from three_mode.agents.calling.refs import AgentGroup


@asynccontextmanager
async def watched(
    agents: int = 12, hosts: int = 0, **options: object
) -> AsyncIterator[tuple[Orchestrator, AgentGroup, str]]:
    """An orchestrator with scouts, and the address of its page."""
    async with Orchestrator(hosts=hosts, **options) as orc:  # type: ignore[arg-type]
        scouts = await orc.spawn(Scout, agents, name="scout")
        yield orc, scouts, await orc.page()
