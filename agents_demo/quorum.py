"""Ask 64 agents at once, and go on when 48 have answered: partial results are values."""

import asyncio
import time

from rich.console import Console

from three_mode import Agent, Orchestrator, handler


class Voter(Agent):
    @handler
    async def vote(self, question: str) -> bool:
        await asyncio.sleep(self.random.uniform(0.01, 0.3))  # some agents take longer than others
        return self.random.random() < 0.6


async def run(console: Console) -> None:
    async with Orchestrator(hosts=2) as orc:
        voters = await orc.spawn(Voter, 64, name="voter")
        for quorum in (None, 48, 16):
            started = time.perf_counter()
            votes = await voters.gather(Voter.vote, "shall we?", within=5.0, quorum=quorum)
            console.print(
                f"quorum {quorum or 'all':>3}: {sum(votes)} of {len(votes)} said yes, "
                f"{len(votes.missing)} were not waited for, "
                f"after {1e3 * (time.perf_counter() - started):.0f} ms"
            )


def main(words: list[str]) -> None:
    asyncio.run(run(Console()))
