"""256 and 1,000 logical agents on 32 sequences: is everyone served, how evenly, and does memory stay where it is."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import psutil

from benchmarks.harness import Benchmark, Context, Row, Target
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model

SEQUENCES, CONTEXT, TOKENS = 32, 256, 8
SECONDS = {256: 8, 1000: 24}


@dataclass(slots=True)
class Lives:
    served: list[int]  # calls of each agent that were answered in time
    failed: int
    megabytes: list[float]  # of the process, as time goes by

    @property
    def ratio(self) -> float:
        return max(self.served) / max(min(self.served), 1)

    @property
    def growth(self) -> float:
        """In the second half of the time, when all agents have asked more than once."""
        return max(self.megabytes[-3:]) - self.megabytes[len(self.megabytes) // 2]


async def _live(agents: int, seconds: float) -> Lives:
    """Every agent asks again as soon as it is answered; a tenth of them ask ten times at once, as one agent each."""
    async with subjects.ours(model("random-3m-spm"), SEQUENCES, CONTEXT) as engine:
        lives = Lives([0] * agents, 0, [])
        numbers = count()  # no two prompts alike: what is re-used costs an agent nothing
        until = time.perf_counter() + seconds

        async def ask(agent: int) -> None:
            while time.perf_counter() < until:
                answer = await subjects.ask_ours(
                    engine, f"{next(numbers)} of {agent}", TOKENS, f"agent/{agent}", stream=False
                )
                if answer.tokens != TOKENS:
                    lives.failed += 1
                elif time.perf_counter() < until:  # what was still queued then says nothing of shares
                    lives.served[agent] += 1

        async def watch() -> None:
            while time.perf_counter() < until:
                lives.megabytes.append(psutil.Process().memory_info().rss / (1 << 20))
                await asyncio.sleep(0.5)

        greedy = [ask(agent) for agent in range(agents // 10) for _ in range(9)]
        ended = await asyncio.gather(watch(), *map(ask, range(agents)), *greedy, return_exceptions=True)
        lives.failed += sum(isinstance(error, BaseException) for error in ended)
        return lives


def run(context: Context) -> Iterator[Row]:
    for agents, seconds in SECONDS.items():
        context.progress(f"{agents} agents")
        lives = asyncio.run(_live(agents, context.rounds(seconds, 5)))
        case, subject = f"{agents} agents", "random 3M"
        yield Row(case=f"{case}, most served over least", subject=subject, unit="ratio", samples=[lives.ratio])
        yield Row(
            case=f"{case}, calls answered",
            subject=subject,
            unit="calls an agent",
            higher_is_better=True,
            samples=lives.served,
        )
        yield Row(
            case=f"{case}, least served",
            subject=subject,
            unit="calls",
            samples=[min(lives.served)],
            higher_is_better=True,
        )
        yield Row(case=f"{case}, calls failed", subject=subject, unit="calls", samples=[lives.failed])
        yield Row(case=f"{case}, memory grown", subject=subject, unit="MB", samples=[lives.growth])


BENCHMARK = Benchmark(
    summary="256 and 1,000 logical agents on 32 sequences: served, fairly, in bounded memory",
    run=run,
    targets=[
        target
        for agents in SECONDS
        for target in (
            Target(case=f"{agents} agents, most served over least", subject="random 3M", at_most=2.0),
            Target(case=f"{agents} agents, least served", subject="random 3M", at_least=1.0),
            Target(case=f"{agents} agents, calls failed", subject="random 3M", at_most=0.0),
            Target(case=f"{agents} agents, memory grown", subject="random 3M", at_most=8.0),
        )
    ],
    notes="A tenth of the agents ask ten times as much as the others; an answer of 8 tokens is the grain of the fairness.",
)
