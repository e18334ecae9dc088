"""Kept prompts: system prompts of many agents after a restart, from disk beside computed; a process for each run."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate
from benchmarks.local_defaults import HOW_TO_GET_MODEL, model_path
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model

SMALL, REAL = "random 3M", "SmolLM2"
AGENTS = 512
SAMPLE = {SMALL: AGENTS, REAL: 2}
"""Agents that are asked: with SmolLM2 the prompts of all would take minutes to compute, and 2 GB."""
WORDS = {SMALL: (10, 12), REAL: (30, 40)}  # of a beginning that all share, and of an agent's own
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


def _prompts(shared: int, own: int) -> list[str]:
    beginning = subjects.words(shared, 0)
    return [f"{beginning} You are agent {number}. {subjects.words(own, number + 1)}" for number in range(AGENTS)]


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


def _rows(name: str, path: Path, context: Context) -> Iterator[Row]:
    count = SAMPLE[name]
    prompts, case = _prompts(*WORDS[name])[:count], f"{AGENTS} agents"
    asked: dict[str, list[tuple[float, int, int, list[list[int]]]]] = {"computed": [], "from disk": []}
    with tempfile.TemporaryDirectory() as folder:

        def ask(subject: str, kept: str) -> float:
            context.progress(f"{name}: {count} of {case}, {subject}")
            asked[subject].append(found := _ask(path, kept, prompts))
            return 1000 * found[0] / count

        samples = {"computed": [ask("computed", folder)]}  # the first start, which keeps what it computes
        takes = {"from disk": lambda: ask("from disk", folder)}
        if name == REAL:
            takes["computed"] = lambda: ask("computed", "")
        samples |= alternate(takes, context.rounds(5, least=1), 0)
    note = f"{count} of the {AGENTS}, as a sample" if count < AGENTS else "all of them"
    for subject, taken in samples.items():
        yield Row(case=case, subject=f"{name}, {subject}", unit="ms an agent", samples=taken, note=note)
    first, restored = asked["computed"][0], asked["from disk"]
    yield Row(
        case=f"{case}, restored",
        subject=name,
        unit="tokens an agent",
        samples=[each[1] / count for each in restored],
        higher_is_better=True,
    )
    yield Row(case=f"{case}, on disk", subject=name, unit="MB", samples=[restored[-1][2] / 1e6], note=note)
    differ = sum(a != b for each in restored for a, b in zip(first[3], each[3], strict=True))
    yield Row(case=f"{case}, other first tokens", subject=name, unit="tokens", samples=[differ])


def run(context: Context) -> Iterator[Row | Missing]:
    yield from _rows(SMALL, model("random-3m-spm"), context)
    path = model_path()
    if path is None:
        yield Missing(case=f"{AGENTS} agents", subject=f"{REAL}, from disk", how_to_get=HOW_TO_GET_MODEL)
        return
    yield from _rows(REAL, path, context)


BENCHMARK = Benchmark(
    summary="system prompts of 512 agents after a restart: from disk beside computed",
    run=run,
    targets=[
        Target(case=f"{AGENTS} agents", subject=f"{REAL}, from disk", peer=f"{REAL}, computed", at_most=0.2),
    ],
    notes=(
        "Prompts of about 230 tokens with SmolLM2, of which all agents share the first 100, and of 90 with the model "
        "of 3M; 16 sequences; time from the load until each agent has the first token of its answer, divided by the "
        "agents that were asked. Each sample is a process of its own. The first start computes the prompts and keeps "
        "them; those of the model of 3M are computed once. The files are in the page cache. What an agent says itself, "
        "and up to 15 tokens of a prompt, are computed in any case; with a model of 3M, whose tokens cost next to "
        "nothing, they are most of it."
    ),
)
