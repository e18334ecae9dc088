"""Responses of HTTP/1.1 byte for byte, and proxies: the libraries' own transports and ours show users the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.connection.streams import listening
from tests.support.http2.servers import CHAT, serve
from tests.support.http2.side_by_side import WAYS, Side, Way, outcome, seen
from tests.support.http2.tunnel_proxy import TunnelProxy
from three_mode.testing import Answer

HTTP1 = [way for way in WAYS if not way.http2]
each_library = pytest.mark.parametrize("way", HTTP1, ids=str)
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"

ANSWERS: dict[str, bytes] = {
    "a reason of the server's own": b"HTTP/1.1 200 Quite Fine\r\ncontent-length: 2\r\n\r\nok",
    "a reason beyond ASCII": b"HTTP/1.1 200 Gr\xfc\xdfe\r\ncontent-length: 2\r\n\r\nok",
    "no reason": b"HTTP/1.1 404 \r\ncontent-length: 2\r\n\r\nok",
    "no reason and no space": b"HTTP/1.1 404\r\ncontent-length: 2\r\n\r\nok",
    "an unknown status": b"HTTP/1.1 799 Odd\r\ncontent-length: 2\r\n\r\nok",
    "informational heads": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    + HEAD
    + b"content-length: 2\r\n\r\nok",
    "switching protocols, which nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "HTTP/1.0 until the end": b"HTTP/1.0 200 OK\r\n\r\nto the end",
    "HTTP/1.1 until the end": HEAD + b"\r\nto the end",
    "connection: close": HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\nok",
    "keep-alive": HEAD + b"connection: keep-alive\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\nok",
    "chunks": CHUNKED + b"2\r\nab\r\n0A\r\n0123456789\r\n0\r\n\r\n",
    "chunks with extensions": CHUNKED + b'2;a=1;b="x;y"\r\nab\r\n0\r\n\r\n',
    "chunks with trailers": CHUNKED + b"2\r\nab\r\n0\r\nx-trailer: 1\r\n\r\n",
    "chunks in capitals": HEAD + b"Transfer-Encoding: CHUNKED\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "a chunk size with leading zeros": CHUNKED + b"00000002\r\nab\r\n0\r\n\r\n",
    "a chunk size of too many digits": CHUNKED + b"0" * 40 + b"2\r\nab\r\n0\r\n\r\n",
    "an absurd chunk size": CHUNKED + b"fffffffffffffffffff\r\nab",
    "a negative chunk size": CHUNKED + b"-2\r\nab\r\n0\r\n\r\n",
    "a chunk size in hexadecimal notation": CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n",
    "no chunk size": CHUNKED + b"\r\nab\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
    "a chunk extension without end": CHUNKED + b"2;" + b"x" * 200_000,
    "chunks that break off": CHUNKED + b"2\r\nab\r\n",
    "two equal lengths": HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "two equal lengths in a list": HEAD + b"content-length: 2, 2\r\n\r\nok",
    "two lengths": HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "a length and chunks": HEAD + b"content-length: 7\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "a length that is none": HEAD + b"content-length: two\r\n\r\nok",
    "a negative length": HEAD + b"content-length: -2\r\n\r\nok",
    "a length with a sign": HEAD + b"content-length: +2\r\n\r\nok",
    "an absurd length": HEAD + b"content-length: " + b"9" * 19 + b"\r\n\r\nok",
    "a length of five thousand digits": HEAD + b"content-length: " + b"9" * 5_000 + b"\r\n\r\nok",
    "a length that breaks off": HEAD + b"content-length: 5\r\n\r\nok",
    "no content and a length": b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
    "not modified and a length": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    "an encoding of the transfer that is unknown": HEAD + b"transfer-encoding: gzip\r\n\r\nx",
    "line ends without CR": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "a folded header": HEAD + b"x-folded: one\r\n two\r\ncontent-length: 2\r\n\r\nok",
    "space around a value": HEAD + b"x-spaced: \t value \t\r\ncontent-length:2\r\n\r\nok",
    "a space before the colon": HEAD + b"x-spaced : value\r\ncontent-length: 2\r\n\r\nok",
    "a header without a colon": HEAD + b"banana\r\n\r\n",
    "a header without a name": HEAD + b": banana\r\n\r\n",
    "a zero byte in a value": HEAD + b"x: a\0b\r\ncontent-length: 2\r\n\r\nok",
    "names in capitals": HEAD + b"X-CAPITAL: 1\r\nCONTENT-LENGTH: 2\r\n\r\nok",
    "four thousand headers": HEAD + b"a: b\r\n" * 4_000 + b"content-length: 2\r\n\r\nok",
    "a head without end": HEAD + b"x: " + b"y" * 200_000,
    "empty lines first": b"\r\n\r\n" + HEAD + b"content-length: 2\r\n\r\nok",
    "HTTP/2": b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x80",
    "HTTP/3.0": b"HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "another protocol": b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
    "a status that is none": b"HTTP/1.1 banana OK\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nconte",
}


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """The URL of a server that gives that answer to each request, and then ends the connection."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with listening(serve_one) as port:
        yield f"http://127.0.0.1:{port}"


