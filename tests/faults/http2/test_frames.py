"""Every type of frame at a wrong moment, and with wrong content: what h2spec does to servers, done to the client.

What ends the connection and what only the stream follows RFC 9113. In each case the caller gets an error that says what
happened, and the next call works, on a new connection where the old one ended.
"""

import asyncio
import struct

import pytest

from tests.support.http2.raw import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    OK,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    QUICK,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    RawServer,
    block,
    frame,
    raw,
)
from transports.http2 import LimitExceeded, Limits, PeerMisbehaved, PoolOptions, Request, StreamReset

PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, CANCEL, COMPRESSION_ERROR, CALM = (
    1,
    3,
    5,
    6,
    8,
    9,
    0xB,
)
HEAD = frame(HEADERS, END_HEADERS, 1, OK)
U32 = struct.Struct(">I").pack

# What the server sends after it has read the whole request on stream 1.
ENDS_THE_CONNECTION = {
    "DATA on stream 0": frame(DATA, 0, 0, b"x"),
    "DATA before HEADERS": frame(DATA, 0, 1, b"x"),
    "DATA on a stream that never was": HEAD + frame(DATA, 0, 99, b"x"),
    "HEADERS on stream 0": frame(HEADERS, END_HEADERS, 0, OK),
    "HEADERS on a stream that never was": frame(HEADERS, END_HEADERS, 99, OK),
    "HEADERS on a stream of the server's": frame(HEADERS, END_HEADERS, 2, OK),
    "a second head": HEAD + HEAD,
    "padding longer than the frame": frame(DATA, PADDED, 1, b"\xffx"),
    "PRIORITY of the wrong size": frame(PRIORITY, 0, 1, b"x"),
    "PRIORITY on stream 0": frame(PRIORITY, 0, 0, b"\0\0\0\0\0"),
    "RST_STREAM on stream 0": frame(RST_STREAM, 0, 0, U32(0)),
    "RST_STREAM of the wrong size": frame(RST_STREAM, 0, 1, b"x"),
    "RST_STREAM of a stream that never was": frame(RST_STREAM, 0, 99, U32(0)),
    "SETTINGS on a stream": frame(SETTINGS, 0, 1),
    "SETTINGS of the wrong size": frame(SETTINGS, 0, 0, b"xyz"),
    "SETTINGS ACK with a payload": frame(SETTINGS, ACK, 0, b"\0\x04\0\0\0\0"),
    "SETTINGS with a window beyond the maximum": frame(SETTINGS, 0, 0, b"\0\x04" + U32(2**31)),
    "SETTINGS with a frame size below the minimum": frame(SETTINGS, 0, 0, b"\0\x05" + U32(1)),
    "SETTINGS that turn push on": frame(SETTINGS, 0, 0, b"\0\x02" + U32(1)),
    "PUSH_PROMISE, which was turned off": frame(PUSH_PROMISE, END_HEADERS, 1, U32(2) + OK),
    "PING of the wrong size": frame(PING, 0, 0, b"x"),
    "PING on a stream": frame(PING, 0, 1, b"12345678"),
    "GOAWAY on a stream": frame(GOAWAY, 0, 1, U32(0) + U32(0)),
    "WINDOW_UPDATE of nought on the connection": frame(WINDOW_UPDATE, 0, 0, U32(0)),
    "WINDOW_UPDATE beyond the maximum": frame(WINDOW_UPDATE, 0, 0, U32(2**31 - 1)),
    "WINDOW_UPDATE of the wrong size": frame(WINDOW_UPDATE, 0, 0, b"x"),
    "CONTINUATION out of nowhere": frame(CONTINUATION, END_HEADERS, 1, OK),
    "DATA in the middle of a header block": frame(HEADERS, 0, 1, OK) + frame(DATA, 0, 1, b"x"),
    "CONTINUATION of another stream": frame(HEADERS, 0, 1, OK) + frame(CONTINUATION, END_HEADERS, 3, b""),
    "a header block that is not HPACK": frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"),
    "an index that is not in the table": frame(HEADERS, END_HEADERS, 1, b"\xfe"),
    "a length that contradicts itself": frame(
        HEADERS, END_HEADERS, 1, block((":status", "200"), ("content-length", "1"), ("content-length", "2"))
    ),
    "a length of many digits": frame(HEADERS, END_HEADERS, 1, OK + b"\0\x0econtent-length\x7f\x89\x26" + b"9" * 5_000),
    "a length that is negative": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), ("content-length", "-2"))),
    "a length in a list": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), ("content-length", "2, 2"))),
    "a body longer than declared": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), ("content-length", "1")))
    + frame(DATA, 0, 1, b"xy"),
    "a body shorter than declared": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), ("content-length", "3")))
    + frame(DATA, END_STREAM, 1, b"xy"),
    "trailers that do not end the stream": HEAD + frame(HEADERS, END_HEADERS, 1, block(("x", "y"))),
    "an informational head that ends the stream": frame(
        HEADERS, END_HEADERS | END_STREAM, 1, block((":status", "100"))
    ),
}

