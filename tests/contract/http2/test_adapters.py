"""The pool behind httpx and behind httpx2: the same requests, the same bodies, the library's own exceptions."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import pytest

from tests.support.http2.servers import CERTIFICATES, CHAT, serve
from three_mode.testing import FOREVER, Answer, Behaviour, Fault, ScriptedProvider, Turn
from transports.http2 import HTTP2Transport, HTTPX2Transport, PoolOptions

LIBRARIES = [(httpx, HTTP2Transport), (httpx2, HTTPX2Transport)]
both = pytest.mark.parametrize(("library", "transport"), LIBRARIES, ids=["httpx", "httpx2"])
BODY = {"model": "m", "messages": []}


def client_for(library: Any, transport: Any, provider: ScriptedProvider, **options: Any) -> Any:
    verify = CERTIFICATES.client_context()
    carrier = transport(PoolOptions(**options), verify=verify, trust_env=False)
    return library.AsyncClient(transport=carrier, base_url=provider.url, timeout=5)


@both
async def test_a_request_and_its_response(library: Any, transport: Any) -> None:
    async with serve("h2") as provider, client_for(library, transport, provider) as client:
        response = await client.post(CHAT, json=BODY, params={"a": "1 2"}, headers={"X-Mixed-Case": "y"})
        assert response.status_code == 200
        assert response.http_version == "HTTP/2"
        assert response.json()["choices"][0]["message"]["content"] == "Hello world!"
        seen = provider.seen[0]
        assert seen.path == CHAT + "?a=1%202" or seen.path == CHAT + "?a=1+2"
        assert seen.headers["x-mixed-case"] == "y"
        assert seen.headers[":authority"] == f"localhost:{provider.port}"
        assert seen.headers["content-length"] == str(len(seen.body))
        assert "host" not in seen.headers


@both
async def test_http_1_1_where_alpn_says_so(library: Any, transport: Any) -> None:
    async with serve("https/1.1") as provider, client_for(library, transport, provider) as client:
        response = await client.post(CHAT, json=BODY)
        assert (response.status_code, response.http_version) == (200, "HTTP/1.1")


@both
async def test_bodies_stream_both_ways(library: Any, transport: Any) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b'{"stream":true,"pad":"'
        yield b"x" * 200_000
        yield b'"}'

    async with serve("h2") as provider, client_for(library, transport, provider) as client:
        async with client.stream("POST", CHAT, content=parts()) as response:
            lines = [line async for line in response.aiter_lines()]
        assert lines[-2] == "data: [DONE]"
        assert len(provider.seen[0].json["pad"]) == 200_000


@both
async def test_compressed_bodies_and_redirects_are_the_librarys(library: Any, transport: Any) -> None:
    import gzip

    async with serve("h2") as provider, client_for(library, transport, provider) as client:
        provider.next(Answer(status=307, headers=((b"location", b"/elsewhere"),), pieces=()))
        provider.next(Answer(headers=((b"content-encoding", b"gzip"),), pieces=(gzip.compress(b"unpacked"),)))
        response = await client.post(CHAT, json=BODY, follow_redirects=True)
        assert response.text == "unpacked"
        assert [seen.path for seen in provider.seen] == [CHAT, "/elsewhere"]


@both
async def test_leaving_a_stream_sends_rst_stream(library: Any, transport: Any) -> None:
    async with serve("h2") as provider, client_for(library, transport, provider) as client:
        provider.next(Turn(), fault=Fault(stall_after=1))
        async with client.stream("POST", CHAT, json=BODY | {"stream": True}) as response:
            async for _ in response.aiter_bytes():
                break
        await provider.until(lambda provider: bool(provider.cancelled_requests))
        assert provider.seen[0].reset_code == 0x8
        assert (await client.post(CHAT, json=BODY)).status_code == 200
        assert provider.accepted == 1


@both
async def test_every_failure_is_one_of_the_librarys(library: Any, transport: Any) -> None:
    stall = Fault(stall_before_head=FOREVER)
    async with serve("h2") as provider, client_for(library, transport, provider) as client:
        cases: list[tuple[Fault, dict[str, Any], str]] = [
            (stall, {"timeout": library.Timeout(5, read=0.05)}, "ReadTimeout"),
            (Fault(cut_after=0), {}, "ReadError"),
            (Fault(reset_after=-1), {}, "RemoteProtocolError"),
        ]
        for fault, how, name in cases:
            provider.next(Turn(), fault=fault)
            with pytest.raises(getattr(library, name)) as caught:
                await client.post(CHAT, json=BODY, **how)
            assert type(caught.value).__name__ == name
            assert str(caught.value), "the message says what happened"
            assert caught.value.request.url.path == CHAT
        provider.next(Turn(), fault=Fault(stall_after=1))
        with pytest.raises(library.ReadTimeout):
            await client.post(CHAT, json=BODY | {"stream": True}, timeout=library.Timeout(5, read=0.05))
        with pytest.raises(library.LocalProtocolError):
            await client.post(CHAT, headers={"x": "a\nb"})
        with pytest.raises(library.UnsupportedProtocol):
            await client.post("ftp://localhost/")
        unused = provider.port
    async with client_for(library, transport, provider) as client:
        with pytest.raises(library.ConnectError, match="cannot connect"):
            await client.post(f"https://localhost:{unused}/")


@both
async def test_no_free_stream_and_no_more_of_the_body_taken(library: Any, transport: Any) -> None:
    async with (
        serve("h2") as provider,
        client_for(library, transport, provider, connections_per_origin=1, streams_per_connection=1) as client,
    ):
        provider.next(Turn(), fault=Fault(stall_before_head=FOREVER))
        first = asyncio.create_task(client.post(CHAT, json=BODY))
        await provider.until(lambda provider: bool(provider.seen))
        with pytest.raises(library.PoolTimeout):
            await client.post(CHAT, json=BODY, timeout=library.Timeout(5, pool=0.05))
        first.cancel()
    async with (
        serve("h2", Behaviour(reads=False)) as provider,
        client_for(library, transport, provider) as client,
    ):
        with pytest.raises(library.WriteTimeout):
            await client.post(CHAT, content=b"x" * 1_000_000, timeout=library.Timeout(5, write=0.05))


@both
async def test_an_untrusted_certificate(library: Any, transport: Any) -> None:
    async with serve("h2") as provider, library.AsyncClient(transport=transport(trust_env=False)) as client:
        with pytest.raises(library.ConnectError, match="TLS"):
            await client.get(provider.url)
    async with (
        serve("h2") as provider,
        library.AsyncClient(transport=transport(verify=False, trust_env=False)) as client,
    ):
        assert (await client.post(provider.url + CHAT, json=BODY)).status_code == 200


@both
async def test_a_hook_like_httpcores(library: Any, transport: Any) -> None:
    events: list[str] = []

    async def hook(name: str, info: Any) -> None:
        await asyncio.sleep(0)
        events.append(name)

    async with serve("h2") as provider, client_for(library, transport, provider) as client:
        await client.post(CHAT, json=BODY, extensions={"trace": hook})
    assert events == ["request.queued", "request.sent", "response.head", "response.complete"]


@both
async def test_a_closed_client(library: Any, transport: Any) -> None:
    carrier = transport(trust_env=False)
    await carrier.aclose()
    async with serve("h2") as provider:
        with pytest.raises(library.LocalProtocolError, match="closed"):
            await carrier.handle_async_request(library.Request("GET", provider.url))


def printed_by(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_the_core_needs_neither_library() -> None:
    loaded = "[m for m in ('httpx', 'httpx2', 'httpcore') if m in sys.modules]"
    assert printed_by(f"import sys, transports.http2; print({loaded})") == "[]"


def test_a_missing_httpx2_says_which_extra_to_install() -> None:
    code = """
import sys
sys.modules["httpx2"] = None
try:
    from transports.http2 import HTTPX2Transport
except ImportError as error:
    print(error)
"""
    assert printed_by(code) == "HTTPX2Transport needs httpx2: pip install 'three-mode[httpx2]'"


def test_without_an_asyncio_loop_the_error_says_so() -> None:
    async def outside() -> None:
        await HTTP2Transport(trust_env=False).handle_async_request(httpx.Request("GET", "http://localhost/"))

    with pytest.raises(httpx.LocalProtocolError, match="trio is not"):
        outside().send(None)
