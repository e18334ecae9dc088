"""Calls without an event loop: those that a type checker accepts, and what it refuses. Only mypy reads this file."""

from collections.abc import AsyncIterator
from typing import Any, assert_type

from three_mode import Agent, handler
from three_mode.agents import Gathered, Seen
from three_mode.sync import AgentGroup, AgentRef, Orchestrator, Stream


class Scout(Agent):
    @handler
    async def score(self, text: str) -> float:
        return len(text)

    @handler
    def plain(self, text: str) -> str:
        return text

    @handler
    async def explain(self, text: str) -> AsyncIterator[str]:
        yield text


with Orchestrator(hosts=1) as orc:
    scouts = orc.spawn(Scout, 4, name="scout")
    assert_type(scouts, AgentGroup)
    assert_type(orc.spawn(Scout), AgentRef)
    assert_type(scouts[0].ask(Scout.score, "a"), float)
    assert_type(scouts[0].ask(Scout.plain, text="a"), str)
    assert_type(scouts[0].ask(Scout.score, "a", within=2.0), float)
    assert_type(scouts[0].ask("score", "a"), Any)
    assert_type(scouts[0].stream(Scout.explain, "a"), Stream[str])
    assert_type(scouts.gather(Scout.score, "a", quorum=2), Gathered[float])
    assert_type(scouts.gather(Scout.plain, "a"), Gathered[str])
    assert_type(orc.broadcast("topic", 1).settled(), Seen)
    scouts[0].tell(Scout.plain, "a")

    scouts[0].ask(Scout.score, 7)  # E: call-overload
    scouts[0].ask(Scout.plain)  # E: call-overload
    scouts[0].stream(Scout.score, "a")  # E: arg-type
    orc.spawn(int)  # E: arg-type
