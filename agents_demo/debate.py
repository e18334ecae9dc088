"""Two agents argue in turns until a third, who hears every word, has enough. Nobody here is a model: the flow is the idea."""

import asyncio
from typing import Any

from rich.console import Console

from three_mode import Agent, Orchestrator, handler, on

POINTS = {
    "tabs": ["anyone may choose the width", "one key, one level", "files are smaller"],
    "spaces": ["it looks the same everywhere", "columns line up", "the style guide says so"],
}


class Debater(Agent):
    def __init__(self, side: str) -> None:
        self.side, self.points = side, list(POINTS[side])

    @handler
    async def argue(self, against: str) -> str:
        """Says its next point; the other answers when this one has ended."""
        point = self.points.pop(0) if self.points else "I rest my case"
        await self.broadcast("debate.said", {"side": self.side, "point": point})
        return point


class Judge(Agent):
    def __init__(self) -> None:
        self.heard: list[str] = []

    @on("debate.*")
    def hear(self, said: dict[str, Any]) -> None:
        self.heard.append(f"{said['side']:>6}: {said['point']}")

    @handler
    def verdict(self) -> list[str]:
        return self.heard


async def run(console: Console) -> None:
    async with Orchestrator(hosts=2) as orc:
        judge = await orc.spawn(Judge, name="judge")
        sides = [await orc.spawn(Debater, name=side, side=side) for side in POINTS]
        last = "begin"
        for turn in range(8):
            last = await sides[turn % 2].ask(Debater.argue, last, within=2)
        await orc.broadcast("debate.over", {"side": "chair", "point": "thank you"}).settled(1.0)
        for line in await judge.ask(Judge.verdict):
            console.print(line)


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
