"""HTTP/2 clients that break the protocol, flood or stall: the stream or the connection ends with the right code.

The list follows h2spec's, and the attacks that have names of their own: rapid reset, CONTINUATION flood, HPACK bomb,
SETTINGS and PING floods, zero windows.
"""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest
from h2.errors import ErrorCodes

from tests.support.agents.until import until
from tests.support.http2.asgi import Application
from tests.support.http2.raw import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
)
from tests.support.http2.raw_client import EMPTY_SETTINGS, GET, POST, RawClient, raw_client
from transports.http2.server import Server, ServerOptions

WHOLE = END_HEADERS | END_STREAM
PROTOCOL, FLOW, CLOSED, SIZE = (
    ErrorCodes.PROTOCOL_ERROR,
    ErrorCodes.FLOW_CONTROL_ERROR,
    ErrorCodes.STREAM_CLOSED,
    ErrorCodes.FRAME_SIZE_ERROR,
)
COMPRESSION, CALM = ErrorCodes.COMPRESSION_ERROR, ErrorCodes.ENHANCE_YOUR_CALM


def get(stream: int, path: str = "/") -> bytes:
    return frame(HEADERS, WHOLE, stream, block(*GET[:3], (":path", path)))


def post(stream: int, path: str = "/echo") -> bytes:
    return frame(HEADERS, END_HEADERS, stream, block(*POST[:3], (":path", path)))


def word(number: int) -> bytes:
    return struct.pack(">I", number)


def setting(key: int, value: int) -> bytes:
    return struct.pack(">HI", key, value)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(Application(), ServerOptions()) as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[RawClient]:
    async with raw_client(server.port) as found:
        await found.greet()
        yield found


ENDS = {
    "a frame that is too long": (SIZE, frame(DATA, 0, 1, b"x" * 65_537)),
    "PING of 7 bytes": (SIZE, frame(PING, 0, 0, b"1234567")),
    "SETTINGS of 5 bytes": (SIZE, frame(SETTINGS, 0, 0, b"12345")),
    "SETTINGS ACK with content": (SIZE, frame(SETTINGS, ACK, 0, setting(3, 1))),
    "RST_STREAM of 3 bytes": (SIZE, get(1) + frame(RST_STREAM, 0, 1, b"123")),
    "WINDOW_UPDATE of 3 bytes": (SIZE, frame(WINDOW_UPDATE, 0, 0, b"123")),
    "SETTINGS on a stream": (PROTOCOL, frame(SETTINGS, 0, 1, b"")),
    "PING on a stream": (PROTOCOL, frame(PING, 0, 1, b"12345678")),
    "GOAWAY on a stream": (PROTOCOL, frame(GOAWAY, 0, 1, word(0) + word(0))),
    "DATA on the connection": (PROTOCOL, frame(DATA, 0, 0, b"x")),
    "HEADERS on the connection": (PROTOCOL, frame(HEADERS, WHOLE, 0, block(*GET))),
    "DATA on an idle stream": (PROTOCOL, frame(DATA, END_STREAM, 1, b"x")),
    "RST_STREAM on an idle stream": (PROTOCOL, frame(RST_STREAM, 0, 1, word(8))),
    "WINDOW_UPDATE on an idle stream": (PROTOCOL, frame(WINDOW_UPDATE, 0, 1, word(8))),
    "CONTINUATION without HEADERS": (PROTOCOL, frame(CONTINUATION, END_HEADERS, 1, b"")),
    "DATA within a header block": (PROTOCOL, frame(HEADERS, 0, 1, block(*GET)) + frame(DATA, 0, 1, b"x")),
    "another stream's CONTINUATION": (
        PROTOCOL,
        frame(HEADERS, 0, 1, block(*GET)) + frame(CONTINUATION, END_HEADERS, 3, b""),
    ),
    "an even stream": (PROTOCOL, get(2)),
    "a stream below the last": (PROTOCOL, get(5) + get(3)),
    "PUSH_PROMISE": (PROTOCOL, get(1) + frame(PUSH_PROMISE, END_HEADERS, 1, word(2) + block(*GET))),
    "padding beyond the frame": (PROTOCOL, post(1) + frame(DATA, PADDED, 1, b"\xff" + b"x" * 10)),
    "a window of nothing more": (PROTOCOL, frame(WINDOW_UPDATE, 0, 0, word(0))),
    "the connection's window overflows": (FLOW, frame(WINDOW_UPDATE, 0, 0, word(2**31 - 1))),
    "an initial window beyond the limit": (FLOW, frame(SETTINGS, 0, 0, setting(4, 2**31))),
    "a frame size below the limit": (PROTOCOL, frame(SETTINGS, 0, 0, setting(5, 16_383))),
    "push that is neither on nor off": (PROTOCOL, frame(SETTINGS, 0, 0, setting(2, 2))),
    "a header block that is none": (COMPRESSION, frame(HEADERS, WHOLE, 1, b"\xff\xff\xff\xff\xff")),
    "an index beyond the table": (COMPRESSION, frame(HEADERS, WHOLE, 1, b"\xfe")),
    "trailers that do not end": (PROTOCOL, post(1) + frame(HEADERS, END_HEADERS, 1, block(("x", "y")))),
    "more than content-length": (
        PROTOCOL,
        frame(HEADERS, END_HEADERS, 1, block(*POST, ("content-length", "2"))) + frame(DATA, END_STREAM, 1, b"abc"),
    ),
    "PINGs without end": (CALM, frame(PING, 0, 0, b"12345678") * 1_100),
    "SETTINGS without end": (CALM, EMPTY_SETTINGS * 1_100),
    "a long SETTINGS": (CALM, frame(SETTINGS, 0, 0, setting(3, 100) * 100)),
    "empty DATA without end": (CALM, post(1) + frame(DATA, 0, 1, b"") * 1_100),
    "DATA of a byte without end": (CALM, post(1) + frame(DATA, 0, 1, b"x") * 5_500),
    "PRIORITY without end": (CALM, frame(PRIORITY, 0, 1, word(0) + b"\0") * 1_100),
    "WINDOW_UPDATEs that answer nothing": (CALM, frame(WINDOW_UPDATE, 0, 0, word(1)) * 1_100),
    "CONTINUATION without end": (
        CALM,
        frame(HEADERS, 0, 1, block(*GET)) + frame(CONTINUATION, 0, 1, b"\0\1x\x7f\x81\x7f" + b"y" * 256) * 2_000,
    ),
    "CONTINUATION of nothing": (CALM, frame(HEADERS, 0, 1, block(*GET)) + frame(CONTINUATION, 0, 1, b"") * 1_100),
    "a bomb of indexed fields": (
        CALM,
        # One entry of 4,000 bytes in the table, named again in a byte each: 60 kB become 240 MB.
        frame(HEADERS, WHOLE, 1, block(*GET) + b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4_000 + b"\xbe" * 60_000),
    ),
    "rapid reset": (CALM, b"".join(get(n) + frame(RST_STREAM, 0, n, word(8)) for n in range(1, 2_400, 2))),
}


