"""Overhead of the engine: time outside of decode per step, and a call of one token."""

import asyncio
import time
from collections.abc import Iterator

from benchmarks.harness import Benchmark, Context, Row, Target
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model
from local_models import LoadOptions, LocalModel
from local_models.files import TINY

SUBJECT = "16 sequences, 30M"


async def _share(*, stream: bool) -> float:
    """Measures engine time over decode time, for 16 sequences of the 30M model."""
    async with subjects.ours(model("random-30m-spm"), 16, 512) as engine:
        await subjects.ask_ours(engine, "warm", 4)
        before = await engine.statistics()
        await subjects.together(
            [subjects.ask_ours(engine, subjects.words(1, n), 64, str(n), stream=stream) for n in range(16)]
        )
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


def run(context: Context) -> Iterator[Row]:
    for case, stream in (("engine time of decode time", False), ("the same, every token streamed", True)):
        samples = [asyncio.run(_share(stream=stream)) for _ in range(context.rounds(3, least=1))]
        yield Row(case=case, subject=SUBJECT, unit="ratio", samples=samples)
    calls = asyncio.run(_one_token(context.rounds(300, 100)))
    yield Row(case="one-token call", subject="tiny, idle", unit="ms", samples=calls)


BENCHMARK = Benchmark(
    summary="the engine's own time: per step, and for a call of one token",
    run=run,
    targets=[
        Target(case="engine time of decode time", subject=SUBJECT, at_most=0.05),
        Target(case="the same, every token streamed", subject=SUBJECT, at_most=0.05),
        Target(case="one-token call", subject="tiny, idle", at_most=2.0),
    ],
)
