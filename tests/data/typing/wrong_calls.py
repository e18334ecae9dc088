"""Calls that a type checker refuses: each line with an `E:` is one error, of that code. Only mypy reads this file."""

from collections.abc import AsyncIterator
from typing import Literal

from three_mode import Agent, handler
from three_mode.agents import AgentGroup, AgentRef, RoleRef


class Scout(Agent):
    @handler
    async def score(self, text: str, bias: float = 0.0) -> float:
        return len(text) + bias

    @handler
    def plain(self, text: str) -> str:
        return text

    @handler
    async def mood(self, *, mood: Literal["calm", "loud"]) -> str:
        return mood

    @handler
    def count(self) -> int:
        return 0

    @handler
    async def explain(self, text: str) -> AsyncIterator[str]:
        yield text


async def ask(ref: AgentRef, role: RoleRef) -> None:
    await ref.ask(Scout.score, 5)  # E: call-overload
    await ref.ask(Scout.score)  # E: call-overload
    await ref.ask(Scout.score, "hello", "much")  # E: call-overload
    await ref.ask(Scout.score, "hello", 1.0, 2.0)  # E: call-overload
    await ref.ask(Scout.score, txt="hello")  # E: call-overload
    await ref.ask(Scout.score, text=5)  # E: call-overload
    await ref.ask(Scout.mood, mood="furious")  # E: call-overload
    await ref.ask(Scout.count, 1)  # E: call-overload
    await ref.ask(Scout.score, 5, within=2.0)  # E: misc
    await ref.ask(Scout.score, within=2.0)  # E: misc
    await ref.ask(Scout.score, "hello", 1.0, 2.0, within=2.0)  # E: misc
    await ref.ask(Scout.plain, 5, within=2.0)  # E: misc
    await ref.ask(Scout.count, 1, within=2.0)  # E: misc
    await ref.ask(Scout.score, "hello", within="soon")  # E: call-arg
    await ref.ask(Scout.score, "hello", wihtin=2.0)  # E: call-arg
    await ref.ask(7, "hello")  # E: call-overload
    await role.ask(Scout.score, 5)  # E: call-overload
    await role.ask(Scout.plain, 5, within=1)  # E: misc


async def answers(ref: AgentRef, role: RoleRef, group: AgentGroup) -> None:
    text: str = await ref.ask(Scout.score, "hello")  # E: call-overload
    text = await ref.ask(Scout.score, "hello", within=1)  # E: misc
    text = await ref.ask(Scout.score, text="hello", within=1)  # E: arg-type
    number: int = await role.ask(Scout.plain, "hello")  # E: call-overload
    values: dict[str, str] = (await group.gather(Scout.score, "hello", within=1)).values  # E: assignment
    for vote in await group.gather(Scout.plain, "hello"):
        number = vote  # E: assignment
    async for part in ref.stream(Scout.explain, "hello", within=1):
        number = part  # E: assignment
    assert text or number or values


async def stream(ref: AgentRef, role: RoleRef) -> None:
    ref.stream(Scout.explain, 5)  # E: call-overload
    ref.stream(Scout.score, "hello")  # E: call-overload
    async with ref.stream(Scout.explain, 5, within=1) as _:  # E: attr-defined attr-defined
        pass
    async for _ in role.stream(Scout.explain, within=1):  # E: attr-defined
        pass


async def tell(ref: AgentRef, group: AgentGroup) -> None:
    ref.tell(Scout.score, 5)  # E: call-overload
    ref.tell(Scout.score)  # E: call-overload
    ref.tell(Scout.score, "hello", within=1)  # E: call-arg
    group.tell(Scout.plain, 5)  # E: call-overload


async def gather(group: AgentGroup) -> None:
    await group.gather(Scout.score, 5)  # E: misc
    await group.gather(Scout.score)  # E: misc
    await group.gather(Scout.score, 5, within=1)  # E: misc
    await group.gather(Scout.score, "hello", 1.0, 2.0, quorum=3)  # E: misc
    await group.gather(Scout.score, txt="hello")  # E: call-overload
    await group.gather(Scout.score, "hello", quorum="most")  # E: call-arg
