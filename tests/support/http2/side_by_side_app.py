"""ASGI application of the side-by-side checks: echoes, redirects, cookies, auth, encodings, ranges, large bodies."""

import asyncio
import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote

Fields = list[tuple[bytes, bytes]]
Message = dict[str, Any]
TEXT = b"The quick brown fox jumps over the lazy dog. " * 40
# `TEXT` as the reference encoders of zstd and brotli write it, so that the tests need neither.
PACKED: dict[str, bytes] = {
    "identity": TEXT,
    "gzip": gzip.compress(TEXT, mtime=0),
    "deflate": zlib.compress(TEXT),
    "twice": gzip.compress(zlib.compress(TEXT), mtime=0),
    "zstd": bytes.fromhex(
        "28b52ffd600806b50100d40254686520717569636b2062726f776e20666f78206a756d7073206f766572"
        "20746865206c617a7920646f672e200100c516feaa0c"
    ),
    "br": bytes.fromhex(
        "1b0707882c0e78d3d0955d9710bb172ba9cad092cc8cad415ce6f236c8199e9e0a7b830d387048206f24bf41"
        "a715ce1c1e27aa2938c2a9749f0603"
    ),
    "broken": b"this is not gzip",
}
CONTENT_ENCODING = {"twice": b"deflate, gzip", "broken": b"gzip"}


