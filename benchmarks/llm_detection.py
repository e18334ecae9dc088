"""Detection of a provider: the time of the first call where none is named and the first of the order is silent."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

from benchmarks.harness import Benchmark, Context, Row, Target
from three_mode import LLMConnection, LLMRequest
from three_mode.connection import Account, ConnectionOptions
from three_mode.testing import Certificates, ScriptedProvider
from transports.http2 import PoolOptions

RUNS = 40
AT_ONCE = 10
HOW = ("well", "refuses connections", "accepts and says nothing")


async def waits(how: str, runs: int) -> list[float]:
    """Seconds of whole first calls, each on a new connection."""
    certificates = Certificates()
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(ScriptedProvider("h2", certificates=certificates)) for _ in "12"]
        silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        stack.callback(silent.close)
        port = {
            "well": servers[0].port,
            "refuses connections": _unused(),
            "accepts and says nothing": silent.sockets[0].getsockname()[1],
        }[how]
        accounts = {
            "anthropic": Account(api_key="k", base_url=f"https://localhost:{port}/v1"),
            "openai": Account(api_key="k", base_url=servers[1].url + "/v1"),
        }
        options = ConnectionOptions(
            accounts=accounts,
            detection_order=("anthropic", "openai"),
            transport=PoolOptions(ssl_context=certificates.client_context(), trust_env=False),
        )
        request = LLMRequest(model="m", messages=[{"role": "user", "content": "Hello!"}], within=30)

        async def first_call() -> float:
            async with LLMConnection(options=options) as llm:
                began = time.perf_counter()
                reply = await llm.chat_completion(request)
                assert reply.provider == ("anthropic" if how == "well" else "openai")
                return time.perf_counter() - began

        taken: list[float] = []
        while len(taken) < runs:
            taken += await asyncio.gather(*(first_call() for _ in range(AT_ONCE)))
        return taken


def _unused() -> int:
    """Port that was free a moment ago."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def run(context: Context) -> Iterator[Row]:
    """Runs the benchmark."""
    for how in HOW:
        context.progress(how)
        taken = asyncio.run(waits(how, AT_ONCE if context.quick else RUNS))
        yield Row(case=_case(how), subject="median", unit="s", samples=taken)
        yield Row(case=_case(how), subject="slowest", unit="s", samples=[max(taken)])


def _case(how: str) -> str:
    return f"the first call, no provider named; the first in order: {how}"


BENCHMARK = Benchmark(
    summary="how soon a provider is found where none is named",
    run=run,
    targets=[Target(case=_case(how), subject="slowest", at_most=2.0) for how in HOW],
    notes=(
        f"{RUNS} new connections for each case, {AT_ONCE} at once, over TLS and HTTP/2. "
        "The time includes the call itself."
    ),
)
