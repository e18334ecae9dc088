"""Two agents argue in turns until a third, who hears every word, has enough. Nobody here is a model: the flow is the idea."""

import asyncio
from typing import Any

from rich.console import Console

from three_mode import Agent, Orchestrator, handler, on

POINTS = {
    "tabs": ["anyone may choose the width", "one key, one level", "files are smaller"],
    "spaces": ["it looks the same everywhere", "columns line up", "the style guide says so"],
}
RESTS = "I rest my case"


class Debater(Agent):
    def __init__(self, side: str) -> None:
        self.side, self.points = side, list(POINTS[side])

    @handler
    async def argue(self, against: str) -> str:
        """Says its next point; the other answers when this one has ended."""
        point = self.points.pop(0) if self.points else RESTS
        said = self.broadcast("debate.said", {"side": self.side, "point": point})
        await said.settled(within=1.0)  # the judge has heard it before the other side does
        return point


class Judge(Agent):
    def __init__(self) -> None:
        self.heard: list[str] = []

    @on("debate.*")
    def hear(self, said: dict[str, Any]) -> None:
        self.heard.append(f"{said['side']:>6}: {said['point']}")

    @handler
    def enough(self) -> bool:
        """Whether both sides have rested, one after the other."""
        return len(self.heard) > 1 and all(line.endswith(RESTS) for line in self.heard[-2:])

    @handler
    def minutes(self) -> list[str]:
        return self.heard


async def run(console: Console) -> None:
    async with Orchestrator(hosts=2) as orc:
        judge = await orc.spawn(Judge, name="judge")
        sides = [await orc.spawn(Debater, name=side, side=side) for side in POINTS]
        last, turn = "begin", 0
        while not await judge.ask(Judge.enough):
            last = await sides[turn % 2].ask(Debater.argue, last, within=2)
            turn += 1
        for line in await judge.ask(Judge.minutes):
            console.print(line)
        console.print(f"the judge, who only listened, ended it after {turn} turns")


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