@each_library
@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_looks_the_same_through_both(what: str, way: Way) -> None:
    async def get(side: Side) -> Any:
        return [await side.get("/x"), await side.get("/y")]

    async with answering(ANSWERS[what]) as url:
        theirs = await outcome(get, way, way.its_transport(), url)
        ours = await outcome(get, way, way.our_transport(), url)
    assert ours == theirs


@each_library
async def test_a_redirected_get_has_no_body_and_says_nothing_of_one(way: Way) -> None:
    heads: list[bytes] = []

    async def redirecting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (b"302 Found\r\nlocation: /there", b"200 OK"):
            heads.append((await reader.readuntil(b"\r\n\r\n")).lower())
            writer.write(b"HTTP/1.1 " + answer + b"\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    async with (
        listening(redirecting) as port,
        way.library.AsyncClient(transport=way.our_transport(), follow_redirects=True) as client,
    ):
        response = await client.get(f"http://127.0.0.1:{port}/")
    assert [past.status_code for past in response.history] == [302]
    assert heads[1].startswith(b"get /there ")
    for head in heads:
        assert b"transfer-encoding" not in head
        assert b"content-length" not in head


@each_library
@pytest.mark.parametrize("speaks", ["http/1.1", "https/1.1", "h2"])
async def test_through_a_proxy(way: Way, speaks: Any) -> None:
    """CONNECT for https, the whole URL for http, and the user's name for the proxy in both."""

    async def post(side: Side) -> Any:
        return [await side.post(CHAT, content=b"x" * size) for size in (5, 200_000)]

    way = Way(way.library, way.ours, http2=speaks == "h2")
    async with serve(speaks) as provider, listening((tunnel := TunnelProxy()).serve) as port:
        provider.always(Answer(pieces=(b"through",)))
        proxy = f"http://me:secret@127.0.0.1:{port}"  # pragma: allowlist secret
        ours = await outcome(post, way, way.our_transport(proxy=proxy), provider.url)
        theirs = await outcome(post, way, way.its_transport(proxy=proxy), provider.url)
        assert ours == theirs
        assert ours[0][0]["content"] == b"through"
        lines = [head.split(b"\r\n")[0] for head in tunnel.seen]
        assert len(set(lines)) == 1
        assert lines[0].startswith(b"POST http://localhost" if speaks == "http/1.1" else b"CONNECT localhost:")
        for head in tunnel.seen:
            assert b"proxy-authorization: basic " in head.lower()
        bodies = [len(request.body) for request in provider.seen]
        assert bodies == [5, 200_000, 5, 200_000]


@each_library
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 Who are you\r\n\r\n", b"HTTP/1.1 502 Bad\r\n\r\n", b"banana\r\n\r\n"]
)
async def test_a_proxy_that_refuses(way: Way, answer: bytes) -> None:
    async def get(side: Side) -> Any:
        with pytest.raises(side.library.TransportError):
            seen(await side.client.get("https://localhost:1/"))
        return True

    async with listening(TunnelProxy(answer=answer).serve) as port:
        proxy = f"http://127.0.0.1:{port}"
        for transport in (way.our_transport(proxy=proxy), way.its_transport(proxy=proxy)):
            assert (await outcome(get, way, transport, ""))[0]


@each_library
async def test_a_proxy_where_nobody_listens(way: Way) -> None:
    async def get(side: Side) -> Any:
        return await side.get("/")

    async with listening(TunnelProxy().serve) as port:
        pass
    proxy = f"http://127.0.0.1:{port}"
    ours = await outcome(get, way, way.our_transport(proxy=proxy), "http://localhost:1")
    assert ours == await outcome(get, way, way.its_transport(proxy=proxy), "http://localhost:1")
    assert ours[0][1] == "ConnectError"


@each_library
async def test_a_client_of_threads_says_which_client_to_take(way: Way) -> None:
    with pytest.raises(TypeError, match=rf"{way.ours.__name__} is asynchronous: .*{way.library.__name__}\.AsyncClient"):
        way.library.Client(transport=way.our_transport()).get("http://127.0.0.1:1/")
    with pytest.raises(TypeError, match="is asynchronous"):
        with way.library.Client(transport=way.our_transport()):
            pass
