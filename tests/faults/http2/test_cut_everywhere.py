"""The connection is cut after every single byte of a reply: always a clear error, never a hang or a wrong answer."""

import asyncio
from dataclasses import replace

import pytest

from tests.support.http2.servers import chat, connected, streamed
from three_mode.testing import Answer, Fault, ScriptedProvider, Turn
from three_mode.testing.provider import Speaks
from transports.http2 import ConnectionLost, Pool, Reply, Timeouts, TransportError

QUICK = Timeouts(connect=5, pool=5, write=5, first_byte=5, idle=5)
TURN = Turn(text=("日", "本"), input_tokens=1)


async def reply_or_error(pool: Pool, provider: ScriptedProvider, cut: int) -> Reply | TransportError:
    provider.next(TURN, fault=Fault(cut_after_bytes=cut))
    try:
        return await pool.fetch(streamed(provider), timeouts=QUICK)
    except TransportError as error:
        return error


@pytest.mark.parametrize("speaks", ["h2", "h2c", "http/1.1", "https/1.1"])
async def test_a_cut_after_every_byte(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.always(TURN)
        expected = await pool.fetch(streamed(provider))
        cut, outcomes = 1, []
        while not isinstance(outcome := await reply_or_error(pool, provider, cut), Reply):
            assert isinstance(outcome, ConnectionLost), outcome
            assert not outcome.unprocessed, "the server saw the request: nobody may send it again by itself"
            outcomes.append(outcome)
            cut += 1
            assert cut < 5_000
        assert outcome == expected
        # At the very least head and body were cut through; what is framing differs between the protocols.
        assert len(outcomes) > len(expected.content)
        assert len(provider.seen) == len(outcomes) + 2, "each request was sent exactly once"
        statistics = pool.statistics()[streamed(provider).origin]
        assert statistics.failed == len(outcomes)
        assert statistics.streams == statistics.waiting == 0


@pytest.mark.parametrize("speaks", ["h2", "http/1.1"])
async def test_a_body_without_length_that_is_cut_is_never_taken_for_complete(speaks: Speaks) -> None:
    body = b"0123456789" * 5
    async with connected(speaks) as (pool, provider):
        answer = Answer(pieces=tuple(body[i : i + 10] for i in range(0, 50, 10)), streamed=True)
        for cut in range(len(body) + 1):
            provider.next(answer, fault=Fault(cut_body_after_bytes=cut))
            with pytest.raises(ConnectionLost):
                await pool.fetch(chat(provider), timeouts=QUICK)
        provider.next(replace(answer, streamed=False), fault=Fault(cut_body_after_bytes=49))
        with pytest.raises(ConnectionLost):
            await pool.fetch(chat(provider), timeouts=QUICK)


@pytest.mark.parametrize("speaks", ["h2", "http/1.1"])
async def test_what_came_before_the_cut_is_still_given(speaks: Speaks) -> None:
    async with connected(speaks) as (pool, provider):
        provider.next(Answer(pieces=(b"one", b"two"), streamed=True), fault=Fault(cut_after=1))
        async with pool.request(chat(provider), timeouts=QUICK) as response:
            assert await anext(aiter(response.body)) == b"one"
            with pytest.raises(ConnectionLost):
                await response.read()


async def test_many_streams_on_one_connection_all_learn_of_its_end() -> None:
    async with connected("h2") as (pool, provider):
        provider.always(Turn(), fault=Fault(stall_after=1))
        tasks = [asyncio.create_task(pool.fetch(streamed(provider), timeouts=QUICK)) for _ in range(50)]
        await provider.until(lambda provider: len(provider.seen) == 50)
        provider.connections[0].cut()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ConnectionLost] * 50
        assert len({id(outcome) for outcome in outcomes}) == 50, "each has an error, and a traceback, of its own"
        provider.always(Turn())
        assert (await pool.fetch(chat(provider))).status == 200
