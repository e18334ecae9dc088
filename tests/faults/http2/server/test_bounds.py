"""What clients that do not read, do not finish or do not greet can make the server hold, and for how long."""

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import pytest
import trustme
import uvloop

from tests.support.agents.until import until
from tests.support.http2.asgi import Application
from tests.support.http2.raw import END_HEADERS, END_STREAM, HEADERS, PING, block, frame
from tests.support.http2.raw_client import GET, POST, RawClient, ask, raw_client
from transports.http2.server import Server, ServerOptions

LARGE = b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n"
PLAIN = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
HALF = b"POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf"


def get(stream: int, path: str = "/") -> bytes:
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block(*GET[:3], (":path", path)))


def post(stream: int, path: str = "/echo") -> bytes:
    return frame(HEADERS, END_HEADERS, stream, block(*POST[:3], (":path", path)))


def stop_reading(client: RawClient) -> None:
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]


async def sends(client: RawClient, data: bytes) -> None:
    """As much as the server takes."""
    with contextlib.suppress(ConnectionError):
        await client.send(data)


async def test_a_client_that_sends_ahead_and_does_not_read_gets_few_responses_made() -> None:
    application = Application()
    async with Server(application) as server, raw_client(server.port) as client:
        stop_reading(client)
        sending = asyncio.create_task(sends(client, LARGE * 500))
        await asyncio.sleep(0.5)
        assert len(application.scopes) < 10, "each response is 4 MB"
        sending.cancel()


async def test_a_client_that_sends_ahead_and_reads_late_gets_all() -> None:
    async with Server(Application()) as server, raw_client(server.port) as client:
        sending = asyncio.create_task(client.send(LARGE * 20 + PLAIN))
        await asyncio.sleep(0.2)
        answer = await client.rest()
        await sending
    assert answer.count(b"200 OK") == 21
    assert len(answer) > 20 * (4 << 20)


async def test_an_http2_client_that_does_not_read_gets_few_responses_made() -> None:
    """Of responses without a body, which no window holds back."""
    application = Application()
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    async with Server(application, ServerOptions(write_buffer=16_384)) as server:
        small.connect(("127.0.0.1", server.port))
        reader, writer = await asyncio.open_connection(sock=small)
        client = RawClient(reader, writer)
        await client.greet()
        await until(lambda: len(server._connections) == 1)
        (connection,) = server._connections
        assert connection.transport is not None
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        stop_reading(client)
        head = block((":method", "HEAD"), *GET[1:])
        flood = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, n, head) for n in range(1, 100_000, 2))
        sending = asyncio.create_task(sends(client, flood))
        await until(lambda: not connection.reading)
        await asyncio.sleep(0.2)
        assert len(application.scopes) < 10_000
        assert connection.transport.get_write_buffer_size() < 1_000_000
        sending.cancel()
        writer.close()


async def test_a_client_that_reads_slowly_is_not_cut_off_while_it_reads() -> None:
    async with Server(Application(), ServerOptions(write_within=0.4)) as server, raw_client(server.port) as client:
        await client.send(LARGE[:-2] + b"connection: close\r\n\r\n")
        size = 0
        while piece := await client.reader.read(250_000):
            size += len(piece)
            await asyncio.sleep(0.06)
        assert size > 4 << 20


async def test_the_oldest_of_too_many_requests_that_are_not_whole_is_given_up() -> None:
    application = Application()
    async with Server(application, ServerOptions(incomplete=10)) as server:
        async with raw_client(server.port) as one, raw_client(server.port) as two, raw_client(server.port) as whole:
            await whole.greet()
            await whole.send(get(1, "/held"))
            await until(lambda: application.running == 1)
            await one.send(HALF)
            await two.greet()
            await until(lambda: application.running == 2)
            await two.send(b"".join(post(n) for n in range(1, 41, 2)))
            assert b" 408 " in await one.rest()
            for stream in (1, 3, 5):
                assert (await two.response(stream))[0] == 408
            await until(lambda: application.running == 11)
            assert (await ask(server.port, PLAIN)).endswith(b"hello")
            application.release.set()
            assert await whole.response(1) == (200, b"hello")


async def test_a_client_that_waits_for_a_word_is_not_timed_out_for_an_application_that_is_late() -> None:
    application = Application()
    async with Server(application, ServerOptions(body_grace=0.3)) as server:
        async with raw_client(server.port) as old, raw_client(server.port) as new:
            await old.send(
                b"POST /late HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
                b"connection: close\r\ncontent-length: 3\r\n\r\n"
            )
            await new.greet()
            head = block(*POST[:3], (":path", "/late"), ("expect", "100-continue"), ("content-length", "3"))
            await new.send(frame(HEADERS, END_HEADERS, 1, head))
            await until(lambda: application.running == 2)
            await asyncio.sleep(0.8)
            application.release.set()
            assert await old.reader.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert (await new.until(HEADERS)).stream == 1
            await old.send(b"abc")
            await new.send(frame(0, END_STREAM, 1, b"abc"))
            assert (await old.rest()).endswith(b"hello")
            assert await new.response(1) == (200, b"hello")


async def test_a_websocket_that_pings_and_does_not_read_is_not_answered_without_end() -> None:
    async with Server(Application(), ServerOptions(write_buffer=16_384)) as server, raw_client(server.port) as client:
        await client.send(
            b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await client.reader.readuntil(b"\r\n\r\n")
        stop_reading(client)
        sending = asyncio.create_task(sends(client, (b"\x89\xfd\0\0\0\0" + b"x" * 125) * 200_000))
        await asyncio.sleep(0.5)
        (connection,) = server._connections
        assert connection.transport is not None
        assert connection.transport.get_write_buffer_size() < 1_000_000
        assert not sending.done()
        sending.cancel()


def certificate(folder: Path) -> ssl.SSLContext:
    issued = trustme.CA().issue_cert("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    return context


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_handshakes_that_do_not_come_are_timed_out_and_keep_nobody_out(tmp_path: Path, loop: str) -> None:
    options = ServerOptions(ssl_context=certificate(tmp_path), connections=10, head_within=1.0)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE

    async def scenario() -> None:
        async with Server(Application(), options) as server:
            silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(40)]
            for _, writer in silent[::2]:
                writer.write(b"\x16\x03\x01\x02\x00\x01")
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting)
            writer.write(PLAIN)
            async with asyncio.timeout(10):
                assert (await reader.read()).endswith(b"hello")
                for one, _ in silent:
                    with contextlib.suppress(ConnectionError):
                        while await one.read(1000):
                            pass
            await until(lambda: not server._opening)
            for _, one_writer in [*silent, (reader, writer)]:
                one_writer.close()

    await (asyncio.to_thread(uvloop.run, scenario()) if loop == "uvloop" else scenario())


async def test_pings_within_the_limit_are_answered_without_end() -> None:
    async with Server(Application(), ServerOptions(control_frames_per_second=50)) as server:
        async with raw_client(server.port) as client:
            await client.greet()
            for _ in range(5):
                for number in range(20):
                    await client.send(frame(PING, 0, 0, b"%8d" % number))
                    assert (await client.until(PING)).payload == b"%8d" % number
                await asyncio.sleep(0.5)
