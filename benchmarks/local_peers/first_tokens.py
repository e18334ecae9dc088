"""Time to the first token of agents that start together with a common system prompt."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness import Missing, Row
from benchmarks.local_peers import subjects

CONTEXT, TOKENS = 1024, 4
COMMON = 512  # tokens
CASES = ("cold", "warm")  # warm: the same prompts a second time


async def _prompts(path: Path, agents: int) -> list[str]:
    """Makes prompts: a common beginning of 512 tokens, and a few words for each agent."""
    async with subjects.ours(path, 1, CONTEXT) as engine:
        text = subjects.words(400, seed=1)
        common = await engine.detokenize((await engine.tokenize(text))[: COMMON - 1])
    return [f"{common} {subjects.words(4, 100 + number)}" for number in range(agents)]


async def _ours(path: Path, prompts: list[str]) -> list[float]:
    async with subjects.ours(path, len(prompts), CONTEXT) as engine:
        await subjects.ask_ours(engine, "warm", 4)
        found = []
        for _ in CASES:
            asks = [subjects.ask_ours(engine, prompt, TOKENS, str(n)) for n, prompt in enumerate(prompts)]
            found.append(_p95((await subjects.together(asks))[0]))
        return found


async def _theirs(path: Path, prompts: list[str]) -> list[float]:
    async with subjects.server(path, len(prompts), CONTEXT) as port:
        await subjects.ask_server(port, "warm", 4)
        found = []
        for _ in CASES:
            asks = [subjects.ask_server(port, prompt, TOKENS) for prompt in prompts]
            found.append(_p95((await subjects.together(asks))[0]))
        return found


def _p95(answers: list[subjects.Answer]) -> float:
    return sorted(answer.first for answer in answers)[int(len(answers) * 0.95)]


def compared(
    label: str, path: Path, agents: int, rounds: int, progress: Callable[[str], None]
) -> Iterator[Row | Missing]:
    """Measures all engines; `label` has a place for the case, "cold" or "warm"."""
    prompts = asyncio.run(_prompts(path, agents))
    found: dict[str, list[list[float]]] = {}
    for _ in range(rounds):
        progress("three-mode")
        found.setdefault("three-mode", []).append(asyncio.run(_ours(path, prompts)))
        if subjects.server_command():
            progress("llama-server")
            found.setdefault("llama-server", []).append(asyncio.run(_theirs(path, prompts)))
    for index, case in enumerate(CASES):
        for subject, values in found.items():
            samples = [value[index] for value in values]
            yield Row(
                case=label.format(case), subject=subject, unit=f"s to first token, p95 of {agents}", samples=samples
            )
    if not subjects.server_command():
        yield Missing(case=label.format("cold"), subject="llama-server", how_to_get=subjects.HOW_TO_GET_SERVER)
