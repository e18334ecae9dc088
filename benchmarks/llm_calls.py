"""Calls to a model: their time on this side, beside the openai SDK and litellm; cost of policies; memory."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks._http2_server import Server, granian, installed
from benchmarks._llm_policies import policies
from benchmarks._llm_subjects import AT_ONCE, BODY, MESSAGES, connection, each, opened, raw_request
from benchmarks._peers import how_to_get, program
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async
from three_mode import LLMRequest

CALL = f"chat_completion, {AT_ONCE} at once, TLS and HTTP/2"
POLICIES = "all policies on, none acting, beyond none at all, processor time"
MEMORY = "memory grown by 10,000 calls"
LITELLM = program("litellm")
CALLER = str(Path(__file__).with_name("_litellm_caller.py"))


async def calls(server: Server, context: Context) -> dict[str, list[float]]:
    """Seconds a call of each subject."""
    per_round = 640
    async with opened(server) as (llm, pool, client):
        request, ours = raw_request(server, BODY), LLMRequest(model="gpt-4o", messages=MESSAGES)
        subjects: dict[str, Any] = {
            "transport": lambda: pool.fetch(request),
            "three-mode": lambda: llm.chat_completion(ours),
        }
        if client is not None:
            subjects["openai SDK"] = lambda: client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        rounds = {name: _round(work, per_round) for name, work in subjects.items()}
        async with AsyncExitStack() as stack:
            if LITELLM.exists():
                rounds["litellm"] = await stack.enter_async_context(_litellm(server, per_round))
            return await alternate_async(rounds, rounds=context.rounds(8))


def _round(work: Any, count: int) -> Any:
    return lambda: each(work, count)


@asynccontextmanager
async def _litellm(server: Server, per_round: int) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """litellm in a process with an environment of its own: it wants another openai. Returns what makes a round."""
    assert server.certificates is not None
    pipe = asyncio.subprocess.PIPE
    with TemporaryDirectory() as folder:
        authority, _, _ = server.certificates.write(Path(folder))
        process = await asyncio.create_subprocess_exec(
            LITELLM, CALLER, server.url, authority, str(AT_ONCE), stdin=pipe, stdout=pipe
        )
        asks, answers = process.stdin, process.stdout
        assert asks is not None
        assert answers is not None
        try:
            assert await answers.readline() == b"ready\n"

            async def a_round() -> float:
                asks.write(f"{per_round}\n".encode())
                return float(await answers.readline())

            yield a_round
        finally:
            asks.close()
            await process.wait()


async def memory(server: Server, context: Context) -> float:
    """Growth of resident memory by 10,000 calls after the first 2,000, in megabytes."""
    async with connection(server) as llm:
        ask = LLMRequest(model="gpt-4o", messages=MESSAGES)
        await each(lambda: llm.chat_completion(ask), 1280 if context.quick else 2560)
        gc.collect()
        before = psutil.Process().memory_info().rss
        await each(lambda: llm.chat_completion(ask), 1280 if context.quick else 10_240)
        gc.collect()
        return float(psutil.Process().memory_info().rss - before) / 1e6


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    if not installed("granian"):
        yield Missing(case=CALL, subject="granian", how_to_get="pip install granian")
        return
    if not installed("openai"):
        yield Missing(case=CALL, subject="openai SDK", how_to_get="python3 scripts/venv.py bench")
    if not LITELLM.exists():
        yield Missing(case=CALL, subject="litellm", how_to_get=how_to_get("litellm"))
    with granian(tls=True, app="benchmarks._llm_app:app") as server:
        context.progress(CALL)
        for name, seconds in asyncio.run(calls(server, context)).items():
            yield Row(case=CALL, subject=name, unit="us", samples=[1e6 * s for s in seconds])
        context.progress(POLICIES)
        yield Row(case=POLICIES, subject="three-mode", unit="us", samples=asyncio.run(policies(server, context)))
        context.progress(MEMORY)
        yield Row(case=MEMORY, subject="three-mode", unit="MB", samples=[asyncio.run(memory(server, context))])


BENCHMARK = Benchmark(
    summary="a call to a model, beside the openai SDK and litellm; what the policies add",
    run=run,
    targets=[
        Target(case=CALL, subject="three-mode", peer="openai SDK", at_most=0.12),
        Target(case=CALL, subject="three-mode", peer="litellm", at_most=0.08),
        Target(case=POLICIES, subject="three-mode", at_most=30.0),
        Target(case=MEMORY, subject="three-mode", at_most=5.0),
    ],
    notes=(
        "One server (granian, a separate process) with a constant answer; client and server share the machine. The "
        "openai SDK and litellm go over HTTP/2 too, through httpx; litellm in a process of its own, because it "
        "needs another openai. The cost of policies is the median of 96 differences between blocks of 256 calls, "
        "with and without them in turn, and the garbage collector's share, which is measured over 10,240 calls of "
        "each."
    ),
)
