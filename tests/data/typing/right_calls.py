"""Calls that a type checker accepts, and the types that it sees. Only mypy reads this file."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, assert_type

from three_mode import Agent, Orchestrator, handler, on
from three_mode.agents import AgentGroup, AgentRef, Gathered, Joined, RoleRef, Sent, SentToAll, Stream, join


@dataclass
class Opinion:
    author: str
    score: float


class Item(TypedDict):
    id: int


class Scout(Agent):
    @handler
    async def score(self, text: str, bias: float = 0.0) -> float:
        return len(text) + bias

    @handler
    def plain(self, text: str) -> str:
        return text

    @handler
    async def opinion(self, text: str, *, mood: Literal["calm", "loud"]) -> Opinion:
        return Opinion(text, len(mood))

    @handler(concurrent=4)
    def count(self) -> int:
        return 0

    @handler(idempotent=True)
    async def mean(self, weights: list[float]) -> float | None:
        return sum(weights)

    @handler
    async def nothing(self) -> None:
        return None

    @handler
    async def explain(self, text: str) -> AsyncIterator[str]:
        yield text

    @on("news.*")
    def read(self, item: Item) -> None:
        pass

    @handler
    async def votes(self) -> list[float]:
        answers = await self.group("scout").gather(Scout.score, "hello", within=5)
        assert_type(answers, Gathered[float])
        return list(answers)


async def ask(ref: AgentRef, anything: Any) -> None:
    assert_type(await ref.ask(Scout.score, "hello"), float)
    assert_type(await ref.ask(Scout.score, "hello", 1), float)
    assert_type(await ref.ask(Scout.score, "hello", within=2.0), float)
    assert_type(await ref.ask(Scout.score, "hello", 0.5, within=None), float)
    assert_type(await ref.ask(Scout.score, text="hello", bias=1.0), float)
    assert_type(await ref.ask(Scout.score, "hello", bias=1.0, within=2.0), float)
    assert_type(await ref.ask(Scout.plain, "hello"), str)
    assert_type(await ref.ask(Scout.plain, "hello", within=2), str)
    assert_type(await ref.ask(Scout.opinion, "hello", mood="calm"), Opinion)
    assert_type(await ref.ask(Scout.opinion, "hello", mood="calm", within=2), Opinion)
    assert_type(await ref.ask(Scout.count), int)
    assert_type(await ref.ask(Scout.count, within=1), int)
    assert_type(await ref.ask(Scout.mean, [1, 2]), float | None)
    assert_type(await ref.ask(Scout.mean, weights=[1, 2], within=1), float | None)
    await ref.ask(Scout.nothing, within=1)
    # What is not known is not checked; the answer has its type all the same.
    assert_type(await ref.ask(Scout.score, anything, within=1), float)
    assert_type(await ref.ask(Scout.plain, *anything, within=1), str)
    answers = await asyncio.gather(ref.ask(Scout.score, "a", within=1), ref.ask(Scout.score, "b"))
    assert_type(answers, tuple[float, float])


async def by_name(ref: AgentRef, chosen: Callable[..., Any] | str) -> None:
    assert_type(await ref.ask("score", "hello", within=2.0), Any)
    assert_type(await ref.ask("score", text="hello"), Any)
    assert_type(await ref.ask(chosen, 7, within=1), Any)
    assert_type(ref.stream("explain", "hello", within=1), Stream[Any])
    assert_type(ref.tell("score", "hello"), Sent)


async def stream(ref: AgentRef) -> None:
    assert_type(ref.stream(Scout.explain, "hello"), Stream[str])
    assert_type(ref.stream(Scout.explain, "hello", within=5), Stream[str])
    assert_type(ref.stream(Scout.explain, text="hello"), Stream[str])
    async with ref.stream(Scout.explain, text="hello", within=5) as parts:
        assert_type([part async for part in parts], list[str])


async def tell(ref: AgentRef, group: AgentGroup) -> None:
    assert_type(ref.tell(Scout.read, {"id": 1}), Sent)
    assert_type(ref.tell(Scout.score, text="hello"), Sent)
    await ref.tell(Scout.count)
    assert_type(group.tell(Scout.read, {"id": 1}), SentToAll)
    await group.tell(Scout.read, {"id": 1})


async def gather(group: AgentGroup) -> None:
    assert_type((await group.gather(Scout.score, "hello")).values, dict[str, float])
    assert_type((await group.gather(Scout.plain, "hello", within=5, quorum=3)).values, dict[str, str])
    assert_type((await group.gather(Scout.score, text="hello", quorum=3)).values, dict[str, float])
    assert_type((await group.gather(Scout.opinion, "hello", mood="loud", within=3)).values, dict[str, Opinion])
    total: float = sum(await group.gather(Scout.score, "hello", within=5))
    assert total
    assert_type(list(await group.gather(Scout.count)), list[int])
    assert_type(await group.gather("score", "hello", within=1), Gathered[Any])


async def roles(orc: Orchestrator, role: RoleRef, group: AgentGroup) -> None:
    assert_type(await role.ask(Scout.score, "hello", within=2.0), float)
    assert_type(await orc.any("scout").ask(Scout.plain, "hello"), str)
    assert_type(group.any, RoleRef)
    assert_type(group.any(), RoleRef)
    assert_type(await group[7].ask(Scout.count), int)
    assert_type(await orc.spawn(Scout, name="scout"), AgentRef)
    assert_type(await orc.spawn(Scout, 8, name="scout"), AgentGroup)


async def outside() -> None:
    async with join("city") as city:
        assert_type(city, Joined)
        assert_type(await city.ref("scout/7").ask(Scout.score, "hello"), float)
