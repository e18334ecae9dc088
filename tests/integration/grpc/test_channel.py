"""Our channel against servers on grpcio, of coroutines and of threads, each in a process of its own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.grpc.peer import Peer, running
from transports.grpc import (
    MOST_BYTES,
    ChannelOptions,
    GrpcChannel,
    GrpcError,
    GrpcStatus,
    GrpcStream,
    write_binary,
)
from transports.http2 import InvalidRequest, LimitExceeded, PoolOptions, TimedOut

T = "/t.Peer/"
BIG = 16 << 20


@pytest.fixture(scope="module", params=["aio", "threads"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    with running(request.param) as peer:
        yield peer


@pytest.fixture
async def channel(peer: Peer) -> AsyncIterator[GrpcChannel]:
    async with GrpcChannel(peer.url) as channel:
        yield channel


async def seen(channel: GrpcChannel, event: str, count: int = 1) -> None:
    """Waits until the server has seen it."""
    async with asyncio.timeout(10):
        while await counted(channel, event) < count:
            pass


async def counted(channel: GrpcChannel, event: str) -> int:
    return int(json.loads(await channel.unary(T + "Events", b"")).count(event))


async def read(call: GrpcStream, into: list[bytes]) -> None:
    async with call:
        async for message in call:
            into.append(message)  # noqa: PERF401  # an error follows those that came


async def test_one_message_for_one(channel: GrpcChannel) -> None:
    for message in (b"", b"hello", bytes(range(256)) * 100):
        assert await channel.unary(T + "Echo", message, within=10) == message


async def test_metadata_goes_both_ways(peer: Peer) -> None:
    options = ChannelOptions(metadata=((b"authorization", b"Bearer k"),))
    async with GrpcChannel(peer.url, options) as channel:
        more = ((b"x-plain", b"yes"), (b"x-key-bin", write_binary(b"\0\xff")))
        said = (await channel.unary(T + "Metadata", b"", metadata=more)).decode()
        for pair in ("('authorization', 'Bearer k')", "('x-plain', 'yes')", "('x-key-bin', b'\\x00\\xff')"):
            assert pair in said
        sent = channel.send(T + "Echo", b"x")
        await sent.reply()
        assert (b"trailing", b"1") in sent.trailers


async def test_a_deadline_is_told_to_the_server(channel: GrpcChannel) -> None:
    left = float(await channel.unary(T + "Left", b"", within=5))
    assert 3 < left <= 5.2


@pytest.mark.parametrize("status", [status for status in GrpcStatus if status])
async def test_each_status_comes_as_it_was_sent(channel: GrpcChannel, status: GrpcStatus) -> None:
    with pytest.raises(GrpcError) as caught:
        await channel.unary(T + "Fail", f"{status.name} gar nicht gut: 100 % ß".encode())
    assert (caught.value.status, caught.value.message) == (status, "gar nicht gut: 100 % ß")
    assert caught.value.details == b"\x08\x05"


async def test_a_method_that_is_not_there(channel: GrpcChannel) -> None:
    with pytest.raises(GrpcError) as caught:
        await channel.unary(T + "Nothing", b"")
    assert caught.value.status is GrpcStatus.UNIMPLEMENTED


async def test_a_stream_and_its_end(channel: GrpcChannel) -> None:
    async with channel.stream(T + "Count", b"1000") as call:
        assert [int(message) async for message in call] == list(range(1000))
    async with channel.stream(T + "Count", b"0") as call:
        assert await call.more() == []


async def test_messages_come_before_the_error_that_ends_the_stream(channel: GrpcChannel) -> None:
    came: list[bytes] = []
    with pytest.raises(GrpcError) as caught:
        await read(channel.stream(T + "Breaks", b""), came)
    assert came == [b"one", b"two"]
    assert (caught.value.status, caught.value.message) == (GrpcStatus.DATA_LOSS, "no more")


async def test_both_sides_talk_at_once(channel: GrpcChannel) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    heard.put_nowait(b"first")

    async def says() -> AsyncIterator[bytes]:
        while (message := await heard.get()) != b"":
            yield message

    async with channel.bidi(T + "Talk", says(), within=20) as call:
        assert await anext(call) == b"heard first"
        heard.put_nowait(b"second")  # it is sent only now that the first was answered
        assert await anext(call) == b"heard second"
        heard.put_nowait(b"")
        assert await call.more() == []


async def test_the_server_may_end_before_this_side_does(channel: GrpcChannel) -> None:
    async def says() -> AsyncIterator[bytes]:
        yield b"enough"
        await asyncio.Event().wait()

    async with channel.bidi(T + "Talk", says(), within=20) as call:
        assert [message async for message in call] == [b"heard enough"]


async def test_a_deadline_ends_the_call_here_and_there(channel: GrpcChannel) -> None:
    before = await counted(channel, "slow ended")
    began = time.monotonic()
    with pytest.raises((TimedOut, GrpcError)) as caught:
        await channel.unary(T + "Slow", b"", within=0.3)
    assert 0.25 < time.monotonic() - began < 5
    if isinstance(caught.value, GrpcError):
        assert caught.value.status is GrpcStatus.DEADLINE_EXCEEDED
    await seen(channel, "slow ended", before + 1)


async def test_a_deadline_ends_a_stream_that_goes_on(channel: GrpcChannel) -> None:
    before = await counted(channel, "endless ended")
    with pytest.raises((TimedOut, GrpcError)):
        await read(channel.stream(T + "Endless", b"x", within=0.3), [])
    await seen(channel, "endless ended", before + 1)


async def test_a_cancelled_call_is_cancelled_at_the_server(channel: GrpcChannel) -> None:
    began, ended = await counted(channel, "slow began"), await counted(channel, "slow ended")
    task = asyncio.create_task(channel.unary(T + "Slow", b""))
    await seen(channel, "slow began", began + 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await seen(channel, "slow ended", ended + 1)


async def test_leaving_a_stream_cancels_it_at_the_server(channel: GrpcChannel) -> None:
    before = await counted(channel, "endless ended")
    async with channel.stream(T + "Endless", b"x") as call:
        await anext(call)
    await seen(channel, "endless ended", before + 1)


async def test_packed_replies_and_packed_requests(peer: Peer, channel: GrpcChannel) -> None:
    message = b"again and again " * 5_000
    assert await channel.unary(T + "Packed", message) == message
    async with GrpcChannel(peer.url, ChannelOptions(compress=True)) as packing:
        sent = packing.send(T + "Packed", message)
        assert await sent.reply() == message
        assert await packing.unary(T + "Echo", b"short") == b"short"


async def test_big_messages_and_those_above_the_limit(peer: Peer, channel: GrpcChannel) -> None:
    big = bytes(MOST_BYTES - 5)
    assert await channel.unary(T + "Echo", big, within=30) == big
    with pytest.raises(LimitExceeded):
        await channel.unary(T + "Echo", bytes(MOST_BYTES + 1), within=30)
    with pytest.raises(LimitExceeded):
        await channel.unary(T + "Packed", bytes(MOST_BYTES + 1), within=30)  # small on the way, and long here
    with pytest.raises(LimitExceeded):
        async with channel.stream(T + "Endless", bytes(MOST_BYTES + 1), within=30) as call:
            await call.more()
    with pytest.raises(GrpcError) as caught:  # more than the server takes
        async with GrpcChannel(peer.url, ChannelOptions(most_bytes=4 * BIG)) as patient:
            await patient.unary(T + "Echo", bytes(BIG + 1), within=30)
    assert caught.value.status is GrpcStatus.RESOURCE_EXHAUSTED
    assert await channel.unary(T + "Echo", b"well", within=10) == b"well"


async def test_many_at_once_on_one_connection(channel: GrpcChannel) -> None:
    async def ask(number: int) -> bytes:
        return await channel.unary(T + "Echo", str(number).encode(), within=60)

    answers = await asyncio.gather(*map(ask, range(500)))
    assert answers == [str(number).encode() for number in range(500)]


async def test_a_slow_reader_of_a_long_stream_loses_nothing(channel: GrpcChannel) -> None:
    count, last = 0, -1
    async with channel.stream(T + "Count", b"20000", within=60) as call:
        async for message in call:
            assert int(message) == last + 1
            last, count = last + 1, count + 1
            if not count % 5_000:
                await asyncio.sleep(0.05)
    assert count == 20_000


async def test_another_machine_is_not_called_in_the_clear() -> None:
    with pytest.raises(InvalidRequest, match="grpcs://"):
        GrpcChannel("grpc://192.0.2.1:50051")
    GrpcChannel("grpc://192.0.2.1:50051", ChannelOptions(insecure=True))
    GrpcChannel("grpcs://192.0.2.1", ChannelOptions(pool=PoolOptions()))