ENDS_THE_STREAM = {
    "no status": frame(HEADERS, END_HEADERS, 1, block(("x", "y"))),
    "a status that is none": frame(HEADERS, END_HEADERS, 1, block((":status", "2oo"))),
    "two statuses": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), (":status", "200"))),
    "a pseudo-header after others": frame(HEADERS, END_HEADERS, 1, block(("x", "y"), (":status", "200"))),
    "an unknown pseudo-header": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), (":path", "/"))),
    "a name in upper case": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), ("X-Y", "z"))),
    "a name with a space": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), ("x y", "z"))),
    "a value with a line end": frame(HEADERS, END_HEADERS, 1, block((":status", "200"), ("x", "y\r\nz: 1"))),
    "connection, which HTTP/2 forbids": frame(
        HEADERS, END_HEADERS, 1, block((":status", "200"), ("connection", "close"))
    ),
    "a window of the stream beyond the maximum": frame(WINDOW_UPDATE, 0, 1, U32(2**31 - 1)),
}

IS_HARMLESS = {
    "an unknown frame type": frame(0x42, 0xFF, 1, b"anything") + frame(0x42, 0, 0),
    "an unknown setting": frame(SETTINGS, 0, 0, b"\xff\xff" + U32(7)),
    "PRIORITY": frame(PRIORITY, 0, 1, b"\0\0\0\3\x10") + frame(PRIORITY, 0, 77, b"\0\0\0\1\x10"),
    "PING": frame(PING, 0, 0, b"12345678"),
    "an unasked PING ACK": frame(PING, ACK, 0, b"12345678"),
    "WINDOW_UPDATE": frame(WINDOW_UPDATE, 0, 1, U32(1)) + frame(WINDOW_UPDATE, 0, 0, U32(1)),
    "informational heads": frame(HEADERS, END_HEADERS, 1, block((":status", "103"))) * 2,
    "a head over many frames": b"",
    "undefined flags": b"",
}


@pytest.mark.parametrize("what", ENDS_THE_CONNECTION)
async def test_what_ends_the_connection(what: str) -> None:
    goodbyes: asyncio.Queue[int] = asyncio.Queue()

    async def script(server: RawServer) -> None:
        await server.greet()
        await server.request()
        server.send(ENDS_THE_CONNECTION[what])
        code, _ = await server.goaway()
        goodbyes.put_nowait(code)

    async with raw(script) as (pool, request):
        with pytest.raises(PeerMisbehaved) as caught:
            await pool.fetch(request, timeouts=QUICK)
        assert 0 < len(str(caught.value)) < 500
        async with asyncio.timeout(3):
            goodbye = await goodbyes.get()
        (statistics,) = pool.statistics().values()
        assert (statistics.connections, statistics.lost, statistics.streams) == (0, 1, 0)
    assert goodbye in (
        PROTOCOL_ERROR,
        FLOW_CONTROL_ERROR,
        FRAME_SIZE_ERROR,
        STREAM_CLOSED,
        COMPRESSION_ERROR,
    )


