"""Rates: tokens a second of all engines for 64 callers at once."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.harness import Missing, Row, Target, alternate
from benchmarks.local_peers import subjects

Prompt = Callable[[int], str]
Key = tuple[str, int]  # a subject, and its calls at once
AGENTS, CONTEXT = 64, 512
WIDTHS = (AGENTS // 2, AGENTS)  # of raw decode, which is measured at both
SLOTS = (16, 64)  # of llama-server, measured at both; the one with the better median counts
NEARLY = 0.85  # part of the better rate; a slower width takes part in the first round only
NOTES = (
    "Same GGUF, same threads, same prompts of a word, greedy, all in turn. All but raw decode read the prompts in the "
    "measured time. Of raw decode's widths and llama-server's slot counts the one with the better median counts. "
    "Peers run with the same short spin at OpenMP barriers (GOMP_SPINCOUNT) that local_models sets."
)


def targets(case: str) -> list[Target]:
    """Returns the targets of a case."""
    return [
        Target(case=case, subject="three-mode", peer="raw decode", at_least=0.9),
        Target(case=case, subject="three-mode", peer="llama-server", at_least=1.0),
        Target(case=case, subject="three-mode", peer="Llama", at_least=2.5),
    ]


def word(number: int) -> str:
    """Returns the one-word prompt of an agent."""
    return subjects.words(1, number)


def letters(number: int) -> str:
    """Returns a prompt of a token or two, for short answers: the rate is then that of writing."""
    return chr(ord("a") + number // 26) + chr(ord("a") + number % 26)


async def ours(path: Path, tokens: int, prompt: Prompt) -> float:
    """Measures local_models."""
    async with subjects.ours(path, AGENTS, CONTEXT) as engine:
        await subjects.ask_ours(engine, "warm", 4, stream=False)
        asks = [subjects.ask_ours(engine, prompt(n), tokens, str(n), stream=False) for n in range(AGENTS)]
        answers, seconds = await subjects.together(asks)
        return sum(answer.tokens for answer in answers) / seconds


async def server(path: Path, tokens: int, prompt: Prompt, slots: int) -> float:
    """Measures llama-server with so many slots."""
    async with subjects.server(path, slots, CONTEXT) as port:
        await subjects.ask_server(port, "warm", 4, stream=False)
        asks = [subjects.ask_server(port, prompt(n), tokens, stream=False) for n in range(AGENTS)]
        answers, seconds = await subjects.together(asks)
        return sum(answer.tokens for answer in answers) / seconds


def serial(path: Path, tokens: int, prompt: Prompt) -> float:
    """Measures `Llama`, which answers one call after another."""
    return subjects.llama_rate(subjects.llama(path, CONTEXT), [prompt(n) for n in range(4)], tokens)


def _in_turn(takes: Mapping[Key, Callable[[], float]], rounds: int) -> dict[Key, list[float]]:
    samples = alternate({f"{name}, {width} at once": take for (name, width), take in takes.items()}, rounds, 0)
    return dict(zip(takes, samples.values(), strict=True))


def _leads(key: Key, first: Mapping[Key, list[float]]) -> bool:
    """Whether a width of a subject was nearly as good as its best one in the first round, so that it goes on."""
    best = max(values[0] for other, values in first.items() if other[0] == key[0])
    return first[key][0] >= NEARLY * best


def compared(
    case: str, path: Path, tokens: int, rounds: int, progress: Callable[[str], None], prompt: Prompt = word
) -> Iterator[Row | Missing]:
    """Measures all engines in turn on one model."""

    def asked(slots: int) -> float:
        return asyncio.run(server(path, tokens, prompt, slots))

    takes: dict[Key, Callable[[], float]] = {
        ("three-mode", AGENTS): lambda: asyncio.run(ours(path, tokens, prompt)),
        ("Llama", 1): lambda: serial(path, tokens, prompt),
    }
    for width in WIDTHS:
        takes["raw decode", width] = partial(subjects.raw_decode, path, width, tokens, CONTEXT)
    for slots in SLOTS if subjects.server_command() else ():
        takes["llama-server", slots] = partial(asked, slots)
    progress(f"{case}, {rounds} rounds")
    samples = _in_turn(takes, 1)
    leading = {key: take for key, take in takes.items() if _leads(key, samples)}
    if rounds > 1:
        for key, values in _in_turn(leading, rounds - 1).items():
            samples[key] += values
    best: dict[str, tuple[str, list[float]]] = {}
    for name, width in leading:
        values = samples[name, width]
        if name not in best or median(values) > median(best[name][1]):
            best[name] = (f"{width} at once", values)
    for subject, (note, values) in best.items():
        yield Row(case=case, subject=subject, unit="tokens/s", samples=values, higher_is_better=True, note=note)
    if "llama-server" not in best:
        yield Missing(case=case, subject="llama-server", how_to_get=subjects.HOW_TO_GET_SERVER)
