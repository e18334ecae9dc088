"""How a pool opens, fills, keeps and leaves connections; on real sockets against the scripted provider."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from h2.settings import SettingCodes

from tests.support.connection.streams import listening
from tests.support.http2.servers import chat, connected, lane, only, options_for, serve, streamed
from three_mode.testing import FOREVER, Behaviour, Fault, Turn
from transports.http2 import (
    ConnectFailed,
    ConnectionLost,
    Pool,
    PoolOptions,
    Request,
    StreamReset,
    TimedOut,
    Timeouts,
    TLSFailed,
)

SLOW = Fault(stall_before_head=0.2)


# Opening


async def test_a_cold_burst_opens_one_connection() -> None:
    async with connected("h2") as (pool, provider):
        replies = await asyncio.gather(*(pool.fetch(chat(provider)) for _ in range(80)))
        assert {reply.status for reply in replies} == {200}
        assert provider.accepted == 1


async def test_as_many_connections_as_the_streams_need() -> None:
    async with connected("h2", behaviour=Behaviour(max_streams=100)) as (pool, provider):
        provider.always(Turn(), fault=SLOW)
        await asyncio.gather(*(pool.fetch(chat(provider)) for _ in range(250)))
        assert provider.accepted == 3
        provider.always(Turn())
        await asyncio.gather(*(pool.fetch(chat(provider)) for _ in range(100)))
        assert provider.accepted == 3


async def test_http_1_1_opens_one_for_each_call_in_progress() -> None:
    async with connected("http/1.1", PoolOptions(connections_per_origin=8)) as (pool, provider):
        provider.always(Turn(), fault=Fault(stall_before_head=0.05))
        await asyncio.gather(*(pool.fetch(chat(provider)) for _ in range(20)))
        assert provider.accepted == 8


async def test_a_limit_of_streams_is_obeyed_and_so_are_its_changes() -> None:
    async with connected("h2", PoolOptions(connections_per_origin=1), Behaviour(max_streams=2)) as (
        pool,
        provider,
    ):
        at_once = 0

        def count(_: object) -> Turn:
            nonlocal at_once
            at_once = max(at_once, len(lane(provider).streams))
            return Turn()

        provider.always(count, fault=Fault(stall_before_head=0.01))
        await asyncio.gather(*(pool.fetch(chat(provider)) for _ in range(20)))
        assert at_once == 2
        lane(provider).change_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 5})
        await pool.fetch(chat(provider))
        await asyncio.gather(*(pool.fetch(chat(provider)) for _ in range(20)))
        assert at_once == 5
        lane(provider).change_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        await pool.fetch(chat(provider))
        at_once = 0
        await asyncio.gather(*(pool.fetch(chat(provider)) for _ in range(10)))
        assert at_once == 1
        assert provider.accepted == 1


async def test_a_limit_of_nought_holds_all_calls_until_it_is_lifted() -> None:
    async with connected("h2", behaviour=Behaviour(max_streams=0)) as (pool, provider):
        await pool.warm(provider.url)
        await provider.until(lambda provider: bool(provider.connections))
        await asyncio.sleep(0.05)
        tasks = [asyncio.create_task(pool.fetch(chat(provider))) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert provider.seen == []
        lane(provider).change_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 10})
        assert {(await task).status for task in tasks} == {200}
        assert provider.accepted == 1


async def test_until_the_server_told_its_limit_one_stream_goes_out() -> None:
    async with connected("h2", behaviour=Behaviour(settings_delay=0.1, max_streams=3)) as (pool, provider):
        tasks = [asyncio.create_task(pool.fetch(chat(provider))) for _ in range(10)]
        await provider.until(lambda provider: bool(provider.seen))
        assert len(provider.seen) == 1
        await asyncio.gather(*tasks)


async def test_a_connection_can_be_opened_ahead() -> None:
    async with connected("h2") as (pool, provider):
        await pool.warm(provider.url)
        await provider.until(lambda provider: provider.accepted == 1)
        await pool.fetch(chat(provider))
        assert provider.accepted == 1


# Failing to open


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        async with Pool(PoolOptions(trust_env=False)) as pool:
            outcomes = await asyncio.gather(
                *(pool.fetch(Request.to("GET", url)) for _ in range(3)), return_exceptions=True
            )
            assert [type(outcome) for outcome in outcomes] == [ConnectFailed] * 3
            error = outcomes[0]
            assert isinstance(error, ConnectFailed)
            assert error.unprocessed
            assert url.rstrip("/") in str(error)
            with pytest.raises(ConnectFailed):
                await pool.warm(url)


async def test_a_server_that_accepts_and_says_nothing() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with listening(silent) as port:
        url = f"https://127.0.0.1:{port}/"
        async with Pool(PoolOptions(trust_env=False)) as pool:
            short, long = Timeouts(connect=0.05), Timeouts(connect=0.2)
            started = asyncio.get_running_loop().time()
            patient = asyncio.create_task(pool.fetch(Request.to("GET", url), timeouts=long))
            with pytest.raises(TimedOut, match=r"no connection within 0\.05 s") as caught:
                await pool.fetch(Request.to("GET", url), timeouts=short)
            assert caught.value.phase == "connect"
            with pytest.raises(TimedOut, match=r"no connection within 0\.2 s"):
                await patient
            assert asyncio.get_running_loop().time() - started >= 0.19


async def test_a_server_that_hangs_up_at_once() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(rude) as port:
        url = f"http://127.0.0.1:{port}/"
        for protocol in ("h2", "http/1.1"):
            async with Pool(PoolOptions(trust_env=False, protocol=protocol)) as pool:  # type: ignore[arg-type]
                with pytest.raises((ConnectFailed, ConnectionLost)):
                    await pool.fetch(Request.to("GET", url), timeouts=Timeouts(connect=2))


async def test_tls_that_is_not_trusted_or_not_http2() -> None:
    async with serve("h2") as provider, Pool(PoolOptions(trust_env=False)) as pool:
        with pytest.raises(TLSFailed, match="certificate verify failed"):
            await pool.fetch(chat(provider))
    async with serve("https/1.1") as provider:
        options = options_for(provider, PoolOptions(protocol="h2"))
        async with Pool(options) as pool:
            with pytest.raises(TLSFailed, match=r"does not speak HTTP/2|alert"):
                await pool.fetch(chat(provider))


# GOAWAY and refusals


@pytest.mark.parametrize("speaks", ["h2", "h2c"])
async def test_after_goaway_streams_in_progress_end_well_and_new_ones_go_elsewhere(speaks: str) -> None:
    async with connected(speaks) as (pool, provider):  # type: ignore[arg-type]
        provider.next(Turn(), fault=Fault(goaway_after=1, pause=0.02))
        first = asyncio.create_task(pool.fetch(streamed(provider)))
        await provider.until(lambda provider: bool(provider.seen) and provider.seen[0].pieces_sent >= 2)
        assert (await pool.fetch(chat(provider))).status == 200
        reply = await first
        assert reply.content.endswith(b"data: [DONE]\n\n"), "the stream below the last one is not touched"
        assert provider.accepted == 2
        await provider.until(lambda provider: len(provider.connections) == 1)
        assert (only(pool).goaways_received, only(pool).resent, only(pool).failed) == (1, 0, 0)


async def test_what_goaway_says_was_not_processed_is_sent_again() -> None:
    async with connected("h2") as (pool, provider):
        await pool.fetch(chat(provider))
        provider.next(Turn(), fault=Fault(goaway_after=-1, goaway_processed=False))
        assert (await pool.fetch(chat(provider))).status == 200
        assert (len(provider.seen), provider.accepted, only(pool).resent) == (3, 2, 1)


async def test_two_goaways_first_a_warning_then_the_last_stream() -> None:
    async with connected("h2") as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_before_head=0.1))
        task = asyncio.create_task(pool.fetch(chat(provider)))
        await provider.until(lambda provider: bool(provider.seen))
        lane(provider).goaway(2**31 - 1)
        await asyncio.sleep(0.02)
        lane(provider).goaway(1)
        assert (await task).status == 200


async def test_a_goodbye_with_a_reason_is_passed_on() -> None:
    async with connected("h2") as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_before_head=FOREVER))
        task = asyncio.create_task(pool.fetch(chat(provider)))
        await provider.until(lambda provider: bool(provider.seen))
        lane(provider).goaway(1, code=0xB, debug=b"too many requests")
        lane(provider).cut()
        with pytest.raises(ConnectionLost, match=r"GOAWAY with ENHANCE_YOUR_CALM \(too many requests\)"):
            await task


async def test_a_body_that_cannot_be_repeated_is_not() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"{}"

    async with connected("h2") as (pool, provider):
        await pool.fetch(chat(provider))
        provider.next(Turn(), fault=Fault(goaway_after=-1, goaway_processed=False))
        request = Request.to("POST", provider.url + "/v1/chat/completions", (), parts())
        with pytest.raises(ConnectionLost, match="GOAWAY") as caught:
            await pool.fetch(request)
        assert caught.value.unprocessed, "the caller, who can make a new body, may send it again"


async def test_a_refused_stream_is_sent_again_three_times_and_no_more() -> None:
    refused = Fault(reset_after=-1, reset_code=0x7)
    async with connected("h2") as (pool, provider):
        provider.next(Turn(), fault=refused, times=3)
        assert (await pool.fetch(chat(provider))).status == 200
        assert len(provider.seen) == 4
        provider.next(Turn(), fault=refused, times=4)
        with pytest.raises(StreamReset, match="REFUSED_STREAM") as caught:
            await pool.fetch(chat(provider))
        assert caught.value.unprocessed
        assert len(provider.seen) == 8


async def test_any_other_reset_is_not_sent_again() -> None:
    async with connected("h2") as (pool, provider):
        provider.next(Turn(), fault=Fault(reset_after=-1, reset_code=0x2))
        with pytest.raises(StreamReset, match="INTERNAL_ERROR") as caught:
            await pool.fetch(chat(provider))
        assert (caught.value.code, caught.value.unprocessed, len(provider.seen)) == (2, False, 1)


# Keeping and leaving


async def test_a_connection_that_went_away_while_idle_is_replaced() -> None:
    for speaks in ("h2", "http/1.1"):
        async with connected(speaks) as (pool, provider):  # type: ignore[arg-type]
            await pool.fetch(chat(provider))
            provider.connections[0].cut()
            await asyncio.sleep(0.02)
            assert (await pool.fetch(chat(provider))).status == 200
            assert (provider.accepted, only(pool).failed) == (2, 0)


async def test_silent_connections_are_pinged_and_kept() -> None:
    options = PoolOptions(ping_every=0.05, ping_within=1.0)
    async with connected("h2", options) as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_before_head=0.6))
        assert (await pool.fetch(chat(provider))).status == 200
        assert lane(provider).pings >= 1
        assert only(pool).pings_sent >= lane(provider).pings
        assert provider.accepted == 1


async def test_a_peer_that_does_not_answer_a_ping_is_gone() -> None:
    options = PoolOptions(ping_every=0.05, ping_within=0.05)
    async with connected("h2", options, Behaviour(answers_pings=False)) as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_before_head=FOREVER))
        with pytest.raises(ConnectionLost, match="did not answer a PING"):
            await pool.fetch(chat(provider))
        assert (await pool.fetch(chat(provider))).status == 200


async def test_the_servers_pings_are_answered() -> None:
    async with connected("h2") as (pool, provider):
        await pool.fetch(chat(provider))
        server = lane(provider)
        server.ping()
        await provider.until(lambda _: server.ping_acks == 1)


@pytest.mark.parametrize("speaks", ["h2", "http/1.1"])
async def test_idle_connections_are_closed(speaks: str) -> None:
    async with connected(speaks, PoolOptions(idle_after=0.1)) as (pool, provider):  # type: ignore[arg-type]
        await pool.fetch(chat(provider))
        await provider.until(lambda provider: not provider.connections)
        assert (only(pool).connections, only(pool).retired, only(pool).lost) == (0, 1, 0)
        assert (await pool.fetch(chat(provider))).status == 200


async def test_old_connections_take_no_new_calls_and_end_with_their_last() -> None:
    async with connected("h2", PoolOptions(retire_after=0.3)) as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_after=1, stall_for=1.0))
        first = asyncio.create_task(pool.fetch(streamed(provider)))
        await provider.until(lambda provider: bool(provider.seen) and only(pool).retired == 1)
        await pool.fetch(chat(provider))
        assert provider.accepted == 2
        assert (await first).status == 200
        await provider.until(lambda provider: len(provider.connections) <= 1)


# What is shown of it


async def test_a_trace_tells_the_story_without_secrets() -> None:
    story: list[tuple[str, str]] = []
    async with serve("h2") as provider:
        options = options_for(provider)
        async with Pool(options, trace=lambda name, info: story.append((name, repr(dict(info))))) as pool:
            await pool.fetch(chat(provider))
            provider.next(Turn(), fault=Fault(stall_after=0))
            async with pool.request(chat(provider)):
                pass
    assert [name for name, _ in story] == [
        "request.queued",
        "connection.open",
        "connection.opened",
        "request.sent",
        "response.head",
        "response.complete",
        "request.sent",
        "response.head",
        "request.cancelled",
        "connection.closed",
    ]
    assert "secret-key" not in repr(story)


async def test_a_hook_that_raises_harms_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def broken(name: str, info: object) -> None:
        raise ValueError("mine")

    async with connected("h2") as (pool, provider):
        request = chat(provider)
        replies = await asyncio.gather(pool.fetch(request, trace=broken), pool.fetch(request))
        assert [reply.status for reply in replies] == [200, 200]
        assert only(pool).lost == 0
    assert "a trace hook raised at response.head" in caplog.text


async def test_a_retiring_connection_does_not_stand_in_the_way_of_a_new_one() -> None:
    async with connected("h2", PoolOptions(connections_per_origin=1)) as (pool, provider):
        provider.next(Turn(), fault=Fault(stall_before_head=0.3))
        first = asyncio.create_task(pool.fetch(chat(provider)))
        await provider.until(lambda provider: bool(provider.seen))
        lane(provider).goaway(1)
        await asyncio.sleep(0.02)
        assert (await pool.fetch(chat(provider))).status == 200
        assert not first.done()
        assert (await first).status == 200