@pytest.mark.parametrize("what", ENDS_THE_STREAM)
async def test_what_ends_only_its_stream(what: str) -> None:
    async def script(server: RawServer) -> None:
        await server.greet()
        sibling = await server.request()
        assert sibling == 1
        victim = await server.request()
        bad = ENDS_THE_STREAM[what].replace(U32(1), U32(victim), 1)
        server.send(bad)
        _, _, stream, payload = await server.until(RST_STREAM)
        assert stream == victim
        assert int.from_bytes(payload, "big") in (PROTOCOL_ERROR, FLOW_CONTROL_ERROR)
        server.send(frame(HEADERS, END_HEADERS, sibling, OK), frame(DATA, END_STREAM, sibling, b"fine"))

    async with raw(script) as (pool, request):
        sibling = asyncio.create_task(pool.fetch(request, timeouts=QUICK))
        await asyncio.sleep(0)  # it is the first in the queue
        with pytest.raises((PeerMisbehaved, StreamReset)) as caught:
            await pool.fetch(request, timeouts=QUICK)
        assert str(caught.value)
        assert (await sibling).content == b"fine", "a sibling notices nothing"


@pytest.mark.parametrize(
    ("status", "method", "complete"), [(200, "POST", False), (304, "GET", True), (200, "HEAD", True)]
)
async def test_a_length_and_no_body(status: int, method: str, complete: bool) -> None:
    """Cut short, unless the response is of a kind that has no body. The connection serves on."""

    async def script(server: RawServer) -> None:
        await server.greet()
        head = block((":status", str(status)), ("content-length", "5"))
        server.send(frame(HEADERS, END_HEADERS | END_STREAM, await server.request(), head))
        stream = await server.request()
        server.send(frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, b"fine"))

    async with raw(script) as (pool, request):
        first = Request(method=method.encode(), origin=request.origin)
        if complete:
            assert (await pool.fetch(first, timeouts=QUICK)).status == status
        else:
            with pytest.raises(PeerMisbehaved, match="no body"):
                await pool.fetch(first, timeouts=QUICK)
        assert (await pool.fetch(request, timeouts=QUICK)).content == b"fine"
        assert pool.statistics()[request.origin].opened == 1


@pytest.mark.parametrize("what", IS_HARMLESS)
async def test_what_is_harmless(what: str) -> None:
    async def script(server: RawServer) -> None:
        await server.greet()
        stream = await server.request()
        server.send(IS_HARMLESS[what])
        if what == "a head over many frames":
            server.send(frame(HEADERS, 0, stream, OK[:2]), frame(CONTINUATION, 0, stream, OK[2:5]))
            server.send(frame(CONTINUATION, 0x80 | END_HEADERS, stream, OK[5:]))
        elif what == "undefined flags":
            server.send(frame(HEADERS, END_HEADERS | 0xC0, stream, OK))
        else:
            server.send(frame(HEADERS, END_HEADERS, stream, OK))
        server.send(frame(DATA, PADDED, stream, b"\4fi\0\0\0\0"), frame(DATA, END_STREAM, stream, b"ne"))

    async with raw(script) as (pool, request):
        assert (await pool.fetch(request, timeouts=QUICK)).content == b"fine"


