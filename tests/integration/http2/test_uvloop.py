"""The same transport on uvloop, which is the loop of host processes."""

import asyncio

import pytest

from tests.support.http2.servers import chat, connected, serve, streamed
from three_mode.testing import Fault, Turn
from three_mode.testing.provider import Speaks
from transports.http2 import ConnectFailed, Pool, PoolOptions, Request, TimedOut, Timeouts, TLSFailed

uvloop = pytest.importorskip("uvloop")


async def story(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        replies = await asyncio.gather(
            *(pool.fetch(chat(provider, b'{"pad":"%s"}' % (b"x" * 100_000))) for _ in range(50))
        )
        assert {reply.status for reply in replies} == {200}
        async with pool.request(streamed(provider)) as response:
            assert b"[DONE]" in await response.read()
        provider.next(Turn(), fault=Fault(stall_after=1))
        with pytest.raises(TimedOut):
            await pool.fetch(streamed(provider), timeouts=Timeouts(idle=0.05))
        provider.next(Turn(), fault=Fault(stall_after=1))
        async with pool.request(streamed(provider)) as response:
            await anext(aiter(response.body))
        await provider.until(lambda provider: len(provider.cancelled_requests) == 2)
        assert (await pool.fetch(chat(provider))).status == 200


async def failures() -> None:
    async with serve("h2") as provider, Pool(PoolOptions(trust_env=False)) as pool:
        with pytest.raises(TLSFailed):
            await pool.fetch(chat(provider))
        port = provider.port
    async with Pool(PoolOptions(trust_env=False)) as pool:
        with pytest.raises(ConnectFailed):
            await pool.fetch(Request.to("GET", f"http://localhost:{port}/"))


@pytest.mark.parametrize("speaks", ["h2", "h2c", "http/1.1", "https/1.1"])
def test_on_uvloop(speaks: Speaks) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story(speaks))


def test_failures_on_uvloop() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(failures())


def test_a_response_that_is_forgotten_is_cancelled() -> None:
    async def forget() -> None:
        async with connected("h2") as (pool, provider):
            provider.next(Turn(), fault=Fault(stall_after=1))
            response = await pool.request(streamed(provider)).start()
            assert response.status == 200
            del response
            await provider.until(lambda provider: bool(provider.cancelled_requests))

    asyncio.run(forget())
