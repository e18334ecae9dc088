"""HTTP/1.1 from servers that are odd, wrong or gone: a byte-level script for each connection."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.connection.streams import listening
from tests.support.http2.raw import QUICK
from transports.http2 import (
    ConnectionLost,
    InvalidRequest,
    LimitExceeded,
    Limits,
    PeerMisbehaved,
    Pool,
    PoolOptions,
    Reply,
    Request,
    TimedOut,
    Timeouts,
)

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def answering(*answers: bytes, close: bool = False) -> AsyncIterator[tuple[Pool, Request, list[bytes]]]:
    """Each request of a connection gets the next answer; after the last (or after each) the connection is closed."""
    left, heads = list(answers), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(left.pop(0))
            await writer.drain()
            if close:
                break
        else:
            await reader.read()

    async with listening(serve) as port:
        async with Pool(PoolOptions(trust_env=False, limits=Limits(header_bytes=4_096))) as pool:
            yield pool, Request.to("GET", f"http://127.0.0.1:{port}/"), heads


async def fetch(*answers: bytes, close: bool = False) -> Reply:
    async with answering(*answers, close=close) as (pool, request, _):
        return await pool.fetch(request, timeouts=QUICK)


WRONG = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
    "a status that is none": b"HTTP/1.1 banana OK\r\n\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nbanana\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
    "a length of many digits": b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 3_500 + b"\r\n\r\n",
    "a long line without a colon": b"HTTP/1.1 200 OK\r\n" + b"banana" * 500 + b"\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    "a chunk of no size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "an unknown transfer encoding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_not_http(what: str) -> None:
    with pytest.raises(PeerMisbehaved, match=r"broke HTTP/1\.1") as caught:
        await fetch(WRONG[what])
    assert len(str(caught.value)) < 500, "and the error quotes little of it"


async def test_a_head_beyond_the_limit() -> None:
    with pytest.raises(LimitExceeded, match="head of the response"):
        await fetch(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nconte",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nxx\r\n",
    ],
)
async def test_a_connection_that_ends_in_the_middle(answer: bytes) -> None:
    with pytest.raises(ConnectionLost):
        await fetch(answer, close=True)


async def test_bodies_of_each_kind() -> None:
    assert (await fetch(OK)).content == b"ok"
    assert (await fetch(b"HTTP/1.1 204 No Content\r\n\r\n")).content == b""
    chunked = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;ext=1\r\nab\r\n1\r\nc\r\n0\r\nx-trailer: 1\r\n\r\n"
    )
    reply = await fetch(chunked)
    assert (reply.content, reply.trailers) == (b"abc", [(b"x-trailer", b"1")])
    until_close = await fetch(b"HTTP/1.0 200 OK\r\n\r\nto the end", close=True)
    assert (until_close.content, until_close.http_version) == (b"to the end", "HTTP/1.0")
    assert (
        await fetch(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK)
    ).content == b"ok"
    duplicate = await fetch(b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\ncontent-length: 0\r\n\r\n")
    assert [value for name, value in duplicate.headers if name == b"set-cookie"] == [b"a", b"b"]


async def test_connections_are_kept_unless_the_server_says_close() -> None:
    bye = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"
    async with answering(OK, OK, bye, OK) as (pool, request, heads):
        for _ in range(4):
            assert (await pool.fetch(request, timeouts=QUICK)).content == b"ok"
        assert len(heads) == 4
        assert pool.statistics()[request.origin].opened == 2


async def test_a_length_beside_chunks_is_not_believed_and_the_connection_not_used_again() -> None:
    """The response has two ends: who added one of them may have added a second response too."""
    both = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with answering(both, OK) as (pool, request, _):
        for _ in range(2):
            assert (await pool.fetch(request, timeouts=QUICK)).content == b"ok"
        assert pool.statistics()[request.origin].opened == 2


async def test_a_server_that_closes_without_a_word_after_its_answer() -> None:
    """Its end of the connection is here before the next request leaves, and has not been read yet."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with listening(once) as port, Pool(PoolOptions(trust_env=False)) as pool:
        request = Request.to("POST", f"http://127.0.0.1:{port}/")
        for _ in range(10):
            assert (await pool.fetch(request, timeouts=QUICK)).content == b"ok"
            time.sleep(0.002)  # noqa: ASYNC251 - the loop must not read before the next call begins
        assert pool.statistics()[request.origin].opened == 10


async def test_bytes_that_nobody_asked_for_end_the_connection_and_harm_no_call() -> None:
    async with answering(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", OK) as (
        pool,
        request,
        _,
    ):
        assert (await pool.fetch(request, timeouts=QUICK)).content == b"ok"
        await asyncio.sleep(0.02)
        assert (await pool.fetch(request, timeouts=QUICK)).content == b"ok", "the next call does not get the poison"
        assert pool.statistics()[request.origin].opened == 2


async def test_a_body_longer_than_declared_is_cut_there() -> None:
    async with answering(OK + b"more", OK) as (pool, request, _):
        assert (await pool.fetch(request, timeouts=QUICK)).content == b"ok"
        assert (await pool.fetch(request, timeouts=QUICK)).content == b"ok"


async def test_a_unix_socket_and_a_local_address(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        peers.append(writer.get_extra_info("peername"))
        writer.write(OK)
        await reader.read()
        writer.close()

    heads: list[bytes] = []
    peers: list[object] = []
    async with listening(serve, tmp_path / "socket"):
        async with Pool(PoolOptions(unix_socket=str(tmp_path / "socket"))) as pool:
            assert (await pool.fetch(Request.to("GET", "http://model.local/x"), timeouts=QUICK)).content == b"ok"
    assert heads[0].startswith(b"GET /x HTTP/1.1\r\nhost: model.local\r\n")
    async with listening(serve) as port:
        url = f"http://127.0.0.1:{port}/"
        async with Pool(PoolOptions(trust_env=False, local_address="127.0.0.9")) as pool:
            await pool.fetch(Request.to("GET", url), timeouts=QUICK)
    peer = peers[1]
    assert isinstance(peer, tuple)
    assert peer[0] == "127.0.0.9"


async def test_a_body_that_contradicts_its_length_is_the_callers_error() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"more than two bytes"

    async with answering(OK) as (pool, request, _):
        wrong = Request(method=b"POST", origin=request.origin, headers=[(b"content-length", b"2")], body=parts())
        with pytest.raises(InvalidRequest, match="contradicts itself"):
            await pool.fetch(wrong, timeouts=QUICK)


async def test_a_server_that_takes_nothing_more_of_a_body() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)
        writer.close()

    async with listening(serve, limit=1_024) as port:
        url = f"http://127.0.0.1:{port}/"
        async with Pool(PoolOptions(trust_env=False)) as pool:
            with pytest.raises(TimedOut) as caught:
                await pool.fetch(Request.to("POST", url, (), b"x" * 50_000_000), timeouts=Timeouts(write=0.1))
    assert caught.value.phase == "write"
