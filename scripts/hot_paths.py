"""The hot paths of the product, each ready to be run any number of times: what `instructions.py` and `flows.py`
measure.

Public names alone are used, so that the file runs against any tree: PYTHONPATH says which. Hosts import this file for
its agents. Run as a script it is the process that `instructions.py` counts, or the provider beside it.

    python scripts/hot_paths.py count NAME N PAIRS [URL]
    python scripts/hot_paths.py provider

"""

import asyncio
import ctypes
import gc
import json
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import uvloop

from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, Usage, handler, on
from three_mode.agents import HostOptions, OrchestratorOptions
from three_mode.connection import ConnectionOptions
from three_mode.messages import Text
from three_mode.testing import ScriptedProvider, Seen, Turn
from transports.bus import Bus, BusOptions
from transports.http2 import PoolOptions

ITEM = {"id": 1, "text": "x" * 72, "tags": ["a", "b"]}  # about 100 bytes of msgpack
HELLO = [{"role": "user", "content": "Hello!"}]
COUNT = [{"role": "user", "content": "Count from 1 to 50."}]
HANDLERS = 8  # in the paths of the bus alone
AGENTS = 512
DECODING = 0.1  # seconds by which each decode is delayed
PATIENCE = 600.0  # seconds: a process under valgrind is about fifty times slower

MARK = "HOT_PATHS_MARK"  # environment variable: path of the library with `mark`


@cache
def library() -> ctypes.CDLL | None:
    """Library with `mark`; None where instructions are not counted."""
    return ctypes.CDLL(os.environ[MARK]) if MARK in os.environ else None


def mark() -> None:
    """Ends one block of counted instructions and begins the next, if instructions are counted."""
    if (found := library()) is not None:
        found.mark()


@dataclass(frozen=True)
class Ready:
    """A path that can be run: `run(n)` makes n iterations; `mark_host` marks the other process, if counted."""

    run: Callable[[int], Awaitable[None]]
    mark_host: Callable[[], Awaitable[int]] | None = None
    caller: bool = True
    """Whether this process is counted: not where it polls whether the other process is done."""


# --- agents ---
class Echo(Agent):
    """Answers at once. Its handler `mark` marks its process."""

    @handler
    async def echo(self, text: str) -> str:
        return text

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text(request.messages[-1].text),), model="echo", usage=Usage(3, 4))

    @handler
    def mark(self) -> int:
        gc.collect()
        gc.disable()  # a collection would add to some block
        mark()
        return os.getpid()


class Reader(Agent):
    """One of many plain handlers of a topic."""

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        pass


def orchestrator() -> Orchestrator:
    """Orchestrator of one host, which may be slow: valgrind slows it down."""
    hosts = HostOptions(start_within=PATIENCE, blocked_after=PATIENCE, kill_blocked_after=0.0, silent_after=PATIENCE)
    return Orchestrator(hosts=1, options=OrchestratorOptions(hosts=hosts, default_within=PATIENCE))


# --- paths ---
def repeated(iteration: Callable[[], Awaitable[Any]]) -> Callable[[int], Awaitable[None]]:
    """Function that makes n iterations."""

    async def run(n: int) -> None:
        for _ in range(n):
            await iteration()

    return run


@asynccontextmanager
async def two_members() -> AsyncIterator[tuple[Bus, Bus]]:
    """Joins two members of one bus in this process, so that both sides of a message are counted in one thread."""
    name = f"hot-paths-{os.getpid()}"
    async with await Bus.join(name, BusOptions(label="a")) as a, await Bus.join(name, BusOptions(label="b")) as b:
        yield a, b


