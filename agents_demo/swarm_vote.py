"""Let a swarm of 128 agents agree without a leader: each asks five others and adopts their majority, round by round."""

import asyncio
import time

from rich.console import Console

from three_mode import Agent, Orchestrator, handler

SIZE = 128


class Bee(Agent):
    def __init__(self) -> None:
        self.choice = self.random.choice("AB")

    @handler(concurrent=64)
    def opinion(self) -> str:
        return self.choice

    @handler
    async def think(self) -> str:
        """Ask five others, and adopt the choice of most of them."""
        asked = self.random.sample(range(SIZE), 5)
        opinions = await asyncio.gather(*(self.ref(f"bee/{number}").ask(Bee.opinion) for number in asked))
        self.choice = max("AB", key=opinions.count)
        return self.choice


async def run(console: Console) -> None:
    async with Orchestrator(hosts=2) as orc:
        bees = await orc.spawn(Bee, SIZE, name="bee")
        for number in range(1, 21):
            started = time.perf_counter()
            votes = list(await bees.gather(Bee.think, within=10))
            share = votes.count("A") / SIZE
            spent = 1e3 * (time.perf_counter() - started)
            console.print(
                f"round {number:2}: {'A' * round(40 * share):40} {100 * share:3.0f} % A   "
                f"{6 * SIZE} calls in {spent:.0f} ms"
            )
            if share in (0.0, 1.0):
                console.print(f"all {SIZE} agree on {votes[0]} after {number} rounds, and nobody led them")
                break
        else:
            console.print("they did not agree in 20 rounds: that happens to swarms, if seldom")


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
