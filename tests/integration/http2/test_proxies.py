"""HTTP proxies, as httpx users expect: CONNECT for https, whole URLs for http; named or from the environment."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.support.connection.streams import listening
from tests.support.http2.servers import chat, options_for, serve
from tests.support.http2.tunnel_proxy import TunnelProxy
from transports.http2 import ConnectFailed, Pool, PoolOptions, ProxyFailed, Request, TimedOut, Timeouts


@asynccontextmanager
async def proxy(answer: bytes | None = None) -> AsyncIterator[TunnelProxy]:
    tunnel = TunnelProxy()
    if answer is not None:
        tunnel.answer = answer
    async with listening(tunnel.serve) as tunnel.port:
        yield tunnel


@pytest.mark.parametrize("speaks", ["h2", "https/1.1"])
async def test_https_goes_through_a_tunnel(speaks: str) -> None:
    async with serve(speaks) as provider, proxy() as tunnel:  # type: ignore[arg-type]
        options = options_for(provider, PoolOptions(proxy=f"http://me:secret@127.0.0.1:{tunnel.port}"))
        async with Pool(options) as pool:
            replies = await asyncio.gather(*(pool.fetch(chat(provider)) for _ in range(5)))
            assert {reply.status for reply in replies} == {200}
            assert replies[0].http_version == ("HTTP/2" if speaks == "h2" else "HTTP/1.1")
        assert len(tunnel.seen) == provider.accepted
        head = tunnel.seen[0].lower()
        assert head.startswith(b"connect localhost:%d http/1.1\r\n" % provider.port)
        assert b"proxy-authorization: basic bwu6c2vjcmv0" in head
        assert b"secret-key" not in tunnel.seen[0], "the request's own headers go inside"


async def test_http_is_asked_for_by_its_whole_url() -> None:
    async with serve("http/1.1") as provider, proxy() as tunnel:
        options = options_for(provider, PoolOptions(proxy=f"http://127.0.0.1:{tunnel.port}"))
        async with Pool(options) as pool:
            assert (await pool.fetch(chat(provider))).status == 200
            assert (await pool.fetch(chat(provider))).status == 200
        assert len(tunnel.seen) == 1
        assert tunnel.seen[0].startswith(b"POST http://localhost:%d/v1/chat/completions HTTP/1.1" % provider.port)


async def test_the_environment_is_heeded_and_can_be_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve("h2") as provider, proxy() as tunnel:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnel.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        options = options_for(provider)
        async with Pool(replace(options, trust_env=True)) as pool:
            await pool.fetch(chat(provider))
        assert len(tunnel.seen) == 1
        async with Pool(options) as pool:
            await pool.fetch(chat(provider))
        monkeypatch.setenv("NO_PROXY", "localhost")
        async with Pool(replace(options, trust_env=True)) as pool:
            await pool.fetch(chat(provider))
        assert len(tunnel.seen) == 1


async def test_a_proxy_that_refuses() -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    async with serve("h2") as provider, proxy(refusal) as tunnel:
        options = options_for(provider, PoolOptions(proxy=f"http://me:secret@127.0.0.1:{tunnel.port}"))
        async with Pool(options) as pool:
            with pytest.raises(ProxyFailed, match="407 Proxy Authentication Required") as caught:
                await pool.fetch(chat(provider))
        assert caught.value.unprocessed
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("answer", [b"", b"220 mail.example.com ESMTP\r\n\r\n"])
async def test_a_proxy_that_is_none(answer: bytes) -> None:
    async with serve("h2") as provider, proxy(answer) as tunnel:
        options = options_for(provider, PoolOptions(proxy=f"http://127.0.0.1:{tunnel.port}"))
        async with Pool(options) as pool:
            with pytest.raises((ProxyFailed, TimedOut)):
                await pool.fetch(chat(provider), timeouts=Timeouts(connect=0.2))


async def test_a_proxy_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with Pool(PoolOptions(proxy=address)) as pool:
            with pytest.raises(ConnectFailed, match="through Proxy"):
                await pool.fetch(Request.to("GET", "https://localhost/"))


def test_a_kind_of_proxy_that_is_not_supported_is_refused_when_the_pool_is_made() -> None:
    with pytest.raises(ProxyFailed, match="not supported"):
        Pool(PoolOptions(proxy="socks5://127.0.0.1:1"))
