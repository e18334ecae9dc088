"""HTTP/1.1 clients that are slow, silent, wrong or hostile: each gets its status, and nobody else waits."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.agents.until import until
from tests.support.http2.asgi import Application
from tests.support.http2.raw_client import RawClient, ask, raw_client
from transports.http2.server import Server, ServerOptions

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\nhost: localhost\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
QUICK = ServerOptions(head_within=0.3, idle_after=0.3, body_grace=0.3, body_rate=100_000, write_within=0.5)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(Application(), ServerOptions()) as running:
        yield running


@pytest.fixture
async def quick() -> AsyncIterator[Server]:
    async with Server(Application(), QUICK) as running:
        yield running


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


REFUSED = {
    "two hosts": (400, GET + b"host: evil.example\r\n\r\n"),
    "two equal hosts": (400, GET + b"host: localhost\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "another host than the target's": (400, b"GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    "two lengths": (400, POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
    "two equal lengths": (400, POST + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc"),
    "a list of lengths": (400, POST + b"content-length: 3, 3\r\n\r\nabc"),
    "a signed length": (400, POST + b"content-length: +3\r\n\r\nabc"),
    "a length in other digits": (400, POST + b"content-length: \xb2\r\n\r\nab"),
    "a length beyond numbers": (400, POST + b"content-length: 99999999999999999999\r\n\r\n"),
    "length and chunked": (400, POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked and length": (400, POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"),
    "chunked twice": (400, POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "another coding": (501, POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked in HTTP/1.0": (400, b"POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a folded line": (400, GET + b"x: y\r\n z: 1\r\n\r\n"),
    "a folded first line": (400, b"GET / HTTP/1.1\r\n host: localhost\r\n\r\n"),
    "a bare LF": (400, b"GET / HTTP/1.1\r\nhost: localhost\nx: y\r\n\r\n"),
    "nothing but bare LFs": (400, b"GET / HTTP/1.1\nhost: localhost\n\n"),
    "a bare CR": (400, GET + b"x: y\rz\r\n\r\n"),
    "a zero byte": (400, GET + b"x: y\0z\r\n\r\n"),
    "a space before the colon": (400, GET + b"content-length : 3\r\n\r\nabc"),
    "a space in the name": (400, GET + b"con tent: 3\r\n\r\n"),
    "no name": (400, GET + b": 3\r\n\r\n"),
    "no colon": (400, GET + b"nothing\r\n\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    "a tab in the request line": (400, b"GET\t/ HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    "a target of words": (400, b"GET evil HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    "a tunnel": (400, b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    "no version": (400, b"GET /\r\nhost: localhost\r\n\r\n"),
    "another version": (505, b"GET / HTTP/3.0\r\nhost: localhost\r\n\r\n"),
    "another expectation": (417, POST + b"expect: a-miracle\r\ncontent-length: 3\r\n\r\n"),
    "TLS on a plain port": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\r\n\r\n"),
    "too many fields": (431, GET + b"x: y\r\n" * 300 + b"\r\n"),
    "too long": (431, GET + b"x: " + b"y" * 70_000 + b"\r\n\r\n"),
    "too long without an end": (431, GET + b"x: " + b"y" * 70_000),
    "a chunk's size with a sign": (400, CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n"),
    "a chunk's size with 0x": (400, CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a chunk's size beyond numbers": (400, CHUNKED + b"f" * 40 + b"\r\nabc"),
    "a chunk's size of 16 digits": (400, CHUNKED + b"ffffffffffffffff\r\nabc"),
    "a chunk's size of nothing": (400, CHUNKED + b"\r\nabc"),
    "a chunk's size and a bare LF": (400, CHUNKED + b"3\nabc\r\n0\r\n\r\n"),
    "a chunk longer than it says": (400, CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n"),
    "a chunk's extension without end": (400, CHUNKED + b"3;" + b"x" * 300),
    "a malformed trailer": (400, CHUNKED + b"0\r\nbad trailer\r\n\r\n"),
    "trailers without end": (400, CHUNKED + b"0\r\n" + b"x: y\r\n" * 3_000),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_two_readers_could_read_differently_is_refused(server: Server, name: str) -> None:
    """And the connection ends, so that what follows is nobody's request."""
    expected, data = REFUSED[name]
    answer = await ask(server.port, data + b"GET /second HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert status(answer) == expected, answer
    assert answer.count(b"\r\ndate: ") == 1, "one answer"
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    ("expected", "pieces"),
    [
        (200, [b"\r\n", GET + b"\r\n"]),
        (200, [b"\r", b"\n" + GET, b"\r\n"]),
        (400, [b"\r\n\r\n" + GET + b"\r\n"]),
        (400, [b"\r\n", b"\r\n", GET + b"\r\n"]),
        (400, [b"\r", b"\n\r\n", GET + b"\r\n"]),
    ],
)
async def test_one_empty_line_is_ignored_however_it_comes(server: Server, expected: int, pieces: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.02)
    assert status(await reader.readuntil(b"\r\n\r\n")) == expected
    writer.close()
    await writer.wait_closed()


