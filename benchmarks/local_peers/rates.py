"""How many tokens a second engines write for 64 callers at once."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from benchmarks.harness import Missing, Row, Target
from benchmarks.local_peers import subjects

Prompt = Callable[[int], str]
AGENTS, CONTEXT = 64, 512
SLOTS = (16, 64)  # llama-server is measured at both; the better one counts
NOTES = (
    "Same GGUF, same threads, same prompts of a word, greedy. All but raw decode read them in the measured time. "
    "Peers run with the same short spin at OpenMP barriers (GOMP_SPINCOUNT) that local_models sets."
)


def targets(case: str) -> list[Target]:
    return [
        Target(case=case, subject="three-mode", peer="raw decode", at_least=0.9),
        Target(case=case, subject="three-mode", peer="llama-server", at_least=1.0),
        Target(case=case, subject="three-mode", peer="Llama", at_least=2.5),
    ]


def word(number: int) -> str:
    return subjects.words(1, number)


def letters(number: int) -> str:
    """A token or two, where answers are short and the rate is to be of what is written."""
    return chr(ord("a") + number // 26) + chr(ord("a") + number % 26)


async def ours(path: Path, tokens: int, prompt: Prompt) -> float:
    async with subjects.ours(path, AGENTS, CONTEXT) as engine:
        await subjects.ask_ours(engine, "warm", 4, stream=False)
        asks = [subjects.ask_ours(engine, prompt(n), tokens, str(n), stream=False) for n in range(AGENTS)]
        answers, seconds = await subjects.together(asks)
        return sum(answer.tokens for answer in answers) / seconds


async def server(path: Path, tokens: int, prompt: Prompt, slots: int) -> float:
    async with subjects.server(path, slots, CONTEXT) as port:
        await subjects.ask_server(port, "warm", 4, stream=False)
        asks = [subjects.ask_server(port, prompt(n), tokens, stream=False) for n in range(AGENTS)]
        answers, seconds = await subjects.together(asks)
        return sum(answer.tokens for answer in answers) / seconds


def serial(path: Path, tokens: int, prompt: Prompt) -> float:
    """`Llama` answers one call after another."""
    engine = subjects.llama(path, CONTEXT)
    try:
        subjects.ask_llama(engine, "warm", 4)
        started = time.perf_counter()
        made = sum(subjects.ask_llama(engine, prompt(n), tokens) for n in range(4))
        return made / (time.perf_counter() - started)
    finally:
        engine.close()


def raw(path: Path, tokens: int) -> float:
    """At the better of two widths."""
    return max(subjects.raw_decode(path, width, tokens, CONTEXT) for width in (AGENTS // 2, AGENTS))


def compared(
    case: str, path: Path, tokens: int, rounds: int, progress: Callable[[str], None], prompt: Prompt = word
) -> Iterator[Row | Missing]:
    rates: dict[str, list[float]] = {"three-mode": [], "raw decode": [], "Llama": []}
    by_slots: dict[int, list[float]] = {slots: [] for slots in SLOTS}
    for _ in range(rounds):
        progress(case)
        rates["raw decode"].append(raw(path, tokens))
        rates["three-mode"].append(asyncio.run(ours(path, tokens, prompt)))
        rates["Llama"].append(serial(path, tokens, prompt))
        if subjects.server_binary():
            for slots in SLOTS:
                by_slots[slots].append(asyncio.run(server(path, tokens, prompt, slots)))
    unit = "tokens/s"
    for subject, samples in rates.items():
        yield Row(case=case, subject=subject, unit=unit, samples=samples, higher_is_better=True)
    if subjects.server_binary():
        best = max(SLOTS, key=lambda slots: median(by_slots[slots]))
        yield Row(
            case=case, subject="llama-server", unit=unit, samples=by_slots[best], higher_is_better=True, note=f"{best} slots"
        )  # fmt: skip
    else:
        yield Missing(case=case, subject="llama-server", how_to_get=subjects.HOW_TO_GET_SERVER)
