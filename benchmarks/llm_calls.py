"""What a call to a model costs on this side, beside the openai SDK and litellm; what the policies add; what calls leave behind."""

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from typing import Any

import psutil

from benchmarks._http2_server import Server, granian, installed
from benchmarks._llm_subjects import AT_ONCE, BODY, MESSAGES, connection, each, opened, raw_request
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async
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

CALL = f"chat_completion, {AT_ONCE} at once, TLS and HTTP/2"
POLICIES = "all policies on, none acting, beyond none at all, processor time"
MEMORY = "memory grown by 10,000 calls"
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


async def calls(server: Server, context: Context) -> dict[str, list[float]]:
    per_round = 640
    async with opened(server) as (llm, pool, client):
        request, ours = raw_request(server, BODY), LLMRequest(model="gpt-4o", messages=MESSAGES)
        subjects: dict[str, Any] = {
            "transport": lambda: pool.fetch(request),
            "three-mode": lambda: llm.chat_completion(ours),
        }
        if client is not None:
            subjects["openai SDK"] = lambda: client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        if client is not None and installed("litellm"):
            os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else its import tries the network
            import litellm

            litellm.suppress_debug_info = True
            subjects["litellm"] = lambda: litellm.acompletion(
                model="openai/gpt-4o", messages=MESSAGES, client=client, num_retries=0
            )
        rounds = {name: _round(work, per_round) for name, work in subjects.items()}
        return await alternate_async(rounds, rounds=context.rounds(8))


def _round(work: Any, count: int) -> Any:
    return lambda: each(work, count)


async def policies(server: Server, context: Context) -> list[float]:
    """Differences within a round: the same fresh requests through a connection without policies, and one with all. Seconds of
    processor time of this process, because the difference is small beside the noise of a network."""
    number = iter(range(10**9))
    per_round = 640 if context.quick else 2560

    def asking(llm: LLMConnection) -> Any:
        return lambda: llm.chat_completion(
            LLMRequest(model="gpt-4o", messages=[{"role": "user", "content": f"Hello {next(number)}"}])
        )

    async with connection(server, NONE) as bare, connection(server, ALL) as full:
        rounds = {"bare": _busy(asking(bare), per_round), "full": _busy(asking(full), per_round)}
        samples = await alternate_async(rounds, rounds=context.rounds(12))
    return [
        1e6 * (with_all - without) for with_all, without in zip(samples["full"], samples["bare"], strict=True)
    ]


def _busy(work: Any, count: int) -> Any:
    async def sample() -> float:
        began = time.process_time()
        await each(work, count)
        return (time.process_time() - began) / count

    return sample


async def memory(server: Server, context: Context) -> float:
    """Megabytes of resident memory after 10,000 calls, beyond what the first 2,000 brought it to."""
    async with connection(server) as llm:
        ask = LLMRequest(model="gpt-4o", messages=MESSAGES)
        await each(lambda: llm.chat_completion(ask), 1280 if context.quick else 2560)
        gc.collect()
        before = psutil.Process().memory_info().rss
        await each(lambda: llm.chat_completion(ask), 1280 if context.quick else 10_240)
        gc.collect()
        return float(psutil.Process().memory_info().rss - before) / 1e6


def run(context: Context) -> Iterator[Row | Missing]:
    if not installed("granian"):
        yield Missing(case=CALL, subject="granian", how_to_get="pip install granian")
        return
    for peer in ("openai", "litellm"):
        if not installed(peer):
            yield Missing(case=CALL, subject=peer, how_to_get=f"pip install {peer}")
    with granian(tls=True, app="benchmarks._llm_app:app") as server:
        context.progress(CALL)
        for name, seconds in asyncio.run(calls(server, context)).items():
            yield Row(case=CALL, subject=name, unit="us", samples=[1e6 * s for s in seconds])
        context.progress(POLICIES)
        yield Row(
            case=POLICIES, subject="three-mode", unit="us", samples=asyncio.run(policies(server, context))
        )
        context.progress(MEMORY)
        yield Row(
            case=MEMORY, subject="three-mode", unit="MB", samples=[asyncio.run(memory(server, context))]
        )


BENCHMARK = Benchmark(
    summary="a call to a model, beside the openai SDK and litellm; what the policies add",
    run=run,
    targets=[
        Target(case=CALL, subject="three-mode", peer="openai SDK", at_most=0.12),
        Target(case=CALL, subject="three-mode", peer="litellm", at_most=0.08),
        Target(case=POLICIES, subject="three-mode", at_most=30.0),
        Target(case=MEMORY, subject="three-mode", at_most=5.0),
    ],
    notes="One server (granian, its own process) with a constant answer; client and server share the machine. The openai SDK and "
    "litellm go over HTTP/2 too, through httpx. litellm is not in constraints.txt, because it wants another openai.",
)
