"""Kept prompts: system prompts of many agents after a restart, from disk beside computed; a process for each run."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Benchmark, Context, Missing, Row, Target
from benchmarks.local_defaults import HOW_TO_GET_MODEL, model_path
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model

SMALL, REAL = "random 3M", "SmolLM2"
AGENTS = {SMALL: 512, REAL: 8}
WORDS = {SMALL: (26, 50), REAL: (30, 60)}  # of a beginning that all share, and of an agent's own
SCRIPT = """
import asyncio, json, sys, time
from local_models import LoadOptions, LocalModel
path, folder, prompts = sys.argv[1], sys.argv[2], json.load(sys.stdin)
async def main():
    options = LoadOptions(sequences=16, context=768, cache_dir=folder)
    async with await LocalModel.load(path, options) as model:
        started = time.perf_counter()
        calls = [
            model.chat([{"role": "system", "content": prompt}, {"role": "user", "content": "Who are you?"}],
                       max_tokens=1, temperature=0, agent=str(number))
            for number, prompt in enumerate(prompts)
        ]
        replies = await asyncio.gather(*calls)
        seconds = time.perf_counter() - started
        found = await model.statistics()
    print(json.dumps([seconds, found.kept_tokens, found.kept_disk_bytes, [reply.tokens for reply in replies]]))
asyncio.run(main())
"""


def _prompts(agents: int, shared: int, own: int) -> list[str]:
    beginning = subjects.words(shared, 0)
    return [f"{beginning} You are agent {number}. {subjects.words(own, number + 1)}" for number in range(agents)]


def _ask(path: Path, folder: str, prompts: list[str]) -> tuple[float, int, int, list[list[int]]]:
    """Seconds until every agent has its first token, tokens restored, bytes on disk, and the tokens."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), folder],
        input=json.dumps(prompts),
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, restored, size, tokens = json.loads(done.stdout)
    return seconds, restored, size, tokens


def run(context: Context) -> Iterator[Row | Missing]:
    for name, agents in AGENTS.items():
        case = f"{agents} agents"
        path = model("random-3m-spm") if name == SMALL else model_path()
        if path is None:
            yield Missing(case=case, subject=f"{name}, from disk", how_to_get=HOW_TO_GET_MODEL)
            continue
        prompts = _prompts(agents, *WORDS[name])
        with tempfile.TemporaryDirectory() as folder:
            context.progress(f"{name}: {case}, first start")
            first = _ask(path, folder, prompts)
            context.progress(f"{name}: {case}, from disk")
            restored = [_ask(path, folder, prompts) for _ in range(context.rounds(2, least=1))]
        if name == REAL:
            context.progress(f"{name}: {case}, nothing kept")
            plain = _ask(path, "", prompts)
            yield Row(case=case, subject=f"{name}, nothing kept", unit="s", samples=[plain[0]])
        yield Row(case=case, subject=f"{name}, first start", unit="s", samples=[first[0]])
        yield Row(case=case, subject=f"{name}, from disk", unit="s", samples=[each[0] for each in restored])
        yield Row(
            case=f"{case}, restored",
            subject=name,
            unit="tokens an agent",
            samples=[each[1] / agents for each in restored],
            higher_is_better=True,
        )
        yield Row(case=f"{case}, on disk", subject=name, unit="MB", samples=[restored[-1][2] / 1e6])
        differ = sum(a != b for each in restored for a, b in zip(first[3], each[3], strict=True))
        yield Row(case=f"{case}, other first tokens", subject=name, unit="tokens", samples=[differ])


BENCHMARK = Benchmark(
    summary="system prompts of many agents after a restart: from disk beside computed",
    run=run,
    targets=[
        Target(case=f"{AGENTS[REAL]} agents", subject=f"{REAL}, from disk", peer=f"{REAL}, first start", at_most=0.2)
    ],
    notes=(
        "Prompts of about 300 tokens, of which all agents share the first 100; 16 sequences; time from the load until "
        "each agent has the first token of its answer. Each row is a process of its own. The first start computes the "
        "prompts and keeps them. The files are in the page cache. What an agent says itself, and up to 15 tokens of a "
        "prompt, are computed in any case; with a model of 3M, whose tokens cost next to nothing, they are most of it."
    ),
)
