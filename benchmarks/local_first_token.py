"""64 agents with a common system prompt of 512 tokens start together: how long each waits for its first token."""

import asyncio
from collections.abc import Iterator

from benchmarks.harness import Benchmark, Context, Missing, Row, Target
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model

AGENTS, CONTEXT, TOKENS = 64, 1024, 4
COMMON = 512


async def _prompts(path: str) -> list[str]:
    """A beginning of 512 tokens, and some words of each agent's own."""
    from pathlib import Path

    async with subjects.ours(Path(path), 1, CONTEXT) as engine:
        text = subjects.words(400, seed=1)
        common = await engine.detokenize((await engine.tokenize(text))[: COMMON - 1])
    return [f"{common} {subjects.words(4, 100 + number)}" for number in range(AGENTS)]


def run(context: Context) -> Iterator[Row | Missing]:
    path = model("random-30m-spm")
    prompts = asyncio.run(_prompts(str(path)))
    samples: dict[tuple[str, str], list[float]] = {}

    async def ours() -> None:
        async with subjects.ours(path, AGENTS, CONTEXT) as engine:
            await subjects.ask_ours(engine, "warm", 4)
            for case in ("cold", "warm"):
                asks = [subjects.ask_ours(engine, prompt, TOKENS, str(n)) for n, prompt in enumerate(prompts)]
                answers, _ = await subjects.together(asks)
                samples.setdefault((case, "three-mode"), []).append(_p95(answers))

    async def theirs() -> None:
        async with subjects.server(path, AGENTS, CONTEXT) as port:
            await subjects.ask_server(port, "warm", 4)
            for case in ("cold", "warm"):
                asks = [subjects.ask_server(port, prompt, TOKENS) for prompt in prompts]
                answers, _ = await subjects.together(asks)
                samples.setdefault((case, "llama-server"), []).append(_p95(answers))

    for _ in range(context.rounds(5, least=1)):
        context.progress("three-mode")
        asyncio.run(ours())
        if subjects.server_binary():
            context.progress("llama-server")
            asyncio.run(theirs())
    if not subjects.server_binary():
        yield Missing(case="cold", subject="llama-server", how_to_get=subjects.HOW_TO_GET_SERVER)
    for (case, subject), values in samples.items():
        yield Row(case=case, subject=subject, unit="s to first token, p95 of 64", samples=values)


def _p95(answers: list[subjects.Answer]) -> float:
    return sorted(answer.first for answer in answers)[int(len(answers) * 0.95)]


BENCHMARK = Benchmark(
    summary="64 agents with a common system prompt: time to the first token",
    run=run,
    targets=[
        Target(case="cold", subject="three-mode", peer="llama-server", at_most=0.1),
        Target(case="warm", subject="three-mode", peer="llama-server", at_most=1.0),
    ],
    notes="30M model, 64 slots each. Warm: the same 64 prompts a second time.",
)