@asynccontextmanager
async def bus_broadcast(_url: str) -> AsyncIterator[Ready]:
    """Publishes to handlers of another member."""
    async with two_members() as (a, b):
        left, done = 0, asyncio.Event()

        def read(_message: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        for _ in range(HANDLERS):
            await b.subscribe("news.*", read)

        async def one() -> None:
            nonlocal left
            left = HANDLERS
            done.clear()
            a.publish("news.eu", ITEM)
            await done.wait()

        yield Ready(repeated(one))


@asynccontextmanager
async def bus_ask(_url: str) -> AsyncIterator[Ready]:
    """Asks another member."""
    async with two_members() as (a, b):
        await b.register("echo", lambda request: request.reply(request.payload["id"]))
        await a.wait_for("echo", within=PATIENCE)
        yield Ready(repeated(lambda: a.ask("echo", ITEM, within=PATIENCE)))


@asynccontextmanager
async def agent_ask(_url: str) -> AsyncIterator[Ready]:
    """Asks an agent in a host process."""
    async with orchestrator() as orc:
        echo = await orc.spawn(Echo, name="echo", within=PATIENCE)
        yield Ready(repeated(lambda: echo.ask(Echo.echo, "hello")), lambda: echo.ask(Echo.mark))


@asynccontextmanager
async def llm_to_agent(_url: str) -> AsyncIterator[Ready]:
    """Sends an LLMRequest to an agent in a host process."""
    request = LLMRequest(model="agent:echo", messages=HELLO)
    async with orchestrator() as orc, LLMConnection(bus=orc.bus) as llm:
        echo = await orc.spawn(Echo, name="echo", within=PATIENCE)
        yield Ready(repeated(lambda: llm.chat_completion(request)), lambda: echo.ask(Echo.mark))


@asynccontextmanager
async def broadcast_512(_url: str) -> AsyncIterator[Ready]:
    """Broadcasts to 512 agents, and waits until all handlers have run."""
    async with orchestrator() as orc:
        await orc.spawn(Reader, AGENTS, name="reader", within=PATIENCE)
        echo = await orc.spawn(Echo, name="echo", within=PATIENCE)

        async def one() -> None:
            seen = await orc.broadcast("news.eu", ITEM).settled(PATIENCE)
            assert seen.seen == AGENTS, seen

        yield Ready(repeated(one), lambda: echo.ask(Echo.mark), caller=False)


def trusting() -> ssl.SSLContext:
    """TLS context for a provider on loopback, with a certificate that is generated anew each time."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connected(url: str) -> LLMConnection:
    """Connection to a scripted provider."""
    options = ConnectionOptions(transport=PoolOptions(ssl_context=trusting(), trust_env=False))
    return LLMConnection("openai", "key", url + "/v1", timeout=PATIENCE, options=options)


@asynccontextmanager
async def llm_http2(url: str) -> AsyncIterator[Ready]:
    """Makes a call over TLS and HTTP/2."""
    request = LLMRequest(model="gpt-4o", messages=HELLO)
    async with connected(url) as llm:
        yield Ready(repeated(lambda: llm.chat_completion(request)))


@asynccontextmanager
async def stream_event(url: str) -> AsyncIterator[Ready]:
    """Reads one event of a stream over TLS and HTTP/2."""
    async with connected(url) as llm:

        async def run(n: int) -> None:
            request = LLMRequest(model="gpt-4o", messages=HELLO, max_tokens=n)
            texts = [chunk.text async for chunk in llm.stream(request) if chunk.text]
            assert len(texts) == n, len(texts)

        yield Ready(run)


def hold_up_decodes(after: Callable[[], object] = lambda: None) -> None:
    """Delays each decode, so that a token reaches its reader before the next one is decoded."""
    from llama_cpp import llama_cpp

    decode = llama_cpp.llama_decode

    def slow_decode(*given: Any) -> Any:
        time.sleep(DECODING)
        code = decode(*given)
        after()
        return code

    llama_cpp.llama_decode = slow_decode


@asynccontextmanager
async def local_token(_url: str) -> AsyncIterator[Ready]:
    """Reads one token of a local model."""
    from local_models import LoadOptions, LocalModel

    hold_up_decodes()
    async with await LocalModel.load("tiny", LoadOptions(threads=1, sequences=1)) as model:

        async def run(n: int) -> None:
            texts = [piece async for piece in model.stream(COUNT, max_tokens=n, temperature=0.0, within=PATIENCE)]
            assert len(texts) >= n, len(texts)

        yield Ready(run)


PATHS = {
    path.__name__: path
    for path in (
        bus_broadcast,
        bus_ask,
        agent_ask,
        llm_to_agent,
        broadcast_512,
        llm_http2,
        stream_event,
        local_token,
    )
}


# --- processes ---
def turn(seen: Seen) -> Turn:
    """Answer with as many pieces as the request allows tokens."""
    request = seen.json
    most = request.get("max_completion_tokens") or request.get("max_tokens")
    return Turn(text=("x",) * most) if most else Turn()


async def provide() -> None:
    """Serves until its standard input ends."""
    async with ScriptedProvider("h2") as provider:
        provider.always(turn)
        print(provider.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def count(name: str, n: int, pairs: int, url: str) -> None:
    """Runs blocks of n and of 2n iterations in turn, each between two marks in each counted process."""
    async with AsyncExitStack() as stack:
        ready = await stack.enter_async_context(PATHS[name](url))
        for size in (n, 2 * n):  # warm
            await ready.run(size)
        pids = {"caller": os.getpid()} if ready.caller else {}
        gc.collect()
        gc.disable()
        for size in (n, 2 * n) * pairs:
            if ready.mark_host is not None:
                pids["host"] = await ready.mark_host()
            mark()
            await ready.run(size)
            mark()
            if ready.mark_host is not None:
                await ready.mark_host()
        print(json.dumps(pids), flush=True)


if __name__ == "__main__":
    verb, *given = sys.argv[1:]
    if verb == "provider":
        uvloop.run(provide())
    else:
        uvloop.run(count(given[0], int(given[1]), int(given[2]), given[3] if len(given) > 3 else ""))
