"""Pause: a prompt of 2,000 tokens arrives among 16 running streams; the longest pause of a stream until it is read."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from statistics import median, quantiles

from benchmarks.harness import Benchmark, Context, Missing, Row, Target
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model

STREAMS, CONTEXT, PROMPT = 16, 2560, 2000
BATCHES = (0, 32, 64)  # of llama-server's `-b`; 0: its default; of the others the best one counts
Ask = Callable[[str, int, list[float]], Coroutine[None, None, subjects.Answer]]


async def _prompt() -> str:
    """Makes a prompt with the same tokens for all subjects."""
    async with subjects.ours(model("random-30m-spm"), 1, CONTEXT) as engine:
        ids = await engine.tokenize(subjects.words(PROMPT, seed=3))
        return await engine.detokenize(ids[:PROMPT])


async def _measure(ask: Ask, prompt: str) -> tuple[float, float, float]:
    """Measures the longest pause while the prompt is read, the 99th percentile of pauses, and its first token."""
    when: list[list[float]] = [[] for _ in range(STREAMS)]
    streams = [asyncio.create_task(ask(subjects.words(2, n), CONTEXT // 2, when[n])) for n in range(STREAMS)]
    await asyncio.sleep(1.5)
    assert all(len(times) > 2 for times in when), "the streams have not begun"
    before = [len(times) - 1 for times in when]
    first = (await ask(prompt, 2, [])).first
    assert not any(stream.done() for stream in streams), "a stream ended before the prompt was read"
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    pauses = [
        later - earlier
        for start, times in zip(before, when, strict=True)
        for earlier, later in zip(times[start:], times[start + 1 :], strict=False)
    ]
    return max(pauses) * 1000, quantiles(pauses, n=100)[-1] * 1000, first


async def _ours(prompt: str) -> tuple[float, float, float]:
    async with subjects.ours(model("random-30m-spm"), STREAMS + 1, CONTEXT) as engine:
        await subjects.ask_ours(engine, "warm", 8)

        async def ask(text: str, tokens: int, times: list[float]) -> subjects.Answer:
            return await subjects.ask_ours(engine, text, tokens, agent=text[:8], times=times)

        return await _measure(ask, prompt)


async def _theirs(prompt: str, batch: int) -> tuple[float, float, float]:
    flags = ("-b", str(batch), "-ub", str(batch)) if batch else ()
    async with subjects.server(model("random-30m-spm"), STREAMS + 1, CONTEXT, *flags) as port:
        await subjects.ask_server(port, "warm", 8)

        async def ask(text: str, tokens: int, times: list[float]) -> subjects.Answer:
            return await subjects.ask_server(port, text, tokens, times=times)

        return await _measure(ask, prompt)


def run(context: Context) -> Iterator[Row | Missing]:
    prompt = asyncio.run(_prompt())
    found: dict[str, list[tuple[float, float, float]]] = {}
    batches = BATCHES if subjects.server_command() else ()
    for _ in range(context.rounds(2, least=1)):
        context.progress("three-mode")
        found.setdefault("three-mode", []).append(asyncio.run(_ours(prompt)))
        for batch in batches:
            name = f"llama-server -b {batch}" if batch else "llama-server"
            context.progress(name)
            found.setdefault(name, []).append(asyncio.run(_theirs(prompt, batch)))
    if batches:
        tuned = [name for name in found if " -b " in name]
        best = min(tuned, key=lambda name: median(pause for pause, _, _ in found[name]))
        found["llama-server, best -b"] = found.pop(best)
    else:
        yield Missing(case="pause", subject="llama-server", how_to_get=subjects.HOW_TO_GET_SERVER)
    cases = (
        ("pause", "ms, longest of 16 streams"),
        ("99 of 100 pauses", "ms at most"),
        ("the long prompt's first token", "s"),
    )
    for index, (case, unit) in enumerate(cases):
        for subject, values in found.items():
            yield Row(case=case, subject=subject, unit=unit, samples=[value[index] for value in values])


BENCHMARK = Benchmark(
    summary="a long prompt among running streams: the longest pause",
    run=run,
    targets=[
        Target(case="pause", subject="three-mode", peer="llama-server", at_most=0.25),
        Target(case="pause", subject="three-mode", peer="llama-server, best -b", at_most=1.0),
    ],
    notes="30M model. The shorter a stream's pauses, the later the long prompt's first token; both are shown.",
)
