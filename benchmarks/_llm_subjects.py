"""Subjects of the LLM benchmarks: LLMConnection, the transport alone, the openai SDK and litellm, on one server."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from benchmarks._http2_server import Server, installed
from three_mode import LLMConnection, LLMRequest
from three_mode.connection import Account, ConnectionOptions
from three_mode.policies import Policies
from transports.http2 import Pool, PoolOptions, Request

AT_ONCE = 64
MESSAGES: list[dict[str, str]] = [{"role": "user", "content": "Hello!"}]
ASK = LLMRequest(model="gpt-4o", messages=MESSAGES)
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hello!"}]}'
STREAM = BODY[:-1] + b',"stream":true,"stream_options":{"include_usage":true}}'
Work = Callable[[], Awaitable[Any]]


def transport(server: Server) -> PoolOptions:
    """Options of a pool that trusts the server."""
    return PoolOptions(ssl_context=server.ssl_context(), trust_env=False)


def connection(server: Server, policies: Policies | None = None) -> LLMConnection:
    """Connection to the server."""
    account = Account(api_key="k", base_url=server.url + "/v1")
    options = ConnectionOptions(accounts={"openai": account}, transport=transport(server))
    return LLMConnection("openai", policies=policies, options=options)


def raw_request(server: Server, body: bytes) -> Request:
    """HTTP request without a connection."""
    headers = [(b"authorization", b"Bearer k"), (b"content-type", b"application/json")]
    return Request.to("POST", server.url + "/v1/chat/completions", headers, body)


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[tuple[LLMConnection, Pool, Any]]:
    """Opens our connection, a separate pool, and the openai client over HTTP/2, or None."""
    async with AsyncExitStack() as stack:
        llm = await stack.enter_async_context(connection(server))
        pool = await stack.enter_async_context(Pool(transport(server)))
        client = None
        if installed("openai"):
            import openai

            http = openai.DefaultAsyncHttpxClient(http2=True, verify=server.ssl_context())
            client = openai.AsyncOpenAI(api_key="k", base_url=server.url + "/v1", max_retries=0, http_client=http)
            await stack.enter_async_context(client)
        yield llm, pool, client


async def each(work: Work, calls: int) -> float:
    """Seconds a call, for `calls` calls, 64 at once."""
    gc.collect()
    began = time.perf_counter()
    await at_once(work, calls)
    return (time.perf_counter() - began) / (calls // AT_ONCE * AT_ONCE)


async def at_once(work: Work, calls: int) -> None:
    """Makes `calls` calls, 64 at once."""

    async def worker() -> None:
        for _ in range(calls // AT_ONCE):
            await work()

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
