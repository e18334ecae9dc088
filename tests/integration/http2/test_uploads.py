"""Uploads from an async iterator: pieces of any size arrive whole, and a slow server holds them back."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import pytest

from tests.support.connection.streams import listening
from tests.support.http2.servers import CERTIFICATES, CHAT, serve
from three_mode.testing import Answer
from three_mode.testing.provider import Speaks
from transports.http2 import HTTP2Transport, HTTPX2Transport, Pool, PoolOptions, Request, Timeouts

QUICK = Timeouts(connect=5, pool=5, write=3, first_byte=5, idle=5)
SIZES = [1, 65_535, 65_536, 65_537, 131_072, 200_000, 1_000_000, 5_000_000]
PROTOCOLS: list[Speaks] = ["http/1.1", "https/1.1", "h2", "h2c"]


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    """One piece of each size, no two alike."""
    for number, size in enumerate(sizes):
        yield bytes([number % 251]) * size


def options(speaks: Speaks) -> PoolOptions:
    tls = speaks in ("https/1.1", "h2")
    return PoolOptions(
        protocol="h2" if speaks in ("h2", "h2c") else "http/1.1",
        ssl_context=CERTIFICATES.client_context() if tls else None,
        trust_env=False,
    )


@pytest.mark.parametrize("speaks", PROTOCOLS)
@pytest.mark.parametrize("size", SIZES)
async def test_one_piece_of_any_size_arrives(speaks: Speaks, size: int) -> None:
    async with serve(speaks) as provider, Pool(options(speaks)) as pool:
        provider.always(Answer())
        reply = await pool.fetch(Request.to("POST", provider.url + CHAT, (), pieces(size)), timeouts=QUICK)
        assert reply.status == 200
        assert provider.seen[0].body == b"\0" * size


@pytest.mark.parametrize("speaks", PROTOCOLS)
async def test_pieces_large_and_small_arrive_in_order(speaks: Speaks) -> None:
    sizes = (0, 3, 70_000, 0, 1, 300_000, 65_536, 2)
    whole = b"".join([piece async for piece in pieces(*sizes)])
    async with serve(speaks) as provider, Pool(options(speaks)) as pool:
        provider.always(Answer())
        for _ in range(3):
            await pool.fetch(Request.to("POST", provider.url + CHAT, (), pieces(*sizes)), timeouts=QUICK)
        assert [seen.body == whole for seen in provider.seen] == [True] * 3
        assert provider.accepted == 1, "and the connection is good for the next call"


@pytest.mark.parametrize(("library", "transport"), [(httpx, HTTP2Transport), (httpx2, HTTPX2Transport)])
async def test_a_client_library_uploads_a_large_piece(library: Any, transport: Any) -> None:
    async with (
        serve("http/1.1") as provider,
        library.AsyncClient(transport=transport(trust_env=False), timeout=3) as client,
    ):
        provider.always(Answer())
        await client.post(provider.url + CHAT, content=pieces(1_000_000))
        assert len(provider.seen[0].body) == 1_000_000


async def test_a_server_that_reads_slowly_gets_all_of_it() -> None:
    """The socket fills, the upload waits, and goes on when the server reads: often, over one large piece."""
    size = 8_000_000
    read = hashlib.sha256()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        left = size
        while left:
            await asyncio.sleep(0.002)
            data = await reader.read(100_000)
            left -= len(data)
            read.update(data)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    async with listening(answer, limit=16_384) as port, Pool(PoolOptions(trust_env=False)) as pool:
        headers = [(b"content-length", b"%d" % size)]
        request = Request.to("PUT", f"http://127.0.0.1:{port}/", headers, pieces(size))
        assert (await pool.fetch(request, timeouts=QUICK)).status == 200
    assert read.digest() == hashlib.sha256(b"\0" * size).digest()
