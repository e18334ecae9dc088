"""Real servers as peers: three implementations of HTTP/2 that share no code with each other, and one none with ours."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.http2.peers import Peer, nghttpd, running
from transports.http2 import NDJSONDecoder, Pool, PoolOptions, Request, SSEDecoder, Timeouts

PATIENT = Timeouts(connect=20, first_byte=20, idle=20)
asgi = pytest.mark.parametrize("name", ["granian", "hypercorn"])
needs_nghttpd = pytest.mark.skipif(nghttpd() is None, reason="nghttpd is not installed (Debian: nghttp2-server)")


def pool_for(peer: Peer) -> Pool:
    return Pool(PoolOptions(ssl_context=peer.ssl_context(), trust_env=False))


@asgi
async def test_an_asgi_server(name: str, tmp_path: Path) -> None:
    async with running(name, tmp_path) as peer, pool_for(peer) as pool:
        echo = Request.to("POST", peer.url + "/echo", [(b"x-a", b"1")], b"y" * 300_000)
        replies = await asyncio.gather(*(pool.fetch(echo, timeouts=PATIENT) for _ in range(30)))
        assert {(reply.status, reply.http_version, len(reply.content)) for reply in replies} == {
            (200, "HTTP/2", 300_000)
        }

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"z" * 5_000

        reply = await pool.fetch(Request.to("POST", peer.url + "/echo", (), parts()), timeouts=PATIENT)
        assert reply.content == b"z" * 100_000

        decoder, events = SSEDecoder(), []
        async with pool.request(Request.to("GET", peer.url + "/events"), timeouts=PATIENT) as response:
            async for data in response.body:
                events += decoder.feed(data)
        assert [int(event.data) for event in events] == list(range(100))

        # Left early, many at once: the connection goes on.
        for _ in range(3):
            await asyncio.gather(*(leave(pool, peer) for _ in range(20)))
        assert (await pool.fetch(echo, timeouts=PATIENT)).status == 200
        (statistics,) = pool.statistics().values()
        assert (statistics.opened, statistics.cancelled, statistics.failed, statistics.lost) == (1, 60, 0, 0)

        # More calls than one connection takes.
        slow = Request.to("GET", peer.url + "/slow")
        replies = await asyncio.gather(*(pool.fetch(slow, timeouts=PATIENT) for _ in range(250)))
        assert {reply.status for reply in replies} == {200}
        assert pool.statistics()[slow.origin].opened <= 3


async def leave(pool: Pool, peer: Peer) -> None:
    async with pool.request(Request.to("POST", peer.url + "/endless", (), b"{}"), timeouts=PATIENT) as response:
        async for data in response.body:
            assert data.startswith(b"data: more")
            break


@needs_nghttpd
async def test_nghttpd(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"0123456789" * 200_000)
    (tmp_path / "lines").write_bytes(b'{"n":1}\n{"n":2}\n')
    async with running("nghttpd", tmp_path, "--max-concurrent-streams=10") as peer, pool_for(peer) as pool:
        large = Request.to("GET", peer.url + "/large")
        replies = await asyncio.gather(*(pool.fetch(large, timeouts=PATIENT) for _ in range(25)))
        assert {(reply.status, len(reply.content)) for reply in replies} == {(200, 2_000_000)}
        assert pool.statistics()[large.origin].opened == 3, "ten streams a connection"
        assert (await pool.fetch(Request.to("GET", peer.url + "/none"), timeouts=PATIENT)).status == 404
        reply = await pool.fetch(Request.to("GET", peer.url + "/lines"), timeouts=PATIENT)
        assert NDJSONDecoder().feed(reply.content) == [b'{"n":1}', b'{"n":2}']
        head = await pool.fetch(Request.to("HEAD", peer.url + "/large"), timeouts=PATIENT)
        assert (head.header(b"content-length"), head.content) == (b"2000000", b"")
        for _ in range(30):
            async with pool.request(large, timeouts=PATIENT) as response:
                async for _data in response.body:
                    break
        assert len((await pool.fetch(large, timeouts=PATIENT)).content) == 2_000_000
        assert pool.statistics()[large.origin].lost == 0


@needs_nghttpd
@pytest.mark.parametrize(
    "option", ["--no-tls", "--header-table-size=0", "--encoder-header-table-size=0", "--padding=200"]
)
async def test_nghttpd_in_its_varieties(option: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 1_000)
    async with running("nghttpd", tmp_path, option) as peer:
        plain = option == "--no-tls"
        options = PoolOptions(protocol="h2") if plain else PoolOptions(ssl_context=peer.ssl_context())
        url = Peer(peer.port, tls=not plain).url
        async with Pool(options) as pool:
            for number in range(20):
                request = Request.to("GET", url + "/file", [(b"x-n", b"%d" % (number // 5))])
                assert (await pool.fetch(request, timeouts=PATIENT)).content == b"abc" * 1_000


@needs_nghttpd
async def test_a_server_that_ends_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    async with running("nghttpd", tmp_path) as peer:
        pool = pool_for(peer)
        await pool.fetch(Request.to("GET", peer.url + "/file"), timeouts=PATIENT)
    async with pool:
        from transports.http2 import ConnectFailed

        with pytest.raises(ConnectFailed):
            await pool.fetch(Request.to("GET", peer.url + "/file"), timeouts=PATIENT)
