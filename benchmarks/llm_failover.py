"""Failover: the time of a call whose first provider is dead, stalled, slow, or refuses; 200 runs of each."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

from benchmarks.harness import Benchmark, Context, Row, Target
from three_mode import LLMConnection, LLMRequest
from three_mode.connection import Account, ConnectionOptions
from three_mode.policies import FallbackOptions, Policies
from three_mode.policies import Target as To
from three_mode.testing import Answer, Certificates, Fault, ScriptedProvider, Turn
from transports.http2 import PoolOptions

RUNS = 200
AT_ONCE = 20
APART = 0.45  # seconds between the starts of cases that run side by side: a quarter of the time of one wave
SECOND = Fault(stall_before_head=0.2)  # the next provider answers within 200 ms, and takes all of them
HOW: dict[str, tuple[Turn | Answer, Fault] | None] = {
    "dead": None,
    "stalled before the head": (Turn(), Fault(stall_before_head=60)),
    "stalled after the head": (Turn(), Fault(stall_after=0)),
    "keep-alives and no more": (Turn(keep_alives=1_000), Fault(pause=0.02)),
    "slow": (Turn(), Fault(pause=1.0)),
    "429": (Answer(status=429, headers=((b"retry-after", b"30"),)), Fault()),
    "500": (Answer(status=500), Fault()),
    "529": (Answer(status=529), Fault()),
    "cut": (Turn(), Fault(cut_after=0)),
}
# These cases mostly wait, for 1.5 seconds: they run side by side, a little apart.
WAITING = ("stalled before the head", "stalled after the head", "keep-alives and no more", "slow")
# Each run is independent: no breaker or limiter may know the provider from the run before.
POLICIES = Policies(breaker=None, limiter=None, fallback=FallbackOptions(targets=(To("anthropic", "second"),)))


async def waits(how: str, streamed: bool, runs: int) -> list[float]:
    """Seconds of calls whose first provider fails in the way `how`."""
    certificates = Certificates()
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(ScriptedProvider("h2", certificates=certificates)) for _ in range(2)
        ]
        second.always(Turn(), fault=SECOND)
        script = HOW[how]
        dead = f"https://localhost:{await _unused_port()}/v1"
        if script is not None:
            first.always(script[0], fault=script[1])
        accounts = {
            "openai": Account(api_key="k", base_url=dead if script is None else first.url + "/v1"),
            "anthropic": Account(api_key="k", base_url=second.url + "/v1"),
        }
        transport = PoolOptions(ssl_context=certificates.client_context(), trust_env=False)
        llm = LLMConnection(
            "openai", policies=POLICIES, options=ConnectionOptions(accounts=accounts, transport=transport)
        )
        await stack.enter_async_context(llm)
        request = LLMRequest(model="first", messages=[{"role": "user", "content": "Hello!"}], within=30)

        async def call() -> float:
            began = time.perf_counter()
            if streamed:
                stream = llm.stream(request)
                await stream.text()
                reply = stream.response()
            else:
                reply = await llm.chat_completion(request)
            assert reply.content == "Hello world!"
            assert reply.provider == "anthropic"
            return time.perf_counter() - began

        taken: list[float] = []
        while len(taken) < runs:
            taken += await asyncio.gather(*(call() for _ in range(min(AT_ONCE, runs - len(taken)))))
        return taken


async def side_by_side(hows: Sequence[str], streamed: bool, runs: int) -> dict[str, list[float]]:
    """Runs cases side by side, each with separate providers and a separate connection."""

    async def run_case(number: int, how: str) -> list[float]:
        await asyncio.sleep(number * APART)
        return await waits(how, streamed, runs)

    taken = await asyncio.gather(*(run_case(number, how) for number, how in enumerate(hows)))
    return dict(zip(hows, taken, strict=True))


async def _unused_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port


def run(context: Context) -> Iterator[Row]:
    """Runs the benchmark."""
    runs = 20 if context.quick else RUNS
    for streamed in (False, True):
        kind = "stream" if streamed else "chat_completion"
        context.progress(f"{kind}, those that wait")
        found = asyncio.run(side_by_side(WAITING, streamed, runs))
        for how in HOW:
            if how not in found:
                context.progress(f"{kind}, {how}")
                found[how] = asyncio.run(waits(how, streamed, runs))
            taken = found[how]
            yield Row(case=_case(kind, how), subject="median", unit="s", samples=taken)
            yield Row(case=_case(kind, how), subject="slowest", unit="s", samples=[max(taken)])


def _case(kind: str, how: str) -> str:
    return f"{kind}, the first provider: {how}"


BENCHMARK = Benchmark(
    summary="how soon the next provider answers when the first does not",
    run=run,
    targets=[
        Target(case=_case(kind, how), subject="slowest", at_most=2.0)
        for kind in ("chat_completion", "stream")
        for how in HOW
    ],
    notes=(
        f"{RUNS} runs of each, {AT_ONCE} at once, over TLS and HTTP/2, with the default of 1.5 s to the first content. "
        "The next provider begins to answer after 200 ms. The cases that wait (stalled, slow, keep-alives) run side by "
        "side. The time includes both connections, in the first runs, and all of the answer."
    ),
)
