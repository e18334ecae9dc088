"""Defaults on a real model: callers at once beside llama-server, raw decode and `Llama`, and the first token of a
program."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks._peers import how_to_get, smollm2
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate
from benchmarks.local_peers import subjects
from local_models import LocalModel
from local_models.llama import Context as KeyValueContext
from local_models.llama import ContextShape, Weights

CALLERS = {1: 64, 16: 48, 64: 16}  # tokens of an answer
SLOTS = {1: 1, 16: 16, 64: 16}  # of llama-server: 64 slots are slower on this model
CONTEXT, ROUNDS = 512, 5
WIDTH = 16  # sequences of raw decode: with more of them this model is no quicker
FIRST = "first token of a program"
HOW_TO_GET_MODEL = f"{how_to_get('smollm2')}, or LOCAL_BENCHMARK_MODEL with the path of another file"
OURS = """
import asyncio, sys
from local_models import LocalModel
async def main():
    async with await LocalModel.load(sys.argv[1]) as model:
        async with model.stream_complete("Once upon a time", max_tokens=4, temperature=0) as stream:
            async for piece in stream:
                print(flush=True)
                break
asyncio.run(main())
"""
LLAMA = """
import sys
from llama_cpp import Llama
model = Llama(sys.argv[1], verbose=False)
for piece in model.create_completion("Once upon a time", max_tokens=4, temperature=0, stream=True):
    print(flush=True)
    break
"""


def model_path() -> Path | None:
    """Returns the file of the model, if it is there."""
    named = os.environ.get("LOCAL_BENCHMARK_MODEL")
    return Path(named) if named else smollm2()


def _prompt(number: int) -> str:
    return f"Write the story of {subjects.words(1, number)}, who"


async def _ours(path: Path, callers: int, tokens: int) -> float:
    async with await LocalModel.load(path) as model:
        await subjects.ask_ours(model, "warm", 4, stream=False)
        asks = [subjects.ask_ours(model, _prompt(n), tokens, str(n), stream=False) for n in range(callers)]
        answers, seconds = await subjects.together(asks)
        return sum(answer.tokens for answer in answers) / seconds


async def _server(path: Path, callers: int, tokens: int) -> float:
    async with subjects.server(path, SLOTS[callers], CONTEXT, threads=None) as port:
        await subjects.ask_server(port, "warm", 4, stream=False)
        asks = [subjects.ask_server(port, _prompt(n), tokens, stream=False, to_end=False) for n in range(callers)]
        answers, seconds = await subjects.together(asks)
        return sum(answer.tokens for answer in answers) / seconds


def _llama(path: Path, tokens: int) -> float:
    """Measures `Llama`, which answers one call after another."""
    from llama_cpp import Llama

    engine = Llama(str(path), n_ctx=CONTEXT, verbose=False)
    return subjects.llama_rate(engine, [_prompt(number) for number in range(2)], tokens)


def _raw_decode(path: Path, callers: int, tokens: int) -> float:
    """Measures llama_decode and an argmax for the same prompts, so many at a time as are quickest, with all threads."""
    weights = Weights(str(path), gpu_layers=0, mmap=True)
    shape = ContextShape(sequences=WIDTH, tokens=WIDTH * CONTEXT, batch=512, threads=os.cpu_count() or 1, unified=False)
    kv = KeyValueContext(weights, shape)
    try:
        prompts = [weights.tokenize(_prompt(number), special=False, start=True) for number in range(callers)]
        started = time.perf_counter()
        for first in range(0, callers, WIDTH):
            kv.clear()
            _write(kv, prompts[first : first + WIDTH], tokens)
        return callers * tokens / (time.perf_counter() - started)
    finally:
        kv.close()
        weights.close()


def _write(kv: KeyValueContext, prompts: list[list[int]], tokens: int) -> None:
    """Reads prompts in one batch, and writes so many tokens behind each."""
    entries = [(token, place, at) for at, prompt in enumerate(prompts) for place, token in enumerate(prompt)]
    count, width = len(entries), len(prompts)
    kv.tokens[:count], kv.positions[:count], kv.sequence[:count] = zip(*entries, strict=True)
    kv.wanted[:count] = [place == len(prompts[at]) - 1 for _, place, at in entries]
    assert kv.decode(count) == 0
    for step in range(tokens):
        chosen = kv.logits(width).argmax(axis=1)
        if step < tokens - 1:
            kv.tokens[:width], kv.sequence[:width], kv.wanted[:width] = chosen, range(width), 1
            kv.positions[:width] = [len(prompt) + step for prompt in prompts]
            assert kv.decode(width) == 0


def _takes(path: Path, callers: int, tokens: int) -> dict[str, Callable[[], float]]:
    """The engines that are compared for so many callers."""
    takes: dict[str, Callable[[], float]] = {"three-mode": lambda: asyncio.run(_ours(path, callers, tokens))}
    if subjects.server_command():
        takes["llama-server"] = lambda: asyncio.run(_server(path, callers, tokens))
    if callers > 1:
        takes["Llama"] = partial(_llama, path, tokens)
        takes["raw decode"] = partial(_raw_decode, path, callers, tokens)
    return takes


def _first_token(script: str, path: Path) -> float:
    """Measures a program from its start to its first token."""
    # an installed package is compiled to bytecode, as the peer is here; a checkout is when it was first run
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", script, str(path)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "the program ended without a token"
        seconds = time.perf_counter() - started
        process.stdout.read()
    return seconds


def run(context: Context) -> Iterator[Row | Missing]:
    path = model_path()
    if path is None:
        yield Missing(case=FIRST, subject="three-mode", how_to_get=HOW_TO_GET_MODEL)
        return
    for callers, tokens in CALLERS.items():
        takes = _takes(path, callers, tokens)
        case = f"{callers} at once"
        context.progress(case)
        for subject, samples in alternate(takes, context.rounds(ROUNDS, least=1), 0).items():
            yield Row(case=case, subject=subject, unit="tokens/s", samples=samples, higher_is_better=True)
        if "llama-server" not in takes:
            yield Missing(case=case, subject="llama-server", how_to_get=subjects.HOW_TO_GET_SERVER)
    context.progress(FIRST)
    programs: dict[str, Callable[[], float]] = {
        "three-mode": lambda: _first_token(OURS, path),
        "Llama": lambda: _first_token(LLAMA, path),
    }
    for subject, samples in alternate(programs, context.rounds(5, least=1), 1).items():
        yield Row(case=FIRST, subject=subject, unit="s", samples=samples)


BENCHMARK = Benchmark(
    summary="SmolLM2 135M Q4_1 with default options: tokens a second, and the first token of a program",
    run=run,
    targets=[
        Target(case="1 at once", subject="three-mode", peer="llama-server", at_least=1.0),
        *(
            Target(case=f"{callers} at once", subject="three-mode", peer=peer, at_least=wanted)
            for callers in (16, 64)
            for peer, wanted in (("llama-server", 1.15), ("Llama", 2.5), ("raw decode", 0.95))
        ),
        Target(case=FIRST, subject="three-mode", peer="Llama", at_most=1.5),
    ],
    notes=(
        "All engines choose their own threads and sizes; llama-server is given its slots. An answer ends where the "
        "model ends it, but that of raw decode. All read the prompts in the measured time. Loading is not part of the "
        "rates; a burst's first moments, in which the cache grows, are. The first token counts from the start of the "
        "interpreter; one round before has measured the widths, checked the file and compiled the modules."
    ),
)
