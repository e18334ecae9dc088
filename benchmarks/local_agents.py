"""Fairness: 256 and 1,000 logical agents on 32 sequences; calls served, their spread, and the growth of memory."""

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
class Outcome:
    """Counts of one run."""

    served: list[int]  # calls of each agent that were answered in time
    failed: int
    megabytes: list[float]  # of the process, every half second

    @property
    def ratio(self) -> float:
        """Calls of the most served agent over those of the least served."""
        return max(self.served) / max(min(self.served), 1)

    @property
    def growth(self) -> float:
        """Growth in the second half of the time, when all agents have asked more than once."""
        return max(self.megabytes[-3:]) - self.megabytes[len(self.megabytes) // 2]


async def _run_agents(agents: int, seconds: float) -> Outcome:
    """Lets every agent ask again once it is answered; a tenth of them ask ten times at once, as one agent each."""
    async with subjects.ours(model("random-3m-spm"), SEQUENCES, CONTEXT) as engine:
        outcome = Outcome([0] * agents, 0, [])
        numbers = count()  # no two prompts alike: re-used tokens cost an agent nothing
        until = time.perf_counter() + seconds

        async def ask(agent: int) -> None:
            while time.perf_counter() < until:
                answer = await subjects.ask_ours(
                    engine, f"{next(numbers)} of {agent}", TOKENS, f"agent/{agent}", stream=False
                )
                if answer.tokens != TOKENS:
                    outcome.failed += 1
                elif time.perf_counter() < until:  # later answers were queued and say nothing about shares
                    outcome.served[agent] += 1

        async def watch() -> None:
            while time.perf_counter() < until:
                outcome.megabytes.append(psutil.Process().memory_info().rss / (1 << 20))
                await asyncio.sleep(0.5)

        greedy = [ask(agent) for agent in range(agents // 10) for _ in range(9)]
        ended = await asyncio.gather(watch(), *map(ask, range(agents)), *greedy, return_exceptions=True)
        outcome.failed += sum(isinstance(error, BaseException) for error in ended)
        return outcome


def run(context: Context) -> Iterator[Row]:
    for agents, seconds in SECONDS.items():
        context.progress(f"{agents} agents")
        outcome = asyncio.run(_run_agents(agents, context.rounds(seconds, 5)))
        case, subject = f"{agents} agents", "random 3M"
        yield Row(case=f"{case}, most served over least", subject=subject, unit="ratio", samples=[outcome.ratio])
        yield Row(
            case=f"{case}, calls answered",
            subject=subject,
            unit="calls an agent",
            higher_is_better=True,
            samples=outcome.served,
        )
        yield Row(
            case=f"{case}, least served",
            subject=subject,
            unit="calls",
            samples=[min(outcome.served)],
            higher_is_better=True,
        )
        yield Row(case=f"{case}, calls failed", subject=subject, unit="calls", samples=[outcome.failed])
        yield Row(case=f"{case}, memory grown", subject=subject, unit="MB", samples=[outcome.growth])


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
    notes="A tenth of the agents ask ten times as much as the others; fairness is counted in answers of 8 tokens.",
)
