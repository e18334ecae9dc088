"""Calls of a tool over MCP: an agent in another process, beside servers of fastmcp and of the official package."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from benchmarks._http2_server import free_port, installed, wait_for
from benchmarks._mcp_cast import Weather
from benchmarks._peers import how_to_get, program
from benchmarks._serve_subjects import three_mode
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async
from three_mode import Orchestrator
from transports.http2 import Pool, PoolOptions, Request

ROOT = Path(__file__).resolve().parent.parent
FASTMCP_PYTHON, HOW_TO_GET_FASTMCP = program("fastmcp"), how_to_get("fastmcp")
AT_ONCE, CALLS, MANY = 64, 100, 1_280
ONE = "a call of a tool, one at a time"
BEYOND = "a call of a tool, beyond the agent's ask"
RATE = f"calls of a tool in a second, {AT_ONCE} at once"
OURS, ASK, FASTMCP, OFFICIAL = "three-mode, an agent", "the agent's own ask", "fastmcp", "mcp's MCPServer"
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
STARTED = 60.0  # seconds that a peer has to listen

Ask = Callable[[], Awaitable[None]]


def asking(pool: Pool, url: str, tool: str, key: str = "") -> Ask:
    """A call of a tool as a message of the stateless era. The client is the same for all servers."""
    params = {"name": tool, "arguments": {"city": "Rome", "days": 3}, "_meta": META}
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    headers = [
        (b"content-type", b"application/json"),
        (b"accept", b"application/json, text/event-stream"),
        (b"mcp-protocol-version", VERSION.encode()),
        (b"mcp-method", b"tools/call"),
        (b"mcp-name", tool.encode()),
    ]
    if key:
        headers.append((b"authorization", b"Bearer " + key.encode()))
    request = Request.to("POST", url, headers, body)

    async def call() -> None:
        reply = await pool.fetch(request)
        assert reply.status == 200, reply.content
        assert b"Rome: 3 days of sun" in reply.content, reply.content

    return call


@contextmanager
def peer(python: str, kind: str) -> Iterator[str]:
    """The URL of a peer's server, in a process of its own."""
    port = free_port()
    command = [python, str(ROOT / "benchmarks" / "_mcp_server.py"), kind, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process, STARTED)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.communicate()


def timed(ask: Ask, calls: int, at_once: int = 1) -> Callable[[], Awaitable[float]]:
    """A sample: seconds for each call."""

    async def worker() -> None:
        for _ in range(calls // at_once):
            await ask()

    async def take() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(at_once)))
        return (time.perf_counter() - began) / calls

    return take


@asynccontextmanager
async def subjects(context: Context) -> AsyncIterator[tuple[dict[str, Ask], Ask]]:
    """The servers that are there, and the ask of the agent itself."""
    async with AsyncExitStack() as stack:
        context.progress("starting an agent, the endpoint and the peers' servers")
        orc = await stack.enter_async_context(Orchestrator(hosts=1))
        (agent,) = await orc.spawn(Weather, 1, name="weather")
        endpoint = await asyncio.to_thread(stack.enter_context, three_mode(orc.name, "http://127.0.0.1:9"))
        pool = await stack.enter_async_context(Pool(PoolOptions(trust_env=False)))
        found = {OURS: asking(pool, f"{endpoint.url}/mcp", "weather_forecast", endpoint.key)}
        for name, there, python, kind in (
            (FASTMCP, FASTMCP_PYTHON.exists(), str(FASTMCP_PYTHON), "fastmcp"),
            (OFFICIAL, installed("mcp"), sys.executable, "official"),
        ):
            if there:
                url = await asyncio.to_thread(stack.enter_context, peer(python, kind))
                found[name] = asking(pool, url, "forecast")

        async def ask() -> None:
            assert await agent.ask(Weather.forecast, "Rome", 3, within=10.0) == "Rome: 3 days of sun"

        yield found, ask


async def measure(context: Context) -> list[Row]:
    """Measures all subjects in turn."""
    rows: list[Row] = []
    calls, many = (CALLS // 4, MANY // 4) if context.quick else (CALLS, MANY)
    async with subjects(context) as (servers, ask):
        context.progress("one at a time")
        found = await alternate_async(
            {name: timed(call, calls) for name, call in {**servers, ASK: ask}.items()}, context.rounds(8)
        )
        for name, seconds in found.items():
            rows.append(Row(case=ONE, subject=name, unit="us", samples=[1e6 * s for s in seconds]))
        beyond = [1e6 * (ours - own) for ours, own in zip(found[OURS], found[ASK], strict=True)]
        rows.append(Row(case=BEYOND, subject=OURS, unit="us", samples=beyond))
        context.progress("64 at once")
        found = await alternate_async(
            {name: timed(call, many, AT_ONCE) for name, call in servers.items()}, context.rounds(4)
        )
        for name, seconds in found.items():
            rows.append(
                Row(case=RATE, subject=name, unit="1/s", samples=[1 / s for s in seconds], higher_is_better=True)
            )
    return rows


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    yield from asyncio.run(measure(context))
    if not FASTMCP_PYTHON.exists():
        yield Missing(case=ONE, subject=FASTMCP, how_to_get=HOW_TO_GET_FASTMCP)
    if not installed("mcp"):
        yield Missing(case=ONE, subject=OFFICIAL, how_to_get="pip install mcp")


BENCHMARK = Benchmark(
    summary="calls of an agent's handler as a tool over MCP, beside servers of fastmcp and of the official package",
    run=run,
    targets=[
        Target(case=BEYOND, subject=OURS, at_most=1_000.0),
        Target(case=ONE, subject=OURS, peer=FASTMCP, at_most=0.5),
        Target(case=ONE, subject=OURS, peer=OFFICIAL, at_most=0.5),
    ],
    notes=(
        "One client for all servers: our HTTP pool, over HTTP/1.1 on loopback, with the same message of the stateless "
        "era. Behind our endpoint the tool is a handler of an agent in another process, so three processes work; in "
        "the peers' servers it is a function of the server itself. Ours checks a key, theirs have none. Each calls "
        "the tool with its default options."
    ),
)
