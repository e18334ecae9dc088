"""Endpoint `three-mode serve` with 64 callers: its processor time a request, and requests a second beside litellm's
proxy.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from benchmarks._http2_server import granian, installed
from benchmarks._modes_cast import Echo
from benchmarks._serve_subjects import HOW_TO_GET_LITELLM, Endpoint, litellm, litellm_there, three_mode
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async
from three_mode import Orchestrator
from transports.http2 import Pool, PoolOptions, Request

AT_ONCE = 64
CPU = f"processor time of the endpoint for a request, {AT_ONCE} at once"
RATE = f"requests a second, {AT_ONCE} at once"
AGENT, PROVIDER, LITELLM = (
    "three-mode, an echo agent behind it",
    "three-mode, a provider behind it",
    "litellm's proxy, a provider behind it",
)
BODY = b'{"model":"%s","messages":[{"role":"user","content":"Hello!"}]}'


@dataclass(frozen=True)
class Subject:
    """Request to an endpoint. `calls` of them make a sample, so that samples of all subjects take about as long."""

    endpoint: Endpoint
    model: bytes
    calls: int


def sample(pool: Pool, subject: Subject, cpu: list[float]) -> Callable[[], Awaitable[float]]:
    """Sample of seconds a request; the endpoint's processor time is appended to `cpu`."""
    headers = [
        (b"authorization", b"Bearer " + subject.endpoint.key.encode()),
        (b"content-type", b"application/json"),
    ]
    url = subject.endpoint.url + "/v1/chat/completions"
    request = Request.to("POST", url, headers, BODY % subject.model)

    async def worker(count: int) -> None:
        for _ in range(count):
            reply = await pool.fetch(request)
            if reply.status != 200:
                raise RuntimeError(f"{url} answered {reply.status}: {reply.content[:300]!r}")

    async def take() -> float:
        each = subject.calls // AT_ONCE
        spent, started = subject.endpoint.cpu(), time.perf_counter()
        await asyncio.gather(*(worker(each) for _ in range(AT_ONCE)))
        taken = time.perf_counter() - started
        cpu.append((subject.endpoint.cpu() - spent) / (each * AT_ONCE))
        return taken / (each * AT_ONCE)

    return take


async def measure(context: Context, folder: Path) -> list[Row]:
    """Measures all subjects in turn."""
    warm = 2
    async with AsyncExitStack() as stack:
        context.progress("starting an agent, a provider and the endpoints")
        upstream = stack.enter_context(granian(tls=False, app="benchmarks._llm_app:app"))
        orc = await stack.enter_async_context(Orchestrator(hosts=1))
        await orc.spawn(Echo, name="echo")
        ours = await asyncio.to_thread(stack.enter_context, three_mode(orc.name, upstream.url))
        subjects = {AGENT: Subject(ours, b"agent:echo", 1280), PROVIDER: Subject(ours, b"gpt-4o", 1280)}
        if litellm_there():
            theirs = await asyncio.to_thread(stack.enter_context, litellm(folder, upstream.url))
            subjects[LITELLM] = Subject(theirs, b"gpt-4o", AT_ONCE)
        pool = await stack.enter_async_context(Pool(PoolOptions(trust_env=False)))
        cpu: dict[str, list[float]] = {name: [] for name in subjects}
        context.progress("asking")
        taken = await alternate_async(
            {name: sample(pool, subject, cpu[name]) for name, subject in subjects.items()},
            context.rounds(12),
            warm_up=warm,
        )
    rows = []
    for name, seconds in taken.items():
        spent = [1e6 * s for s in cpu[name][warm:]]
        rows.append(Row(case=CPU, subject=name, unit="us", samples=spent))
        rates = [1 / s for s in seconds]
        rows.append(Row(case=RATE, subject=name, unit="1/s", samples=rates, higher_is_better=True))
    return sorted(rows, key=lambda row: row.case)


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    if not installed("granian"):
        yield Missing(case=CPU, subject=AGENT, how_to_get="pip install granian")
        return
    with TemporaryDirectory() as folder:
        yield from uvloop.run(measure(context, Path(folder)))
    if not litellm_there():
        yield Missing(case=RATE, subject=LITELLM, how_to_get=HOW_TO_GET_LITELLM)


BENCHMARK = Benchmark(
    summary="the endpoint under 64 callers, beside litellm's proxy",
    run=run,
    targets=[
        Target(case=CPU, subject=AGENT, at_most=300.0),
        Target(case=RATE, subject=AGENT, peer=LITELLM, at_least=4.0),
        Target(case=RATE, subject=PROVIDER, peer=LITELLM, at_least=4.0),
    ],
    notes=(
        "Processor time is that of the whole serving process, user and kernel: HTTP, parsing, policies, "
        "the bus. The agent and the provider (granian with a constant answer) are other processes "
        "and not in it. The client is the same for all, over HTTP/1.1 with keys checked; client, endpoint and the "
        "processes behind it share the machine, which costs the faster ones more. litellm has a separate venv, "
        "because it needs another openai."
    ),
)
