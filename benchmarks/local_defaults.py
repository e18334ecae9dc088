"""Defaults on a real model: one caller and sixteen beside llama-server, first token of a program beside `Llama`."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks._peers import how_to_get, smollm2
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate
from benchmarks.local_peers import subjects
from local_models import LocalModel

CALLERS = (1, 16)
TOKENS, CONTEXT = 64, 512
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


async def _ours(path: Path, callers: int) -> float:
    async with await LocalModel.load(path) as model:
        await subjects.ask_ours(model, "warm", 4, stream=False)
        asks = [subjects.ask_ours(model, _prompt(n), TOKENS, str(n), stream=False) for n in range(callers)]
        answers, seconds = await subjects.together(asks)
        return sum(answer.tokens for answer in answers) / seconds


async def _server(path: Path, callers: int) -> float:
    async with subjects.server(path, callers, CONTEXT, threads=None) as port:
        await subjects.ask_server(port, "warm", 4, stream=False)
        asks = [subjects.ask_server(port, _prompt(n), TOKENS, stream=False, to_end=False) for n in range(callers)]
        answers, seconds = await subjects.together(asks)
        return sum(answer.tokens for answer in answers) / seconds


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
    for callers in CALLERS:
        takes: dict[str, Callable[[], float]] = {"three-mode": lambda n=callers: asyncio.run(_ours(path, n))}  # type: ignore[misc]
        if subjects.server_command():
            takes["llama-server"] = lambda n=callers: asyncio.run(_server(path, n))  # type: ignore[misc]
        case = f"{callers} at once"
        context.progress(case)
        for subject, samples in alternate(takes, context.rounds(5, least=1), 1).items():
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
        *(Target(case=f"{n} at once", subject="three-mode", peer="llama-server", at_least=1.0) for n in CALLERS),
        Target(case=FIRST, subject="three-mode", peer="Llama", at_most=1.5),
    ],
    notes=(
        "All engines choose their own threads and sizes; llama-server is given its slots. An answer ends where the "
        "model ends it, in all engines. Loading is not part of the rates. The first token counts from the start of the "
        "interpreter; one round before has measured the widths, checked the file and compiled the modules."
    ),
)