class Conversation:
    """One request, read whole, and its response."""

    def __init__(self, scope: Message, send: Callable[[Message], Awaitable[None]], body: bytes) -> None:
        self._send = send
        self.method = str(scope["method"])
        self.path = str(scope["path"])
        self.raw_path = bytes(scope.get("raw_path") or scope["path"].encode())
        self.query_string = bytes(scope["query_string"])
        self.query = {name: values[0] for name, values in parse_qs(self.query_string.decode(), True).items()}
        self.headers = [(name.lower(), value) for name, value in scope["headers"]]
        self.body = body

    def header(self, name: bytes) -> bytes:
        return next((value for known, value in self.headers if known == name), b"")

    async def answer(self, status: int = 200, body: bytes = b"", headers: Fields | None = None) -> None:
        """A response with a length; to HEAD, that length and no body."""
        fields = [*(headers or []), (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def stream(self, pieces: int, size: int, pause: float = 0.0) -> None:
        """A response without a length."""
        await self._send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(pieces):
            await self._send({"type": "http.response.body", "body": bytes([number % 251]) * size, "more_body": True})
            await asyncio.sleep(pause)
        await self._send({"type": "http.response.body", "body": b""})

    async def answer_json(self, value: Any, status: int = 200, headers: Fields | None = None) -> None:
        fields = [(b"content-type", b"application/json"), *(headers or [])]
        await self.answer(status, json.dumps(value).encode(), fields)


async def app(scope: Message, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                break
        conversation = Conversation(scope, send, body)
        room, _, rest = conversation.path.lstrip("/").partition("/")
        await ROOMS[room](conversation, rest)


async def echo(request: Conversation, rest: str) -> None:
    """All that the server saw, but for what belongs to a connection."""
    hidden = (b"connection", b"transfer-encoding", b"keep-alive")
    await request.answer_json(
        {
            "method": request.method,
            "path": request.raw_path.decode("latin-1"),
            "query": request.query_string.decode("latin-1"),
            "headers": sorted([n.decode(), v.decode("latin-1")] for n, v in request.headers if n not in hidden),
            "chunked": request.header(b"transfer-encoding") == b"chunked",
            "size": len(request.body),
            "sha256": hashlib.sha256(request.body).hexdigest(),
        }
    )


async def status(request: Conversation, rest: str) -> None:
    code = int(rest)
    await request.answer(code, b"" if code in (204, 304) else b"the body of %d" % code)


async def redirect(request: Conversation, rest: str) -> None:
    await request.answer(int(rest), b"moved", [(b"location", request.query["to"].encode())])


async def chain(request: Conversation, rest: str) -> None:
    left = int(rest)
    if left:
        fields = [(b"location", b"/chain/%d" % (left - 1)), (b"set-cookie", b"step%d=1; Path=/" % left)]
        await request.answer(302, b"", fields)
    else:
        await echo(request, rest)


async def cookies(request: Conversation, rest: str) -> None:
    fields = [(b"set-cookie", value.encode()) for value in rest.split("|") if value]
    await request.answer_json({"cookie": request.header(b"cookie").decode()}, headers=fields)


async def basic(request: Conversation, rest: str) -> None:
    wanted = b"Basic " + base64.b64encode(unquote(rest).encode())
    if request.header(b"authorization") == wanted:
        await request.answer(200, b"welcome")
    else:
        await request.answer(401, b"who are you?", [(b"www-authenticate", b'Basic realm="r"')])


async def digest(request: Conversation, rest: str) -> None:
    """Checks MD5 digests with qop=auth (RFC 7616) of the user `user` with the password `pass`."""
    given = request.header(b"authorization").decode()
    if not given.startswith("Digest "):
        challenge = b'Digest realm="r", nonce="abc", qop="auth", algorithm=MD5, opaque="o"'
        await request.answer(401, b"", [(b"www-authenticate", challenge), (b"set-cookie", b"challenged=yes; Path=/")])
        return
    parts = dict(part.strip().split("=", 1) for part in given[7:].split(","))
    fields = {name: value.strip('"') for name, value in parts.items()}

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    secret, what = md5("user:r:pass"), md5(f"{request.method}:{fields['uri']}")
    expected = md5(f"{secret}:abc:{fields['nc']}:{fields['cnonce']}:auth:{what}")
    right = fields["response"] == expected
    await request.answer_json({"right": right, "size": len(request.body)}, 200 if right else 403)


async def packed(request: Conversation, rest: str) -> None:
    body = PACKED[rest]
    encoding = CONTENT_ENCODING.get(rest, rest.encode())
    fields = [] if rest == "identity" else [(b"content-encoding", encoding)]
    await request.answer(200, body, [*fields, (b"content-type", b"text/plain; charset=utf-8")])


async def ranged(request: Conversation, rest: str) -> None:
    whole = bytes(number % 256 for number in range(10_000))
    unit, _, span = request.header(b"range").decode().partition("=")
    fields = [(b"accept-ranges", b"bytes"), (b"etag", b'"v1"')]
    if request.header(b"if-none-match") == b'"v1"':
        await request.answer(304, b"", fields)
    elif unit != "bytes":
        await request.answer(200, whole, fields)
    else:
        first, _, last = span.partition("-")
        start = int(first) if first else len(whole) - int(last)
        end = min(int(last) if first and last else len(whole) - 1, len(whole) - 1)
        if start >= len(whole):
            await request.answer(416, b"", [*fields, (b"content-range", b"bytes */%d" % len(whole))])
        else:
            content_range = b"bytes %d-%d/%d" % (start, end, len(whole))
            await request.answer(206, whole[start : end + 1], [*fields, (b"content-range", content_range)])


async def large(request: Conversation, rest: str) -> None:
    await request.answer(200, bytes(range(256)) * (int(rest) // 256))


async def stream(request: Conversation, rest: str) -> None:
    pieces, size = rest.split("x")
    await request.stream(int(pieces), int(size))


async def slow(request: Conversation, rest: str) -> None:
    await asyncio.sleep(float(rest))
    await request.answer(200, b"at last")


async def drip(request: Conversation, rest: str) -> None:
    await request.stream(3, 10, float(rest))


async def odd(request: Conversation, rest: str) -> None:
    """Headers that are legal and rare."""
    await request.answer(
        200,
        "Grüße".encode("latin-1"),
        [
            (b"content-type", b"text/plain; charset=iso-8859-1"),
            (b"x-twice", b"one"),
            (b"x-twice", b"two, three"),
            (b"x-empty", b""),
            (b"x-high", b"caf\xe9"),
            (b"x-long", b"y" * 8_000),
            (b"link", b'</next>; rel="next", </last>; rel="last"'),
        ],
    )


async def lines(request: Conversation, rest: str) -> None:
    await request.answer(
        200, "first\r\nsecond\nthird\u2028still third\n\nlast".encode(), [(b"content-type", b"text/plain")]
    )


ROOMS: dict[str, Callable[[Conversation, str], Awaitable[None]]] = {
    "echo": echo,
    "status": status,
    "redirect": redirect,
    "chain": chain,
    "cookies": cookies,
    "basic": basic,
    "digest": digest,
    "packed": packed,
    "ranged": ranged,
    "large": large,
    "stream": stream,
    "slow": slow,
    "drip": drip,
    "odd": odd,
    "lines": lines,
}
