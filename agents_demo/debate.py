"""Two agents argue in turns until a third one, which follows by broadcasts, has enough; no model takes part."""

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
        """Return the next point; the other side answers once this call has ended."""
        point = self.points.pop(0) if self.points else RESTS
        receipt = self.broadcast("debate.said", {"side": self.side, "point": point})
        await receipt.settled(within=1.0)  # the judge has the point before the other side does
        return point


class Judge(Agent):
    def __init__(self) -> None:
        self.points: list[str] = []

    @on("debate.*")
    def note(self, message: dict[str, Any]) -> None:
        self.points.append(f"{message['side']:>6}: {message['point']}")

    @handler
    def enough(self) -> bool:
        """Whether both sides have rested, one after the other."""
        return len(self.points) > 1 and all(line.endswith(RESTS) for line in self.points[-2:])

    @handler
    def minutes(self) -> list[str]:
        return self.points


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