async def test_frames_for_a_stream_that_the_client_has_left() -> None:
    """They were on their way when RST_STREAM was sent: they count against the connection's window and nothing else."""

    counted = asyncio.Event()

    async def script(server: RawServer) -> None:
        await server.greet()
        left = await server.request()
        server.send(frame(HEADERS, END_HEADERS, left, OK), frame(DATA, 0, left, b"begin"))
        await server.until(RST_STREAM, left)
        server.send(
            frame(DATA, 0, left, b"z" * 1_000) * 9,
            frame(HEADERS, END_HEADERS | END_STREAM, left, block(("t", "1"))),
        )
        server.send(frame(WINDOW_UPDATE, 0, left, U32(1)), frame(RST_STREAM, 0, left, U32(CANCEL)))
        server.send(frame(PING, 0, 0, b"12345678"))
        await server.until(PING)
        resets = [kind for kind, _, stream, _ in server.frames if (kind, stream) == (RST_STREAM, left)]
        counted.set()
        assert len(resets) <= 2, "not one for each frame: to a server that would look like an attack"
        stream = await server.request()
        server.send(frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, b"fine"))

    async with raw(script) as (pool, request):
        async with pool.request(request, timeouts=QUICK) as response:
            async for _ in response.body:
                break
        await asyncio.wait_for(counted.wait(), 5)
        assert (await pool.fetch(request, timeouts=QUICK)).content == b"fine"


async def test_the_server_answers_before_it_has_the_whole_request() -> None:
    async def script(server: RawServer) -> None:
        await server.greet(b"\0\x04" + U32(10))
        _, _, stream, _ = await server.until(HEADERS)
        server.send(
            frame(HEADERS, END_HEADERS, stream, block((":status", "413"))),
            frame(DATA, END_STREAM, stream, b"no"),
        )
        _, _, reset, _ = await server.until(RST_STREAM)
        assert reset == stream, "the rest of the request is not sent"

    async with raw(script) as (pool, request):
        large = type(request)(method=b"POST", origin=request.origin, target=b"/", body=b"x" * 100_000)
        reply = await pool.fetch(large, timeouts=QUICK)
        assert (reply.status, reply.content) == (413, b"no")


# Limits


async def limited(payload: bytes, limits: Limits, *, requests: int = 1) -> None:
    async def script(server: RawServer) -> None:
        await server.greet()
        for _ in range(requests):
            await server.request()
        server.send(payload)
        code, _ = await server.goaway()
        assert code in (CALM, FRAME_SIZE_ERROR)

    async with raw(script, PoolOptions(protocol="h2", trust_env=False, limits=limits)) as (pool, request):
        with pytest.raises(LimitExceeded) as caught:
            await pool.fetch(request, timeouts=QUICK)
        assert str(caught.value)


async def test_a_frame_beyond_the_limit_is_refused_by_its_header() -> None:
    await limited(frame(DATA, 0, 1, b"x" * 20_000)[:9], Limits(frame_bytes=16_384))


async def test_a_continuation_flood() -> None:
    await limited(
        frame(HEADERS, 0, 1, OK) + frame(CONTINUATION, 0, 1, b"") * 2_000,
        Limits(control_frames_per_second=100),
    )
    await limited(
        frame(HEADERS, 0, 1, OK) + frame(CONTINUATION, 0, 1, b"\0\1x\x7f\0" + b"y" * 127) * 100,
        Limits(header_bytes=4_096),
    )


async def test_a_head_beyond_the_limit() -> None:
    await limited(frame(HEADERS, END_HEADERS, 1, OK + b"\0\1x\x7f\0" + b"y" * 127), Limits(header_bytes=100))


async def test_a_head_that_unpacks_beyond_the_limit() -> None:
    bomb = OK + b"\x40\1x\x7f\x80\x07" + b"y" * 1_023 + b"\xbe" * 100  # one entry, then a hundred references to it
    await limited(frame(HEADERS, END_HEADERS, 1, bomb), Limits(header_bytes=8_192))


@pytest.mark.parametrize(
    "flood",
    [
        frame(PING, 0, 0, b"12345678"),
        frame(SETTINGS),
        frame(DATA, 0, 1),
        frame(DATA, PADDED, 1, b"\0"),
        frame(DATA, PADDED, 1, b"\xff" + b"\0" * 255),
        frame(PRIORITY, 0, 1, b"\0\0\0\3\x10"),
        frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    ],
)
async def test_a_flood_of_frames_without_content(flood: bytes) -> None:
    await limited(HEAD + flood * 200, Limits(control_frames_per_second=100))