@pytest.mark.parametrize("name", ENDS)
async def test_the_connection_ends_with_the_right_code(client: RawClient, name: str) -> None:
    expected, data = ENDS[name]
    sending = asyncio.create_task(client.send(data))
    goodbye = await client.end()
    assert ErrorCodes(goodbye.code) is expected
    await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.parametrize(
    "greeting",
    [
        PREFACE[:18] + b"XX\r\n\r\n" + EMPTY_SETTINGS,
        PREFACE + frame(PING, 0, 0, b"12345678"),
        PREFACE + get(1),
    ],
)
async def test_a_wrong_preface_ends_the_connection(server: Server, greeting: bytes) -> None:
    async with raw_client(server.port) as client:
        await client.send(greeting)
        assert (await client.end()).code == PROTOCOL


RESETS = {
    "no path": block(*GET[:3]),
    "no method": block(*GET[1:]),
    "an empty path": block(*GET[:3], (":path", "")),
    "a path that is none": block(*GET[:3], (":path", "evil")),
    "a pseudo-header twice": block(*GET, (":path", "/")),
    "a pseudo-header after others": block(*GET[:3], ("x", "y"), GET[3]),
    "an unknown pseudo-header": block(*GET, (":evil", "x")),
    "a response's pseudo-header": block(*GET, (":status", "200")),
    "a name in upper case": block(*GET, ("X", "y")),
    "a name that is none": block(*GET, ("x y", "z")),
    "a connection's field": block(*GET, ("connection", "close")),
    "a transfer coding": block(*GET, ("transfer-encoding", "chunked")),
    "te that says more": block(*GET, ("te", "gzip")),
    "a line end in a value": block(*GET, ("x", "y\r\nz")),
    "two lengths": block(*GET, ("content-length", "0"), ("content-length", "0")),
    "a tunnel": block((":method", "CONNECT"), (":authority", "localhost")),
    "a body that is shorter than its length": block(*GET, ("content-length", "2")),
}


@pytest.mark.parametrize("name", RESETS)
async def test_a_malformed_request_ends_its_stream_alone(client: RawClient, name: str) -> None:
    await client.send(frame(HEADERS, WHOLE, 1, RESETS[name]))
    assert (await client.until(RST_STREAM, stream=1)).code == PROTOCOL
    await client.send(get(3))
    assert await client.response(3) == (200, b"hello")


