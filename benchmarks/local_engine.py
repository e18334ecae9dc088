"""The engine's own time: per step beside the decode, for a call of one token, and how evenly many agents are served."""

import asyncio
import time
from collections.abc import Iterator

from benchmarks.harness import Benchmark, Context, Row, Target
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model
from local_models import LoadOptions, LocalModel
from local_models.catalogue import TINY


async def _share() -> float:
    """Engine time over decode time, 16 sequences of the 30M model."""
    async with subjects.ours(model("random-30m-spm"), 16, 512) as engine:
        await subjects.ask_ours(engine, "warm", 4)
        before = await engine.statistics()
        await subjects.together([
            subjects.ask_ours(engine, subjects.words(1, n), 64, str(n), stream=False) for n in range(16)
        ])  # fmt: skip
        after = await engine.statistics()
        return (after.engine_seconds - before.engine_seconds) / (after.decode_seconds - before.decode_seconds)


async def _one_token(calls: int) -> list[float]:
    async with await LocalModel.load(TINY, LoadOptions(sequences=4, context=512)) as engine:
        taken = []
        for number in range(calls + 10):
            started = time.perf_counter()
            await engine.chat([{"role": "user", "content": f"hi {number}"}], max_tokens=1, temperature=0)
            taken.append(1000 * (time.perf_counter() - started))
        return taken[10:]


async def _fair(agents: int, rounds: int) -> float:
    """Most over least served: every agent asks again as soon as it is answered, some ask ten times as much."""
    async with subjects.ours(
        model("random-3m-spm"), 32, 256
    ) as engine:  # its answers are all as long as asked
        served = dict.fromkeys(range(agents), 0)
        until = time.perf_counter() + rounds

        async def live(agent: int) -> None:
            while time.perf_counter() < until:
                answer = await subjects.ask_ours(engine, f"Count {agent}", 16, f"agent/{agent}", stream=False)
                if (
                    time.perf_counter() < until
                ):  # what is still queued then is answered, but says nothing of shares
                    served[agent] += answer.tokens

        greedy = [live(agent) for agent in range(agents // 10) for _ in range(9)]
        await asyncio.gather(*(live(agent) for agent in range(agents)), *greedy)
        return max(served.values()) / max(min(served.values()), 1)


def run(context: Context) -> Iterator[Row]:
    yield Row(
        case="engine time of decode time",
        subject="16 sequences, 30M",
        unit="ratio",
        samples=[asyncio.run(_share()) for _ in range(context.rounds(5))],
    )
    yield Row(
        case="one-token call",
        subject="tiny, idle",
        unit="ms",
        samples=asyncio.run(_one_token(context.rounds(300, 100))),
    )
    for agents in (256, 1000):
        seconds = context.rounds(8 if agents == 256 else 20, 5)
        yield Row(
            case=f"{agents} agents, most served over least",
            subject="random 3M",
            unit="ratio",
            samples=[asyncio.run(_fair(agents, seconds))],
        )


BENCHMARK = Benchmark(
    summary="the engine's own time, and fairness",
    run=run,
    targets=[
        Target(case="engine time of decode time", subject="16 sequences, 30M", at_most=0.05),
        Target(case="one-token call", subject="tiny, idle", at_most=2.0),
        Target(case="256 agents, most served over least", subject="random 3M", at_most=2.0),
        Target(case="1000 agents, most served over least", subject="random 3M", at_most=2.0),
    ],
    notes="A tenth of the agents ask ten times as much as the others; an answer of 16 tokens is the grain of the fairness.",
)
