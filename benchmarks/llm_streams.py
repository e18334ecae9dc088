"""Streams of replies: the time of each event on this side, beside the openai SDK."""

import asyncio
from collections.abc import Iterator
from typing import Any

from benchmarks._http2_server import Server, granian, installed
from benchmarks._llm_app import EVENTS, TEXTS
from benchmarks._llm_subjects import ASK, AT_ONCE, MESSAGES, STREAM, each, opened, raw_request
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async

RATE = f"{AT_ONCE} streams of {TEXTS} texts at once, TLS and HTTP/2"
BEYOND = "each event, beyond the transport"


async def streams(server: Server, context: Context) -> dict[str, list[float]]:
    """Seconds per event."""
    async with opened(server) as (llm, pool, client):
        request = raw_request(server, STREAM)

        async def transport() -> None:
            async with pool.request(request) as response:
                async for _ in response.body:
                    pass

        async def ours() -> None:
            count = 0
            async for chunk in llm.stream(ASK):
                count += bool(chunk.text)
            assert count == TEXTS

        async def theirs() -> None:
            count = 0
            events = await client.chat.completions.create(
                model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
            async for chunk in events:
                count += bool(chunk.choices and chunk.choices[0].delta.content)
            assert count == TEXTS

        subjects: dict[str, Any] = {"transport": transport, "three-mode": ours}
        if client is not None:
            subjects["openai SDK"] = theirs
        count = AT_ONCE * (2 if context.quick else 4)
        # The SDK takes twenty times as long for an event: a quarter of the streams is still a longer sample than ours.
        counts = {"openai SDK": AT_ONCE}
        rounds = {name: _round(work, counts.get(name, count)) for name, work in subjects.items()}
        return await alternate_async(rounds, rounds=context.rounds(5))


def _round(work: Any, count: int) -> Any:
    async def sample() -> float:
        return await each(work, count) / len(EVENTS)

    return sample


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    if not installed("granian", "openai"):
        yield Missing(case=RATE, subject="openai SDK", how_to_get="pip install granian openai")
        return
    context.progress(RATE)
    with granian(tls=True, app="benchmarks._llm_app:app") as server:
        samples = asyncio.run(streams(server, context))
    for name, seconds in samples.items():
        yield Row(case=RATE, subject=name, unit="events/s", samples=[1 / s for s in seconds], higher_is_better=True)
    beyond = [1e6 * (a - b) for a, b in zip(samples["three-mode"], samples["transport"], strict=True)]
    yield Row(case=BEYOND, subject="three-mode", unit="us", samples=beyond)


BENCHMARK = Benchmark(
    summary="events of streamed replies, beside the openai SDK",
    run=run,
    targets=[
        Target(case=RATE, subject="three-mode", peer="openai SDK", at_least=5.0),
        Target(case=BEYOND, subject="three-mode", at_most=10.0),
    ],
    notes=(
        "The server sends each event as a separate frame. An event's cost beyond the transport is the difference "
        "within a round: decoding, the policies' share, the chunks."
    ),
)