REFUSED = {
    "another host than the authority": (400, block(*GET, ("host", "evil.example"))),
    "two hosts": (400, block(*GET[:2], GET[3], ("host", "localhost"), ("host", "localhost"))),
    "an authority that is none": (400, block(*GET[:2], (":authority", "local host"), GET[3])),
    "too many fields": (431, block(*GET, *[("x", "y")] * 300)),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_request_that_is_refused_is_answered(client: RawClient, name: str) -> None:
    expected, head = REFUSED[name]
    await client.send(frame(HEADERS, WHOLE, 1, head))
    assert (await client.response(1))[0] == expected


async def test_headers_on_a_stream_that_is_closed(client: RawClient) -> None:
    await client.send(get(1))
    assert await client.response(1) == (200, b"hello")
    await client.send(get(1))
    assert (await client.end()).code == CLOSED


async def test_data_on_a_stream_that_is_half_closed(client: RawClient) -> None:
    await client.send(get(1, "/held") + frame(DATA, END_STREAM, 1, b"x"))
    found = await client.until(RST_STREAM, GOAWAY)
    assert found.code == CLOSED


async def test_data_on_a_stream_that_was_reset_is_ignored_or_refused(client: RawClient, server: Server) -> None:
    await client.send(post(1) + frame(RST_STREAM, 0, 1, word(8)) + frame(DATA, 0, 1, b"x" * 100))
    await client.send(get(3))
    assert await client.response(3) == (200, b"hello")


async def test_a_streams_window_overflows_for_itself(client: RawClient) -> None:
    await client.send(post(1, "/held") + frame(WINDOW_UPDATE, 0, 1, word(2**31 - 1)))
    assert (await client.until(RST_STREAM, GOAWAY)).code == FLOW


async def test_more_than_a_streams_window_ends_it(client: RawClient, server: Server) -> None:
    await client.send(post(1, "/held") + get(3, "/held"))
    await client.send(frame(DATA, 0, 1, b"x" * 60_000) * 400)
    assert (await client.until(RST_STREAM, GOAWAY)).code == FLOW


async def test_a_settings_frame_and_a_ping_are_acknowledged(client: RawClient) -> None:
    await client.send(frame(PING, 0, 0, b"12345678"))
    assert (await client.until(PING)).payload == b"12345678"
    assert any(one.kind == SETTINGS and one.flags & ACK for one in client.seen)


async def test_unknown_frames_and_settings_are_ignored(client: RawClient) -> None:
    await client.send(frame(0x16, 0xFF, 0, b"unknown") + frame(SETTINGS, 0, 0, setting(0x99, 1)) + get(1))
    assert await client.response(1) == (200, b"hello")


async def test_padding_and_priority_and_continuation_are_understood(client: RawClient) -> None:
    head = block(*POST)
    await client.send(
        frame(HEADERS, PADDED | 0x20, 1, b"\x04" + word(0) + b"\x10" + head[:10] + b"\0" * 4)
        + frame(CONTINUATION, 0, 1, head[10:20])
        + frame(CONTINUATION, END_HEADERS, 1, head[20:])
        + frame(DATA, PADDED, 1, b"\x02ab\0\0")
        + frame(DATA, END_STREAM, 1, b"c")
    )
    assert await client.response(1) == (200, b"abc")


async def test_trailers_of_a_request_are_checked(client: RawClient) -> None:
    await client.send(
        post(1) + frame(DATA, 0, 1, b"abc") + frame(HEADERS, WHOLE, 1, block(("x-checksum", "1"))) + get(3)
    )
    assert await client.response(1) == (200, b"abc")
    await client.send(post(5, "/held") + frame(HEADERS, WHOLE, 5, block((":path", "/"))))
    assert (await client.until(RST_STREAM, stream=5)).code == PROTOCOL


async def test_a_window_of_nothing_holds_the_response_and_no_memory_without_end() -> None:
    async with Server(Application(), ServerOptions(write_within=0.5)) as server, raw_client(server.port) as client:
        await client.greet(frame(SETTINGS, 0, 0, setting(4, 0)))
        await client.send(get(1, "/large") + get(3))
        found = await client.until(RST_STREAM)
        assert found.code == ErrorCodes.CANCEL, "a client that takes nothing is given up"


async def test_a_window_that_opens_late_lets_the_response_go_on(client: RawClient) -> None:
    await client.send(frame(SETTINGS, 0, 0, setting(4, 3)) + get(1))
    while (found := await client.until(DATA)).payload != b"hel":
        pass
    assert not found.flags & END_STREAM
    await client.send(frame(WINDOW_UPDATE, 0, 1, word(100)))
    found = await client.until(DATA)
    assert (found.payload, found.flags & END_STREAM) == (b"lo", END_STREAM)


async def test_one_stream_too_many_is_refused_alone() -> None:
    application = Application()
    async with Server(application, ServerOptions(streams=4)) as server, raw_client(server.port) as client:
        await client.greet()
        await client.send(b"".join(get(n, "/held") for n in (1, 3, 5, 7, 9)))
        assert (await client.until(RST_STREAM)).stream == 9
        assert client.seen[-1].code == ErrorCodes.REFUSED_STREAM
        application.release.set()
        for stream in (1, 3, 5, 7):
            assert await client.response(stream) == (200, b"hello")


async def test_requests_that_were_reset_count_until_their_application_has_ended() -> None:
    application = Application()
    async with Server(application, ServerOptions(streams=4)) as server, raw_client(server.port) as client:
        await client.greet()
        for stream in range(1, 200, 2):
            await client.send(get(stream, "/held") + frame(RST_STREAM, 0, stream, word(8)))
        await client.send(frame(PING, 0, 0, b"12345678"))
        await client.until(PING)
        assert application.running <= 4
        application.release.set()


async def test_half_a_body_ends_its_stream_alone() -> None:
    options = ServerOptions(body_grace=0.3, discard_within=0.3)
    application = Application()
    async with Server(application, options) as server, raw_client(server.port) as client:
        await client.greet()
        await client.send(post(1) + frame(DATA, 0, 1, b"half"))
        assert (await client.response(1))[0] == 408
        assert (await client.until(RST_STREAM, stream=1)).code == ErrorCodes.NO_ERROR
        await client.send(get(3))
        assert await client.response(3) == (200, b"hello")
        await until(lambda: application.gone == 1)


async def test_an_idle_connection_ends_with_goaway() -> None:
    async with Server(Application(), ServerOptions(idle_after=0.3)) as server, raw_client(server.port) as client:
        await client.greet()
        await client.send(get(1))
        assert await client.response(1) == (200, b"hello")
        goodbye = await client.end()
        assert (goodbye.code, goodbye.payload[:4]) == (ErrorCodes.NO_ERROR, word(1))


@pytest.mark.parametrize("sent", [PREFACE[:10], PREFACE, PREFACE + EMPTY_SETTINGS + frame(HEADERS, 0, 1, block(*GET))])
async def test_a_client_that_stops_before_its_first_request_is_closed(sent: bytes) -> None:
    options = ServerOptions(head_within=0.3, idle_after=0.3)
    async with Server(Application(), options) as server, raw_client(server.port) as client:
        await client.send(sent)
        async with asyncio.timeout(5):
            await client.rest()


async def test_what_runs_ends_well_after_goaway_and_nothing_new_begins() -> None:
    application = Application()
    async with Server(application, ServerOptions()) as server, raw_client(server.port) as client:
        async with raw_client(server.port) as idle:
            await idle.greet()
            await client.greet()
            await client.send(get(1, "/held"))
            await until(lambda: application.running == 1)
            server.retire()
            assert (await idle.end()).code == ErrorCodes.NO_ERROR, "an idle connection ends at once"
        assert (await client.until(GOAWAY)).payload[:4] == word(1)
        await client.send(get(3))
        assert (await client.until(RST_STREAM, stream=3)).code == ErrorCodes.REFUSED_STREAM
        application.release.set()
        assert await client.response(1) == (200, b"hello")
        assert await client.frame() is None


async def test_a_body_that_nobody_wants_is_thrown_away_within_flow_control() -> None:
    """A client that sends 30 MB, and reads the response only then."""
    async with Server(Application(), ServerOptions(body_bytes=1_000_000)) as server, raw_client(server.port) as client:
        await client.greet()
        await client.send(post(1))
        windows, counted, left = {0: 65_535, 1: 65_535}, 0, 30_000_000
        while left:
            for one in client.seen[counted:]:
                if one.kind == WINDOW_UPDATE:
                    windows[one.stream] += int.from_bytes(one.payload, "big")
                elif one.kind == SETTINGS and not one.flags & ACK:
                    windows[1] += int(dict(struct.iter_unpack(">HI", one.payload))[4]) - 65_535
            counted = len(client.seen)
            size = min(16_384, left, *windows.values())
            if size <= 0:
                assert await client.frame() is not None
                continue
            left -= size
            for stream in windows:
                windows[stream] -= size
            await client.send(frame(DATA, 0 if left else END_STREAM, 1, b"x" * size))
        assert any(one.kind == HEADERS for one in client.seen), "it was answered meanwhile"
        await client.send(get(3))
        assert await client.response(3) == (200, b"hello")