async def test_windows_for_a_large_body_are_no_flood() -> None:
    """A server that gives a window back for every frame of an upload, however fast it is."""
    size = 4 * 1024 * 1024

    async def script(server: RawServer) -> None:
        await server.greet()
        (_, _, stream, _), received = await server.until(HEADERS), 0
        while received < size:
            kind, _, _, data = await server.read()
            if kind == DATA and data:
                received += len(data)
                given = len(data).to_bytes(4, "big")
                server.send(frame(WINDOW_UPDATE, 0, stream, given), frame(WINDOW_UPDATE, 0, 0, given))
        server.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, OK))

    limits = Limits(control_frames_per_second=100)
    async with raw(script, PoolOptions(protocol="h2", trust_env=False, limits=limits)) as (pool, request):
        reply = await pool.fetch(Request(method=b"POST", origin=request.origin, body=b"x" * size))
        assert reply.status == 200


async def test_windows_and_pings_that_answer_requests_are_no_flood() -> None:
    """gRPC's servers give back both windows after each request, and measure the connection by a PING."""

    async def script(server: RawServer) -> None:
        await server.greet()
        while True:
            stream = await server.request()
            server.send(frame(WINDOW_UPDATE, 0, 0, U32(9)), frame(WINDOW_UPDATE, 0, stream, U32(9)))
            server.send(frame(PING, 0, 0, b"12345678"), frame(HEADERS, END_HEADERS | END_STREAM, stream, OK))

    async with raw(script, PoolOptions(protocol="h2", limits=Limits(control_frames_per_second=20))) as (pool, request):
        for _ in range(100):
            assert (await pool.fetch(request, timeouts=QUICK)).status == 200
        assert pool.statistics()[request.origin].opened == 1


async def test_rapid_resets_by_the_server() -> None:
    async def script(server: RawServer) -> None:
        await server.greet()
        while True:
            stream = await server.request()
            server.send(frame(RST_STREAM, 0, stream, U32(PROTOCOL_ERROR)))

    options = PoolOptions(protocol="h2", trust_env=False, limits=Limits(resets_per_minute=20))
    async with raw(script, options) as (pool, request):
        outcomes = []
        for _ in range(20):
            try:
                await pool.fetch(request, timeouts=QUICK)
            except (StreamReset, LimitExceeded) as error:
                outcomes.append(type(error))
        assert outcomes == [StreamReset] * 19 + [LimitExceeded]


async def test_a_server_that_speaks_http_1_1() -> None:
    async def script(server: RawServer) -> None:
        server.send(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")

    async with raw(script) as (pool, request):
        with pytest.raises(PeerMisbehaved, match="does not speak HTTP/2"):
            await pool.fetch(request, timeouts=QUICK)


async def test_padding_is_given_back() -> None:
    """Padding counts against the windows, and no caller ever takes it: a stream of it must not stall."""

    async def script(server: RawServer) -> None:
        await server.greet()
        stream = await server.request()
        server.send(frame(HEADERS, END_HEADERS, stream, OK))
        padded = frame(DATA, PADDED, stream, b"\xff" + b"\0" * 255)
        sent = 0
        for _ in range(20):
            server.send(padded)
            sent += 256
            if sent >= 1_000 - 256:
                _, _, _, payload = await server.until(WINDOW_UPDATE, stream)
                sent -= int.from_bytes(payload, "big")
        server.send(frame(DATA, END_STREAM, stream, b"fine"))

    options = PoolOptions(protocol="h2", trust_env=False, stream_window=1_000)
    async with raw(script, options) as (pool, request):
        assert (await pool.fetch(request, timeouts=QUICK)).content == b"fine"
