"""Cost of policies that do not act: a connection with all policies beside one with none, in small blocks in turn.

The difference is small beside the noise of a shared machine, so the sides alternate every 256 calls, and swap who goes
first; each pair of blocks is a sample. The garbage collector runs too seldom for blocks of that size, and then visits
objects of both sides. So its time is taken out of the blocks, measured for each side over a long run, and its
difference added to every sample.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks._http2_server import Server
from benchmarks._llm_subjects import Work, at_once, connection
from benchmarks.harness import Context
from three_mode import LLMConnection, LLMRequest
from three_mode.policies import (
    Budget,
    CacheOptions,
    FallbackOptions,
    HedgeOptions,
    LimiterOptions,
    Policies,
    RetryOptions,
    Route,
)
from three_mode.policies import Target as To

NONE = Policies(retry=RetryOptions(attempts=1), breaker=None, limiter=None)
ALL = Policies(
    cache=CacheOptions(),
    coalesce=True,
    hedge=HedgeOptions(after=1e6),
    limiter=LimiterOptions(),
    fallback=FallbackOptions(targets=(To("openai", "gpt-4o-mini"),), first_content=1e9),
    budgets=(Budget(limit=10**12),),
    routes=(Route("smart", (To("openai", "gpt-4o"),)),),
)
BLOCK, STRETCH = 256, 10_240


async def policies(server: Server, context: Context) -> list[float]:
    """Microseconds of processor time that the policies add to a call, in samples. No two calls are equal."""
    number = iter(range(10**9))

    def asking(llm: LLMConnection) -> Work:
        return lambda: llm.chat_completion(
            LLMRequest(model="gpt-4o", messages=[{"role": "user", "content": f"Hello {next(number)}"}])
        )

    async with connection(server, NONE) as bare, connection(server, ALL) as full:
        sides = [asking(bare), asking(full)]
        stretch = 1280 if context.quick else STRETCH
        collected = [await _collector_time(ask, stretch) for ask in sides]
        pairs = [await _pair(sides, swapped=bool(i % 2)) for i in range(context.rounds(96))]
    return [1e6 * (pair[1] - pair[0] + collected[1] - collected[0]) for pair in pairs]


async def _pair(sides: list[Work], *, swapped: bool) -> list[float]:
    """Seconds a call of each side, without the collector's time."""
    seconds = [0.0, 0.0]
    for side in (1, 0) if swapped else (0, 1):
        with _collector() as spent:
            began = time.process_time()
            await at_once(sides[side], BLOCK)
            seconds[side] = (time.process_time() - began - sum(spent)) / BLOCK
    return seconds


async def _collector_time(ask: Work, count: int) -> float:
    """Seconds a call that the collector takes in a program that does only such calls."""
    await at_once(ask, BLOCK * 5)  # fills the cache
    gc.collect()
    with _collector() as spent:
        await at_once(ask, count)
    return sum(spent) / count


@contextmanager
def _collector() -> Iterator[list[float]]:
    """Processor seconds of each run of the garbage collector."""
    spent: list[float] = []
    began = 0.0

    def on_collection(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.process_time()
        else:
            spent.append(time.process_time() - began)

    gc.callbacks.append(on_collection)
    try:
        yield spent
    finally:
        gc.callbacks.remove(on_collection)
