"""What every protocol does alike: HTTP/2 with TLS and with prior knowledge, HTTP/1.1 with and without TLS."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.support.http2.servers import chat, connected, streamed
from three_mode.testing import FOREVER, Answer, Fault, Turn
from three_mode.testing.provider import Speaks
from transports.http2 import (
    ConnectionLost,
    InvalidRequest,
    LimitExceeded,
    Pool,
    PoolClosed,
    PoolFull,
    PoolOptions,
    Request,
    SSEDecoder,
    StreamReset,
    TimedOut,
    Timeouts,
    TransportError,
    UnsupportedScheme,
)

ALL: list[Speaks] = ["h2", "h2c", "http/1.1", "https/1.1"]
VERSION = {"h2": "HTTP/2", "h2c": "HTTP/2", "http/1.1": "HTTP/1.1", "https/1.1": "HTTP/1.1"}
every = pytest.mark.parametrize("speaks", ALL)


@every
async def test_a_reply_comes_whole(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        reply = await pool.fetch(chat(provider))
        assert reply.status == 200
        assert reply.http_version == VERSION[speaks]
        assert reply.header(b"content-type") == b"application/json"
        assert json.loads(reply.content)["choices"][0]["message"]["content"] == "Hello world!"
        seen = provider.seen[0]
        assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
        assert seen.headers["authorization"] == "Bearer secret-key"
        assert seen.json["messages"][0]["content"] == "hi"


@every
async def test_a_stream_comes_as_it_is_sent(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.next(Turn(text=("a", "b", "c")), fault=Fault(pause=0.01))
        decoder, texts, pieces = SSEDecoder(), [], 0
        async with pool.request(streamed(provider)) as response:
            assert response.status == 200
            async for data in response.body:
                pieces += 1
                chunks = [json.loads(event.data) for event in decoder.feed(data) if event.data != b"[DONE]"]
                texts += [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
        assert texts == ["", "a", "b", "c", None]
        assert pieces >= 5, "events sent one at a time arrive one at a time"
        assert provider.seen[0].finished


@every
async def test_connections_are_kept(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        for _ in range(5):
            await pool.fetch(chat(provider))
        async with pool.request(streamed(provider)) as response:
            await response.read()
        await pool.fetch(chat(provider))
        assert provider.accepted == 1
        (statistics,) = pool.statistics().values()
        assert (statistics.opened, statistics.requests, statistics.completed) == (1, 7, 7)
        assert statistics.streams == statistics.waiting == statistics.failed == 0


@every
async def test_leaving_early_cancels_at_the_server(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_after=2))
        async with pool.request(streamed(provider)) as response:
            async for _ in response.body:
                break
        left = asyncio.get_running_loop().time()
        await provider.until(lambda provider: bool(provider.cancelled_requests))
        seen = provider.seen[0]
        assert seen.cancelled_at is not None
        assert seen.cancelled_at - left < 1.0
        if VERSION[speaks] == "HTTP/2":
            assert seen.reset_code == 0x8, "RST_STREAM(CANCEL)"
            assert len(provider.connections) == 1, "and the connection lives on"
        assert (await pool.fetch(chat(provider))).status == 200
        (statistics,) = pool.statistics().values()
        assert statistics.cancelled == 1


@every
@pytest.mark.parametrize("fault", [Fault(stall_before_head=FOREVER), Fault(stall_after=1)])
async def test_cancelling_the_task_cancels_at_the_server(speaks: Speaks, fault: Fault) -> None:
    async with connected(speaks) as (pool, provider):
        provider.next(Turn(), fault=fault)
        task = asyncio.create_task(pool.fetch(streamed(provider)))
        await provider.until(lambda provider: bool(provider.seen))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await provider.until(lambda provider: bool(provider.cancelled_requests))
        assert (await pool.fetch(chat(provider))).status == 200


@every
async def test_no_first_byte_in_time(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_before_head=FOREVER))
        with pytest.raises(TimedOut, match=r"no response began within 0\.05 s") as caught:
            await pool.fetch(chat(provider), timeouts=Timeouts(first_byte=0.05))
        assert caught.value.phase == "first_byte"
        assert not caught.value.unprocessed
        await provider.until(lambda provider: bool(provider.cancelled_requests))


@every
@pytest.mark.parametrize("fault", [Fault(stall_before_head=FOREVER), Fault(stall_after=1)])
async def test_one_limit_of_the_whole(speaks: Speaks, fault: Fault) -> None:
    """Whatever part of the call it passes in, and however long that part alone may take."""
    async with connected(speaks) as (pool, provider):
        await pool.fetch(chat(provider))  # with a connection the whole request is there before its time is over
        provider.next(Turn(), fault=fault)
        until = asyncio.get_running_loop().time() + 0.05
        with pytest.raises(TimedOut, match="was not complete in the time allowed") as caught:
            await pool.fetch(streamed(provider), timeouts=Timeouts(first_byte=60, idle=60), until=until)
        assert caught.value.phase == "total"
        await provider.until(lambda provider: bool(provider.cancelled_requests))
        later = asyncio.get_running_loop().time() + 10
        assert (await pool.fetch(chat(provider), until=later)).status == 200


@every
async def test_a_stream_that_falls_silent(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.always(Turn(), fault=Fault(stall_after=1))
        with pytest.raises(TimedOut) as caught:
            async with pool.request(streamed(provider), timeouts=Timeouts(idle=0.05)) as response:
                await response.read()
        assert caught.value.phase == "idle"
        with pytest.raises(TimedOut) as caught:
            await pool.fetch(streamed(provider), timeouts=Timeouts(idle=0.05))
        assert caught.value.phase == "idle"
        await provider.until(lambda provider: len(provider.cancelled_requests) == 2)


@every
async def test_a_slow_reader_is_not_timed_out(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        async with pool.request(streamed(provider), timeouts=Timeouts(idle=0.05)) as response:
            await asyncio.sleep(0.15)
            assert b"[DONE]" in await response.read()


@every
async def test_a_cut_connection_is_an_error(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.next(Turn(), fault=Fault(cut_after=1))
        with pytest.raises(ConnectionLost, match="before the response was complete"):
            await pool.fetch(streamed(provider))
        assert (await pool.fetch(chat(provider))).status == 200


@every
async def test_bodies_stream_out_with_back_pressure(speaks: Speaks) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b'{"model":"m","messages":"'
        for _ in range(30):
            yield b"x" * 10_000
        yield b'"}'

    async with connected(speaks) as (pool, provider):
        request = Request.to("POST", provider.url + "/v1/chat/completions", (), parts())
        assert (await pool.fetch(request)).status == 200
        assert len(provider.seen[0].json["messages"]) == 300_000


@every
async def test_large_bodies_go_out(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        body = b'{"model":"%s"}' % (b"y" * 1_000_000)
        assert (await pool.fetch(chat(provider, body))).status == 200
        assert provider.seen[0].body == body


@every
async def test_an_iterator_that_fails_ends_the_call_with_its_error(speaks: Speaks) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x"
        raise KeyError("mine")

    async with connected(speaks) as (pool, provider):
        with pytest.raises(KeyError, match="mine"):
            await pool.fetch(Request.to("POST", provider.url + "/v1/chat/completions", (), parts()))
        assert (await pool.fetch(chat(provider))).status == 200


@every
async def test_large_bodies_come_in_and_a_limit_holds(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.always(Answer(pieces=(b"z" * 2_000_000,)))
        assert len((await pool.fetch(chat(provider))).content) == 2_000_000
        with pytest.raises(LimitExceeded, match="longer than 1000 bytes"):
            await pool.fetch(chat(provider), max_bytes=1_000)
        async with pool.request(chat(provider)) as response:
            with pytest.raises(LimitExceeded, match="longer than 1000 bytes"):
                await response.read(max_bytes=1_000)


@every
async def test_a_slow_consumer_bounds_memory_and_slows_only_itself(speaks: Speaks) -> None:
    options = PoolOptions(stream_window=65_536)
    async with connected(speaks, options) as (pool, provider):
        provider.next(Answer(pieces=(b"z" * 16_384,) * 2_000, streamed=True))
        async with pool.request(chat(provider)) as response:
            await asyncio.sleep(0.1)
            assert provider.seen[0].pieces_sent < 1_900, "the server had to wait"
            for _ in range(20):
                await pool.fetch(chat(provider), timeouts=Timeouts(first_byte=2))
            total = 0
            async for data in response.body:
                total += len(data)
        assert total == 16_384 * 2_000


@every
async def test_trailers(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.next(Answer(streamed=True, trailers=((b"x-checksum", b"1"),)))
        async with pool.request(chat(provider)) as response:
            await response.read()
            assert response.trailers == [(b"x-checksum", b"1")]


@every
async def test_a_reset_stream(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.next(Turn(), fault=Fault(reset_after=1))
        with pytest.raises(StreamReset if VERSION[speaks] == "HTTP/2" else ConnectionLost):
            await pool.fetch(streamed(provider))
        assert (await pool.fetch(chat(provider))).status == 200


@every
async def test_byte_by_byte(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.next(Turn(text=("日本", "語")), fault=Fault(byte_by_byte=True))
        reply = await pool.fetch(streamed(provider))
        assert "日本" in reply.content.decode()


@every
async def test_closing_the_pool_ends_what_is_in_progress(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.always(Turn(), fault=Fault(stall_after=1))
        tasks = [asyncio.create_task(pool.fetch(streamed(provider))) for _ in range(3)]
        await provider.until(lambda provider: len(provider.seen) == 3)
        await pool.aclose()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [PoolClosed] * 3
        with pytest.raises(PoolClosed):
            await pool.fetch(chat(provider))


@every
async def test_the_queue_is_bounded(speaks: Speaks) -> None:
    options = PoolOptions(connections_per_origin=1, streams_per_connection=1, waiting_per_origin=2)
    async with connected(speaks, options) as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_before_head=FOREVER))
        first = asyncio.create_task(pool.fetch(chat(provider)))
        await provider.until(lambda provider: bool(provider.seen))
        waiting = [asyncio.create_task(pool.fetch(chat(provider))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(PoolFull, match="2 calls wait") as caught:
            await pool.fetch(chat(provider))
        assert caught.value.unprocessed
        first.cancel()
        assert [(await task).status for task in waiting] == [200, 200], "a cancelled call frees its place"


@every
async def test_no_free_place_in_time(speaks: Speaks) -> None:
    options = PoolOptions(connections_per_origin=1, streams_per_connection=1)
    async with connected(speaks, options) as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_before_head=FOREVER))
        first = asyncio.create_task(pool.fetch(chat(provider)))
        await provider.until(lambda provider: bool(provider.seen))
        with pytest.raises(TimedOut) as caught:
            await pool.fetch(chat(provider), timeouts=Timeouts(pool=0.05))
        assert caught.value.phase == "pool"
        assert caught.value.unprocessed
        first.cancel()
        assert (await pool.fetch(chat(provider))).status == 200


async def test_what_cannot_be_sent_is_refused_at_the_caller() -> None:
    async with connected("h2c") as (pool, provider):
        with pytest.raises(UnsupportedScheme, match="must begin with http"):
            Request.to("GET", "ftp://localhost/")
        with pytest.raises(InvalidRequest, match="names no host"):
            Request.to("GET", "http:///x")
        with pytest.raises(InvalidRequest, match="must not carry a user") as caught:
            Request.to("GET", "http://me:hunter2@localhost/")  # pragma: allowlist secret
        assert "hunter2" not in str(caught.value)
        for header in [(b"x", b"a\r\nb: c"), (b"x y", b"a"), (b"x", b" a")]:
            with pytest.raises(InvalidRequest):
                await pool.fetch(Request.to("GET", provider.url, [header]))
        with pytest.raises(InvalidRequest, match="target"):
            await pool.fetch(Request(method=b"GET", origin=Request.to("GET", provider.url).origin, target=b"/a b"))
        assert provider.seen == []


async def test_keys_are_in_no_repr_and_no_error() -> None:
    async with connected("h2") as (pool, provider):
        request = chat(provider)
        assert "secret-key" not in repr(request)
        provider.next(Turn(), fault=Fault(cut_after=0))
        with pytest.raises(TransportError) as caught:
            await pool.fetch(request)
        assert "secret-key" not in repr(caught.value)
        async with pool.request(request) as response:
            assert "secret-key" not in repr(response)


def test_a_pool_moves_to_a_new_loop_when_its_own_is_gone() -> None:
    async def once(pool: Pool) -> int:
        async with connected("h2c") as (_, provider):
            return (await pool.fetch(chat(provider))).status

    pool = Pool(PoolOptions(protocol="h2", trust_env=False))
    assert asyncio.run(once(pool)) == 200
    assert asyncio.run(once(pool)) == 200


async def test_a_pool_of_another_loop_says_so() -> None:
    async with connected("h2c") as (pool, provider):
        await pool.fetch(chat(provider))

        def elsewhere() -> None:
            with pytest.raises(PoolClosed, match="another event loop"):
                asyncio.run(pool.fetch(chat(provider)))  # type: ignore[arg-type]

        await asyncio.to_thread(elsewhere)


@every
async def test_a_connection_that_is_lost_during_an_upload_ends_the_upload(speaks: Speaks) -> None:
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    async with connected(speaks) as (pool, provider):
        task = asyncio.create_task(pool.fetch(Request.to("POST", provider.url + "/x", (), endless())))
        await provider.until(lambda provider: bool(provider.connections))
        await asyncio.sleep(0.05)
        provider.connections[0].cut()
        with pytest.raises(ConnectionLost):
            await task
        async with asyncio.timeout(2):
            await ended.wait()


async def test_two_readers_of_one_response_are_told_so() -> None:
    async with connected("h2") as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_after=0))
        async with pool.request(streamed(provider)) as response:
            first = asyncio.create_task(response.read())
            await asyncio.sleep(0)
            with pytest.raises(InvalidRequest, match="from one task"):
                await response.read()
            first.cancel()


async def test_a_body_of_the_wrong_kind_is_refused() -> None:
    async with connected("h2") as (pool, provider):
        with pytest.raises(InvalidRequest, match="not str"):
            await pool.fetch(Request.to("POST", provider.url, (), "text"))  # type: ignore[arg-type]
