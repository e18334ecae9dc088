"""Record agents with a clock and dice, replay the run in milliseconds, and find where changed code does otherwise."""

import asyncio
import tempfile
import time
from pathlib import Path

from rich.console import Console

from three_mode import Agent, Orchestrator, handler
from three_mode.agents import OrchestratorOptions, replay

RULES = {"wins": 6}  # changed below, as a developer would change the code


class Bank(Agent):
    def __init__(self) -> None:
        self.paid = 0

    @handler
    def pay(self, amount: int) -> int:
        self.paid += amount
        return self.paid


class Player(Agent):
    @handler
    async def play(self, rounds: int) -> list[int]:
        rolls = []
        for _ in range(rounds):
            await asyncio.sleep(0.05)  # thinks about it
            rolls.append(self.random.randint(1, 6))
            if rolls[-1] >= RULES["wins"]:
                await self.ref("bank/0").ask(Bank.pay, rolls[-1])
        return rolls


async def record(console: Console, path: Path) -> None:
    options = OrchestratorOptions(record=str(path), seed=time.time_ns() % 1000)
    async with Orchestrator(hosts=2, options=options) as orc:
        await orc.spawn(Bank, name="bank")
        players = await orc.spawn(Player, 3, name="player")
        started = time.perf_counter()
        for name, rolls in (await players.gather(Player.play, 20, within=30)).values.items():
            console.print(f"  {name} rolled {' '.join(map(str, rolls))}", highlight=False)
        console.print(f"that took {time.perf_counter() - started:.2f} s, in three processes")


def main(words: list[str]) -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.rec"
        asyncio.run(record(console, path))
        started = time.perf_counter()
        same = replay(path)
        spent = 1e3 * (time.perf_counter() - started)
        console.print(
            f"replayed: {same.messages} messages of {same.agents} agents in {spent:.0f} ms, in this one; "
            f"what went otherwise: {same.divergence or 'nothing'}"
        )
        RULES["wins"] = 5
        console.print("now the code is changed (a five wins too), and the same run is replayed:")
        console.print(
            f"  {replay(path).divergence or 'nothing went otherwise: nobody had rolled a five'}",
            highlight=False,
        )
