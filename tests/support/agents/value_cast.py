"""Agents whose handlers take and return values beyond plain data. Hosts import this module by name."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from three_mode import Agent, handler, on
from three_mode.agents import AgentGroup, AgentRef, RoleRef


class Part(BaseModel):
    number: int = Field(gt=0)


class Order(BaseModel):
    item: str = Field(alias="Item", serialization_alias="ITEM")
    parts: list[Part] = []
    tags: set[str] = set()


class Keeper(Agent):
    """Gives back what it gets, with a hint and without."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    @handler
    def same(self, value):  # type: ignore[no-untyped-def]  # no hint is the case
        return value

    @handler
    def kind(self, value: Any) -> str:
        return type(value).__name__

    @handler
    async def each(self, values: list[Any]) -> AsyncIterator[Any]:
        for value in values:
            yield value

    @handler
    def pair(self, value: tuple[int, int]) -> tuple[int, int]:
        return value

    @handler
    def order(self, order: Order) -> Order:
        return order.model_copy(update={"tags": {*order.tags, "seen"}})

    @handler
    def double(self, array: NDArray[np.float64]) -> NDArray[np.float64]:
        array *= 2.0  # it is ours, and writable
        return array

    @handler
    def mean(self, array: np.ndarray) -> float:
        return array.mean()  # type: ignore[no-any-return]  # a numpy.float64

    @handler
    async def ask_peer(self, peer: AgentRef, text: str) -> str:
        answer: str = await peer.ask(Keeper.who, text)
        return answer

    @handler
    async def pass_on(self, peer: AgentRef, value: Any) -> Any:
        assert await self.ref(peer.name).ask("same", value) == value
        return await peer.ask(Keeper.same, value)

    @handler
    async def ask_any(self, role: RoleRef, text: str) -> str:
        answer: str = await role.ask(Keeper.who, text)
        return answer

    @handler
    async def ask_all(self, group: AgentGroup) -> list[str]:
        return sorted(await group.gather(Keeper.who, "all"))

    @handler
    def tell_peer(self, peer: AgentRef) -> None:
        peer.tell(Keeper.note, "told")

    @handler
    def me(self) -> AgentRef:
        return self.ref(self.name)

    @handler(concurrent=8)
    def who(self, text: str) -> str:
        return f"{self.name} {text}"

    @handler
    def note(self, item: Any) -> None:
        self.heard.append(item)

    @on("open")
    def hear(self, item: Any) -> None:
        self.heard.append(item)

    @on("hinted")
    def hear_pair(self, item: tuple[int, int]) -> None:
        self.heard.append(item)

    @handler
    def all_heard(self) -> list[Any]:
        return self.heard
