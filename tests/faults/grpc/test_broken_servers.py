"""Servers of gRPC that go: in good order, by kill -9, and cut at each byte. No call hangs, and none is told less than
what happened."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from tests.support.grpc.cutting import CuttingProxy, cutting
from tests.support.grpc.peer import Peer, running
from three_mode import LLMConnection, LLMRequest, errors
from transports.grpc import GrpcChannel, GrpcError
from transports.http2 import ConnectFailed, ConnectionLost, PeerMisbehaved, TransportError

T = "/t.Peer/"
MODELS = "tests.support.grpc.models"
WITHIN = 20.0


@pytest.fixture(params=["aio", "threads"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    with running(request.param) as peer:
        yield peer


@pytest.fixture(scope="module")
def echo() -> Iterator[Peer]:
    with running("aio") as peer:
        yield peer


@pytest.fixture(scope="module")
def models() -> Iterator[Peer]:
    with running("aio", MODELS) as peer:
        yield peer


async def test_a_server_that_goes_in_good_order_ends_what_runs(peer: Peer) -> None:
    """GOAWAY in the middle: the call that talks goes on to its end, and a new one finds nobody."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def says() -> AsyncIterator[bytes]:
        while True:
            yield await heard.get()

    async with GrpcChannel(peer.url) as channel, channel.bidi(T + "Talk", says(), within=WITHIN) as call:
        heard.put_nowait(b"one")
        assert await anext(call) == b"heard one"
        peer.stop()
        async with asyncio.timeout(WITHIN):
            while True:  # until GOAWAY is here: then no new call is taken; grpc.aio forgets one that comes just then
                try:
                    await channel.unary(T + "Echo", b"x", within=1.0)
                except (TransportError, GrpcError):
                    break
        heard.put_nowait(b"enough")
        assert [message async for message in call] == [b"heard enough"]


async def test_a_server_that_is_killed(peer: Peer) -> None:
    async with GrpcChannel(peer.url) as channel:
        stream = channel.stream(T + "Endless", b"x", within=WITHIN)
        slow = asyncio.create_task(channel.unary(T + "Slow", b"", within=WITHIN))
        assert await anext(stream) == b"x"
        peer.process.kill()
        with pytest.raises(ConnectionLost):
            await to_the_end(stream.more)
        with pytest.raises(ConnectionLost):
            await slow
        await asyncio.to_thread(peer.process.wait)
        with pytest.raises(ConnectFailed):
            await channel.unary(T + "Echo", b"x", within=WITHIN)


async def to_the_end(more: Callable[[], Awaitable[list[bytes]]]) -> None:
    while await more():
        pass


async def unary(proxy: CuttingProxy) -> list[bytes]:
    async with GrpcChannel(f"grpc://127.0.0.1:{proxy.port}") as channel:
        return [await channel.unary(T + "Echo", b"hello", within=WITHIN)]


async def streamed(proxy: CuttingProxy) -> list[bytes]:
    async with (
        GrpcChannel(f"grpc://127.0.0.1:{proxy.port}") as channel,
        channel.stream(T + "Count", b"3", within=WITHIN) as call,
    ):
        return [message async for message in call]


@pytest.mark.parametrize(("ask", "whole"), [(unary, [b"hello"]), (streamed, [b"0", b"1", b"2"])])
async def test_an_answer_cut_at_each_byte(
    ask: Callable[[CuttingProxy], Awaitable[list[bytes]]], whole: list[bytes], echo: Peer
) -> None:
    """It is whole, or an error: never less than what was sent."""
    async with cutting(echo.port) as proxy:
        assert await ask(proxy) == whole
        size = proxy.passed
        assert size > 100
        refused = 0
        for after in range(1, size):
            proxy.after = after
            try:
                answer = await ask(proxy)
            except (ConnectionLost, PeerMisbehaved, ConnectFailed):
                refused += 1
            else:
                assert answer == whole  # what came after it was a window or a PING
        assert refused > 60


async def test_an_answer_of_a_model_cut_at_many_bytes(models: Peer) -> None:
    """The same through a connection: an error of ours that may be tried again, or what came and that it broke off."""
    request = LLMRequest(model="words", messages=[{"role": "user", "content": "one two three"}])
    async with cutting(models.port) as proxy:

        async def text() -> str:
            url = f"grpc://127.0.0.1:{proxy.port}"
            async with LLMConnection(base_url=url, max_retries=0, timeout=WITHIN) as llm:
                return await llm.stream(request).text()

        assert await text() == "one two three "
        size = proxy.passed
        found: list[errors.ThreeModeError] = []
        for after in range(1, size, 3):
            proxy.after = after
            try:
                assert await text() == "one two three "
            except errors.ThreeModeError as error:
                found.append(error)
    broken = [error for error in found if isinstance(error, errors.StreamInterrupted)]
    refused = [error for error in found if isinstance(error, errors.ConnectionFailed | errors.BadReply)]
    assert len(broken) > 5
    assert len(refused) > 5
    assert len(broken) + len(refused) == len(found)
    assert all(error.retryable for error in refused)
    assert all("one two three ".startswith(error.partial.content) for error in broken if error.partial)


async def test_a_stream_that_breaks_off_keeps_what_came(models: Peer) -> None:
    async with LLMConnection(base_url=models.url, timeout=WITHIN) as llm:
        stream = llm.stream(LLMRequest(model="breaks", messages=[{"role": "user", "content": "one two three"}]))
        with pytest.raises(errors.StreamInterrupted, match="the model left"):
            await stream.text()
        assert stream.response().content == "one two "


async def garbage(answer: bytes) -> Exception:
    """The error of a call to a server that answers each connection with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with GrpcChannel(f"grpc://127.0.0.1:{port}") as channel:
            await channel.unary(T + "Echo", b"hello", within=WITHIN)
    except (TransportError, GrpcError) as error:
        return error
    finally:
        server.close()
    raise AssertionError("it was answered")


async def test_servers_that_speak_something_else() -> None:
    for answer in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"\xff" * 100):
        assert isinstance(await garbage(answer), ConnectionLost | PeerMisbehaved)
