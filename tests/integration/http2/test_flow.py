"""Flow control both ways, time limits and cancellation of single streams among many; on real sockets."""

import asyncio

import pytest
from h2.settings import SettingCodes

from tests.support.http2.servers import chat, connected, lane, only, streamed
from three_mode.testing import FOREVER, Answer, Behaviour, Fault, ScriptedProvider, Turn
from transports.http2 import (
    Pool,
    PoolOptions,
    TimedOut,
    Timeouts,
)

# Flow control


async def test_a_window_that_changes_during_an_upload() -> None:
    async with connected("h2", behaviour=Behaviour(window=1_000)) as (pool, provider):
        await pool.fetch(chat(provider))
        body = b'{"pad":"%s"}' % (b"x" * 300_000)
        task = asyncio.create_task(pool.fetch(chat(provider, body)))
        await asyncio.sleep(0.01)
        for window in (10, 0, 70_000, 100, 200_000):
            lane(provider).change_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
            await asyncio.sleep(0.01)
        assert (await task).status == 200
        assert provider.seen[-1].body == body


async def test_a_server_that_takes_nothing_more_times_out_that_upload_alone() -> None:
    async with connected("h2", behaviour=Behaviour(reads=False)) as (pool, provider):
        task = asyncio.create_task(pool.fetch(chat(provider, b"x" * 100_000), timeouts=Timeouts(write=0.1)))
        await asyncio.sleep(0.02)
        assert (await pool.fetch(chat(provider))).status == 200
        with pytest.raises(TimedOut) as caught:
            await task
        assert caught.value.phase == "write"
        assert provider.accepted == 1


async def test_one_stream_that_times_out_harms_no_sibling() -> None:
    async with connected("h2") as (pool, provider):
        provider.next(Turn(text=("x",) * 10), fault=Fault(pause=0.03))
        sibling = asyncio.create_task(pool.fetch(streamed(provider)))
        await provider.until(lambda provider: bool(provider.seen))
        provider.always(Turn(), fault=Fault(stall_before_head=FOREVER))
        outcomes = await asyncio.gather(
            *(pool.fetch(chat(provider), timeouts=Timeouts(first_byte=0.02 * n)) for n in range(1, 6)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [TimedOut] * 5
        assert (await sibling).content.endswith(b"[DONE]\n\n")
        assert (provider.accepted, only(pool).timed_out) == (1, 5)


async def abandon(pool: Pool, provider: ScriptedProvider, count: int, at_once: int) -> None:
    answer = Answer(pieces=(b"z" * 8_192,) * 8, streamed=True)
    provider.always(answer)
    turns = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with turns, pool.request(chat(provider)) as response:
            async for _ in response.body:
                break

    await asyncio.gather(*(one() for _ in range(count)))


async def test_abandoned_streams_give_their_window_back() -> None:
    """A thousand leave 60 kB each on the way: four times the connection's window."""
    async with connected("h2") as (pool, provider):
        await abandon(pool, provider, 1_000, at_once=50)
        provider.always(Turn())
        assert (await pool.fetch(chat(provider), timeouts=Timeouts(first_byte=5))).status == 200
        assert (only(pool).streams, only(pool).connections) == (0, 1)


@pytest.mark.soak
async def test_ten_thousand_abandoned_streams_leave_no_trace() -> None:
    import psutil

    async with connected("h2") as (pool, provider):
        await abandon(pool, provider, 2_000, at_once=50)
        provider.seen.clear()
        before = psutil.Process().memory_info().rss
        for _ in range(5):
            await abandon(pool, provider, 2_000, at_once=50)
            provider.seen.clear()
        grown = psutil.Process().memory_info().rss - before
        assert grown < 20_000_000, f"{grown / 1e6:.1f} MB more than before"
        assert provider.accepted == 1


async def test_a_cancelled_call_touches_nothing_else() -> None:
    async with connected("h2") as (pool, provider):
        provider.always(Turn(text=("x",) * 20), fault=Fault(pause=0.01))
        tasks = [asyncio.create_task(pool.fetch(streamed(provider))) for _ in range(20)]
        await provider.until(lambda provider: len(provider.seen) == 20)
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
        assert all(not isinstance(outcome, BaseException) for outcome in outcomes[1::2])
        assert len(provider.cancelled_requests) == 10
        assert {seen.reset_code for seen in provider.cancelled_requests} == {0x8}


async def test_calls_cancelled_while_they_wait_are_forgotten() -> None:
    options = PoolOptions(connections_per_origin=1, streams_per_connection=1)
    async with connected("h2", options) as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_before_head=0.1))
        first = asyncio.create_task(pool.fetch(chat(provider)))
        await provider.until(lambda provider: bool(provider.seen))
        waiting = [asyncio.create_task(pool.fetch(chat(provider))) for _ in range(10)]
        await asyncio.sleep(0)
        for task in waiting[:9]:
            task.cancel()
        await first
        assert (await waiting[9]).status == 200
        assert len(provider.seen) == 2
        assert (only(pool).cancelled, only(pool).waiting) == (9, 0)