async def test_extensions_of_chunks_have_a_bound_in_all(server: Server) -> None:
    answer = await ask(server.port, CHUNKED + (b"1;" + b"x" * 100 + b"\r\na\r\n") * 1_000)
    assert status(answer) == 400


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET, GET + b"x: "])
async def test_a_head_that_does_not_come_is_timed_out(quick: Server, sent: bytes) -> None:
    answer = await ask(quick.port, sent)
    assert status(answer) == (408 if sent else 0)


async def test_a_head_that_comes_a_byte_at_a_time_has_one_deadline(quick: Server) -> None:
    async with raw_client(quick.port) as client:
        asked = asyncio.create_task(client.rest())
        for byte in GET * 3:
            if asked.done():
                break
            client.writer.write(bytes((byte,)))
            await asyncio.sleep(0.02)
        assert status(await asked) == 408


async def test_a_connection_that_is_idle_between_requests_is_closed(quick: Server) -> None:
    answer = await ask(quick.port, GET + b"\r\n")
    assert answer.endswith(b"hello")


@pytest.mark.parametrize("head", [POST + b"content-length: 1000\r\n\r\n", CHUNKED + b"3e8\r\n"])
async def test_half_a_body_is_timed_out(quick: Server, head: bytes) -> None:
    assert status(await ask(quick.port, head + b"x" * 100)) == 408
    assert isinstance(quick.application, Application)
    await until(lambda: quick.application.running == 0)  # type: ignore[attr-defined]
    assert quick.application.gone == 1


async def test_a_body_that_is_too_slow_is_timed_out_and_one_that_is_not_is_read(quick: Server) -> None:
    async def drip(pause: float, piece: bytes) -> int:
        async with raw_client(quick.port) as client:
            await client.send(POST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % (20 * len(piece)))
            asked = asyncio.create_task(client.rest())
            for _ in range(20):
                if asked.done():
                    break
                client.writer.write(piece)
                await asyncio.sleep(pause)
            return status(await asked)

    assert await asyncio.gather(drip(0.05, b"x"), drip(0.05, b"x" * 20_000)) == [408, 200]


async def test_a_client_that_does_not_read_is_cut_off(quick: Server) -> None:
    async with raw_client(quick.port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n" * 8)
        await until(lambda: not quick._connections)


async def test_a_body_over_the_limit_is_refused_and_its_client_reads_why() -> None:
    async with Server(Application(), ServerOptions(body_bytes=1_000)) as server:
        for head, body in (
            (POST + b"content-length: 4000000\r\n\r\n", b"x" * 4_000_000),
            (CHUNKED, b"fffff\r\n" + b"x" * 0xFFFFF + b"\r\n"),
        ):
            assert status(await ask(server.port, head + body)) == 413


async def test_a_body_that_nobody_reads_is_thrown_away_within_a_limit() -> None:
    async with Server(Application(), ServerOptions(discard_bytes=1_000_000)) as server:
        head = b"POST /unread HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
        async with raw_client(server.port) as client:
            await client.send(head % 900_000 + b"x" * 900_000 + GET + b"connection: close\r\n\r\n")
            answer = await client.rest()
        assert answer.count(b"200 OK") == 2, "the connection goes on behind it"
        async with raw_client(server.port) as client:
            endless = asyncio.create_task(_send_without_end(client, head % (1 << 30)))
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(endless, 20)


async def _send_without_end(client: RawClient, head: bytes) -> None:
    await client.send(head)
    while True:
        await client.send(b"x" * 1_000_000)
        await asyncio.sleep(0.01)


async def test_requests_sent_ahead_wait_for_their_turn_within_a_bound(server: Server) -> None:
    application = server.application
    assert isinstance(application, Application)
    async with raw_client(server.port) as client:
        ahead = b"GET /held HTTP/1.1\r\nhost: localhost\r\n\r\n" + (GET + b"\r\n") * 5_000
        writing = asyncio.create_task(client.send(ahead + GET + b"connection: close\r\n\r\n"))
        await until(lambda: application.running == 1)
        await asyncio.sleep(0.1)
        (connection,) = server._connections
        assert len(connection._held) < 200_000  # type: ignore[attr-defined]
        application.release.set()
        answer = await client.rest()
        await writing
    assert answer.count(b"200 OK") == 5_002


async def test_more_connections_than_allowed_close_the_oldest_that_has_no_request() -> None:
    application = Application()
    async with Server(application, ServerOptions(connections=20)) as server:
        async with raw_client(server.port) as working:
            await working.send(b"GET /held HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            await until(lambda: application.running == 1)
            silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(60)]
            half = POST + b"content-length: 1000\r\n\r\nhalf"
            for _, writer in silent[:30]:
                writer.write(half)
            answer = await ask(server.port, GET + b"connection: close\r\n\r\n")
            assert answer.endswith(b"hello"), "silent sockets and half bodies keep nobody out"
            assert len(server._connections) <= 21
            application.release.set()
            assert (await working.rest()).endswith(b"hello"), "a request that is whole keeps its place"
        for _, writer in silent:
            writer.close()


async def test_a_response_with_a_line_end_in_a_header_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: object, receive: object, send: object) -> None:
        headers = [(b"x", b"y\r\nset-cookie: evil")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    async with Server(application, ServerOptions()) as server:  # type: ignore[arg-type]
        answer = await ask(server.port, GET + b"\r\n")
    assert b"evil" not in answer
    assert "the application failed" in caplog.text
