"""Overhead of the runtime in each mode on this machine: a request to an agent, and to a model, in another process."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from importlib.util import find_spec

import msgspec
import uvloop

from benchmarks._agents_cast import bare_bus, pids_beside
from benchmarks._modes_cast import Echo
from benchmarks.harness import (
    Benchmark,
    Context,
    Missing,
    Row,
    Target,
    alternate_async,
    cores,
    timed_async,
)
from three_mode import CommunicationMode, LLMConnection, LLMRequest, Orchestrator

ASK = "a request to an agent in another process, and its answer"
BEYOND = "the same, beyond the bus's own ask"
FIRST = "time to first token that the bus adds to a local model"
TOKEN = "time per token that the bus adds to a local model"  # noqa: S105  # a token of text
US, AGENT, BUS = "three-mode", "an agent's ask", "the bus's own ask"
HERE, THERE = "in the process", "over the bus"
CALLS = 50  # in one sample: short samples in many turns, because a machine may change its speed within a second
LEAST = 8  # tokens of an answer, to measure one token
HELLO = [{"role": "user", "content": "Hello!"}]
COUNT = [{"role": "user", "content": "Count from 1 to 50."}]
Times = tuple[float, float]


async def asks(context: Context) -> AsyncIterator[Row]:
    """Measures requests to an agent."""
    request = LLMRequest(model="agent:echo", messages=HELLO, mode=CommunicationMode.AI_AI)
    plain = msgspec.to_builtins(request)
    async with AsyncExitStack() as stack:
        bare = await stack.enter_async_context(bare_bus(1, 0))
        orc = await stack.enter_async_context(Orchestrator(hosts=1))
        echo = await orc.spawn(Echo, name="echo")
        llm = await stack.enter_async_context(LLMConnection(bus=orc.bus))

        async def by_the_bus() -> object:
            return (await bare.ask("echo-0", plain)).payload

        context.progress("asking")
        for bus in (bare, orc.bus):
            for pid in pids_beside(bus):
                cores.seat(1, pid)
        stack.enter_context(cores.this_thread_on(0))
        taken = await alternate_async(
            {
                US: timed_async(lambda: llm.chat_completion(request), CALLS),
                AGENT: timed_async(lambda: echo.ask(Echo.chat_completion, request), CALLS),
                BUS: timed_async(by_the_bus, CALLS),
            },
            context.rounds(240),
            warm_up=6,
        )
    for subject, seconds in taken.items():
        yield Row(case=ASK, subject=subject, unit="us", samples=[1e6 * s for s in seconds])
    for subject in (US, AGENT):
        beyond = [1e6 * (whole - bus) for whole, bus in zip(taken[subject], taken[BUS], strict=True)]
        yield Row(case=BEYOND, subject=subject, unit="us", samples=beyond)


async def streamed(llm: LLMConnection, model: str) -> Times:
    """Seconds to the first token, and for each later one."""
    started = time.perf_counter()
    first, count = 0.0, 0
    request = LLMRequest(model=model, messages=COUNT, temperature=0, max_tokens=64)
    async for chunk in llm.stream(request):
        if chunk.text:
            first = first or time.perf_counter()
            count += 1
    if count < LEAST:
        raise RuntimeError(f"{model} answered in {count} pieces: too few to say what one takes")
    return first - started, (time.perf_counter() - first) / (count - 1)


async def models(context: Context) -> AsyncIterator[Row]:
    """Measures streams of a local model."""
    async with AsyncExitStack() as stack:
        orc = await stack.enter_async_context(Orchestrator(hosts=1))
        context.progress("loading the model twice")
        await orc.model("tiny", name="brain")
        there = await stack.enter_async_context(LLMConnection(bus=orc.bus))
        here = await stack.enter_async_context(LLMConnection())
        asked: dict[str, tuple[LLMConnection, str]] = {
            HERE: (here, "tiny"),
            THERE: (there, "agent:brain"),
        }
        found: dict[str, list[Times]] = {name: [] for name in asked}

        def sample(name: str) -> Callable[[], Awaitable[float]]:
            async def take() -> float:
                found[name].append(await streamed(*asked[name]))
                return 0.0

            return take

        context.progress("streaming")
        warm = 3
        await alternate_async({name: sample(name) for name in asked}, context.rounds(150, 10), warm_up=warm)
    for case, unit, place, scale in ((FIRST, "ms", 0, 1e3), (TOKEN, "us", 1, 1e6)):
        taken = {name: [scale * times[place] for times in values[warm:]] for name, values in found.items()}
        for name in asked:
            yield Row(case=f"{case}: both", subject=name, unit=unit, samples=taken[name])
        added = [there - here for there, here in zip(taken[THERE], taken[HERE], strict=True)]
        yield Row(case=case, subject=US, unit=unit, samples=added)


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    yield from uvloop.run(_all(asks(context)))
    if find_spec("llama_cpp") is None:
        yield Missing(case=FIRST, subject=US, how_to_get="pip install 'three-mode[local]'")
    else:
        yield from uvloop.run(_all(models(context)))


async def _all(rows: AsyncIterator[Row]) -> list[Row]:
    return [row async for row in rows]


BENCHMARK = Benchmark(
    summary="what the runtime adds to a request to an agent, and to a local model, in another process",
    run=run,
    targets=[
        Target(case=BEYOND, subject=US, peer=BUS, peer_case=ASK, at_most=2.0),
        Target(case=ASK, subject=US, peer=BUS, at_most=1.8),
        Target(case=FIRST, subject=US, at_most=0.3),
        Target(case=TOKEN, subject=US, at_most=20.0),
    ],
    notes=(
        "The overhead beyond the bus's own ask is the difference within a round; the whole request, beside the bus, "
        "is in the case before. The bus's own ask carries the same request as plain data, to a plain callback that "
        "sends it back; caller and answering process have a core each. The model is the small one that comes along, "
        "once in this process and once in another, asked in turn for the same answer; the bus's overhead is the "
        "difference within a round. It can be below zero: in this process the model's engine and the reader of its "
        "answer share an interpreter."
    ),
)
