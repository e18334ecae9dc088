"""HTTP/1.1 and HTTP/2, both sides: our server gets what any client may send, our client what any server may answer.

Over real sockets, in one loop. Nothing may be raised but the errors of the transport; however a request is cut into
pieces, its answer is the same.
"""

import asyncio
import re
import socket
from typing import Any

from tests.fuzz.loop import loop, run, turns
from tests.fuzz.pieces import cut, parts
from tests.fuzz.target import Target
from tests.support.http2.raw import frame
from transports.http2 import Pool, PoolOptions, Request, Timeouts, TransportError
from transports.http2.server import Server, ServerOptions
from transports.http2.server.deadlines import DeadlineWheel
from transports.http2.server.h1_connection import H1ServerConnection

MOST_BODY = 2_000
QUICK = Timeouts(connect=2, pool=2, write=2, first_byte=2, idle=2)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATE = re.compile(rb"date: [^\r]*\r\n")
_REFUSED = re.compile(rb"HTTP/1.1 [45][0-9]{2} (?s:.*)")
_server: Server | None = None


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    """Sends the body back, and says which path and how many headers the request had."""
    if scope["type"] != "http":
        await receive()
        await send({"type": "websocket.close"})
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    said = b"%s %d %s\n" % (scope["method"].encode(), len(scope["headers"]), scope["raw_path"])
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(said + body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else said + body})


def _serving() -> Server:
    global _server
    if _server is None:
        _server = Server(_echo, ServerOptions(body_bytes=MOST_BODY, head_bytes=1_000, head_fields=16))
        _server.loop = loop()
        _server.wheel = DeadlineWheel(loop())
    return _server


async def _served(pieces: list[bytes]) -> bytes:
    """What the server answers to these pieces, each in a read of its own, until it or the client closes."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    server = _serving()
    await loop().connect_accepted_socket(lambda: H1ServerConnection(server), theirs)
    try:
        for piece in pieces:
            await loop().sock_sendall(ours, piece)
            await turns(4)
        await turns(12)
        ours.shutdown(socket.SHUT_WR)
        found = bytearray()
        while some := await loop().sock_recv(ours, 1 << 16):
            found += some
        return bytes(found)
    except (BrokenPipeError, ConnectionResetError):
        return b"reset"
    finally:
        ours.close()
        await turns(8)


def requests(data: bytes) -> None:
    """Requests of HTTP/1.1. The first byte says how the others are cut."""
    whole, pieces = cut(data)
    first = _answers(run(_served([whole])))
    assert not first or first.startswith((b"HTTP/1.1 ", b"refused", b"reset")) or whole.startswith(b"PRI")
    if len(pieces) <= 64 and first != b"reset":
        again = _answers(run(_served(pieces)))
        assert again in (first, b"reset"), f"in pieces: {again!r}, whole: {first!r}"


def _answers(answered: bytes) -> bytes:
    """What must be the same however a request is cut: not the date, nor the word to go on, nor why it was refused: of
    two mistakes it is the one that is seen first."""
    answered = _DATE.sub(b"", answered).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    return _REFUSED.sub(b"refused", answered)


def frames_of(data: bytes) -> bytes:
    """Frames with right lengths: kind, flags and stream are a byte each, and the rest is content. A kind above 127 is
    no frame but bytes as they are."""
    found = b""
    for part in parts(data, 24):
        if part[:1] >= b"\x80":
            found += part[1:]
        elif len(part) >= 3:
            found += frame(part[0] % 12, part[1], part[2], part[3:])
    return found


def frames_to_server(data: bytes) -> None:
    """Frames of a client of HTTP/2; the first byte says how they are cut, or that they begin with no preface."""
    if not data:
        return
    sent = frames_of(data[1:])
    begins = b"" if data[0] == 255 else PREFACE + frame(4)
    _, pieces = cut(data[:1] + begins + sent)
    answered = run(_served([begins + sent] if data[0] < 128 else pieces[:64]))
    _check_frames(answered)


def _check_frames(answered: bytes) -> None:
    """What the server sends are whole frames, none of which is longer than a client allows."""
    if answered.startswith(b"HTTP/1.1 ") or answered == b"reset":
        return
    at = 0
    while at + 9 <= len(answered):
        size = int.from_bytes(answered[at : at + 3], "big")
        assert size <= 16_384
        assert answered[at + 3] <= 9
        at += 9 + size
    assert at == len(answered), "half a frame"


class _Peer:
    """A server that answers each connection with the same bytes, in pieces, and closes it."""

    def __init__(self) -> None:
        self.path = b""
        self.pieces: list[bytes] = []
        self.server: asyncio.Server | None = None

    async def start(self) -> str:
        if self.server is None:
            place = f"\0three-mode-fuzz-{id(self):x}"
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(place)
            self.server = await asyncio.start_unix_server(self._answer, sock=sock)
            self.path = place.encode()
        return self.path.decode()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)
            for piece in self.pieces:
                writer.write(piece)
                await turns(2)
            writer.write_eof()
        except OSError:
            pass
        finally:
            writer.close()


_peer = _Peer()


async def _asked(pieces: list[bytes], protocol: Any) -> object:
    """What our client makes of an answer: the status and the body, or the kind of error."""
    _peer.pieces = pieces
    options = PoolOptions(protocol=protocol, trust_env=False, unix_socket=await _peer.start())
    async with Pool(options) as pool:
        found: list[object] = []
        calls = [
            pool.fetch(Request.to("POST", "http://h/x", (), b"{}"), timeouts=QUICK, max_bytes=10_000),
            pool.fetch(Request.to("GET", "http://h/y"), timeouts=QUICK, max_bytes=10_000),
        ]
        for each in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(each, TransportError):
                assert str(each)
                found.append(type(each).__name__)
            elif isinstance(each, BaseException):
                raise each
            else:
                assert 200 <= each.status < 1000
                assert len(each.content) <= 10_000
                found.append((each.status, each.content))
        return found


def responses(data: bytes) -> None:
    """Answers of a server of HTTP/1.1, however they come."""
    whole, pieces = cut(data)
    run(_asked([whole], "http/1.1"))
    if len(pieces) <= 64:
        run(_asked(pieces, "http/1.1"))


def frames_to_client(data: bytes) -> None:
    """Frames of a server of HTTP/2."""
    if data:
        begins = b"" if data[0] == 255 else frame(4)
        _, pieces = cut(data[:1] + begins + frames_of(data[1:]))
        run(_asked(pieces[:64] if data[0] >= 128 else [begins + frames_of(data[1:])], "h2"))


TARGETS = (
    Target(name="http1_requests", run=requests, longest=3000, lines=400_000, lines_a_byte=4_000),
    Target(name="http1_responses", run=responses, longest=3000, lines=400_000, lines_a_byte=4_000),
    Target(name="http2_to_server", run=frames_to_server, longest=3000, lines=400_000, lines_a_byte=4_000),
    Target(name="http2_to_client", run=frames_to_client, longest=3000, lines=400_000, lines_a_byte=4_000),
)
