"""A prompt of 2,000 tokens arrives among 16 running streams: the longest pause any stream makes."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from statistics import median

from benchmarks.harness import Benchmark, Context, Missing, Row, Target
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model

STREAMS, CONTEXT, TOKENS = 16, 2560, 256
BATCHES = (32, 64, 256)  # llama-server's `-b`, besides its default; the best one counts
Ask = Callable[[str, int], Coroutine[None, None, subjects.Answer]]


def _long_prompt(tokens_a_word: float) -> str:
    return subjects.words(int(2000 / tokens_a_word), seed=3)


async def _pause(ask: Ask, prompt: str) -> tuple[float, float]:
    """The longest pause of a stream that was running, and when the long prompt had its first token."""
    streams = [asyncio.create_task(ask(subjects.words(2, n), TOKENS)) for n in range(STREAMS)]
    await asyncio.sleep(0.5)
    long = asyncio.create_task(ask(prompt, 2))
    answers = await asyncio.gather(*streams)
    return max(answer.longest_pause for answer in answers), (await long).first


def run(context: Context) -> Iterator[Row | Missing]:
    path = model("random-30m-spm")
    pauses: dict[str, list[float]] = {}
    firsts: dict[str, list[float]] = {}

    def note(subject: str, found: tuple[float, float]) -> None:
        pauses.setdefault(subject, []).append(found[0] * 1000)
        firsts.setdefault(subject, []).append(found[1])

    async def ours() -> None:
        async with subjects.ours(path, STREAMS + 1, CONTEXT) as engine:
            per_word = await engine.count(subjects.words(200, seed=3)) / 200
            await subjects.ask_ours(engine, "warm", 8)

            async def ask(prompt: str, tokens: int) -> subjects.Answer:
                return await subjects.ask_ours(engine, prompt, tokens, agent=prompt[:8])

            prompts.append(_long_prompt(per_word))
            note("three-mode", await _pause(ask, prompts[-1]))

    async def theirs(batch: int) -> None:
        flags = ("-b", str(batch), "-ub", str(min(batch, 512))) if batch else ()
        async with subjects.server(path, STREAMS + 1, CONTEXT, *flags) as port:
            await subjects.ask_server(port, "warm", 8)

            async def ask(prompt: str, tokens: int) -> subjects.Answer:
                return await subjects.ask_server(port, prompt, tokens)

            note(f"llama-server -b {batch}" if batch else "llama-server", await _pause(ask, prompts[-1]))

    prompts: list[str] = []
    for _ in range(context.rounds(5, least=2)):
        context.progress("three-mode")
        asyncio.run(ours())
        if subjects.server_binary():
            for batch in (0, *BATCHES):
                context.progress(f"llama-server -b {batch}")
                asyncio.run(theirs(batch))
    if not subjects.server_binary():
        yield Missing(case="pause", subject="llama-server", how_to_get=subjects.HOW_TO_GET_SERVER)
    tuned = [name for name in pauses if " -b " in name]
    if tuned:
        best = min(tuned, key=lambda name: median(pauses[name]))
        pauses["llama-server, best -b"], firsts["llama-server, best -b"] = pauses[best], firsts[best]
    for subject, values in pauses.items():
        yield Row(case="pause", subject=subject, unit="ms, longest of 16 streams", samples=values)
    for subject, values in firsts.items():
        yield Row(case="the long prompt's first token", subject=subject, unit="s", samples=values)


BENCHMARK = Benchmark(
    summary="a long prompt among running streams: the longest pause",
    run=run,
    targets=[
        Target(case="pause", subject="three-mode", peer="llama-server", at_most=0.25),
        Target(case="pause", subject="three-mode", peer="llama-server, best -b", at_most=1.0),
    ],
    notes="30M model. A smaller -b shortens llama-server's pause and delays the long prompt; both rows are shown.",
)
