"""Requests of httpx and httpx2 over our transports: each check runs over the library's own transport too.

What is compared is listed in `tests/support/http2/side_by_side.py`. Both transports show the client the same, and the
server sees the same of both.
"""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.http2.side_by_side import WAYS, Checks, Side, Way, outcome, seen

CHECKS = Checks()


# --- methods, URLs, headers ---


@CHECKS.add
async def each_method(side: Side) -> Any:
    methods = ("GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "PURGE")
    return [seen(await side.client.request(method, side.url + "/echo")) for method in methods]


CHECKS.add_get("a path and a query", "/echo/a%20b/c%2Fd;e=f?x=1&y=%C3%A4&z")
CHECKS.add_get("a path beyond ASCII", "/echo/ä/日本?q=ü")
CHECKS.add_get("params", "/echo", params={"a": ["1", "2"], "b": "x y", "c": "ä&="})
CHECKS.add_get("an empty query", "/echo?")
CHECKS.add_get("a fragment, which is not sent", "/echo?x=1#part")
CHECKS.add_get(
    "headers of the caller", "/echo", headers=[("X-A", "1"), ("x-a", "2"), ("X-Empty", ""), ("Accept", "text/html")]
)
CHECKS.add_get("a header beyond ASCII", "/echo", headers={"x-name": "Grüße".encode("latin-1")})
CHECKS.add_get("a host of the caller", "/echo", headers={"Host": "other.test:81"})
CHECKS.add_get("a long header", "/echo", headers={"x-long": "y" * 15_000})
CHECKS.add_get("rare headers of the server", "/odd")
CHECKS.add_get("te, which only HTTP/2 limits", "/echo", headers={"te": "trailers"})


@CHECKS.add
async def a_target_of_the_extensions(side: Side) -> Any:
    return await side.get("/echo/url", extensions={"target": b"/echo/target?x=1"})


# --- statuses ---

for code in (200, 201, 202, 204, 206, 301, 304, 400, 401, 403, 404, 410, 418, 422, 429, 500, 503, 599):
    CHECKS.add_get(f"the status {code}", f"/status/{code}")


@CHECKS.add
async def raise_for_status(side: Side) -> Any:
    response = await side.client.get(side.url + "/status/404")
    with pytest.raises(side.library.HTTPStatusError) as caught:
        response.raise_for_status()
    return str(caught.value).replace(side.url, "")


# --- bodies of requests ---


@CHECKS.add
async def a_body_of_json(side: Side) -> Any:
    return await side.post("/echo", json={"a": [1, 2.5, None], "b": "ä"})


@CHECKS.add
async def a_body_of_bytes(side: Side) -> Any:
    return [await side.post("/echo", content=bytes(size)) for size in (0, 1, 16_384, 65_535, 65_536, 65_537, 1_000_000)]


@CHECKS.add
async def a_body_of_text(side: Side) -> Any:
    return await side.post("/echo", content="Grüße", headers={"content-type": "text/plain; charset=utf-8"})


@CHECKS.add
async def a_form(side: Side) -> Any:
    return await side.post("/echo", data={"a": "1", "b": ["x y", "ä"], "c": ""})


@CHECKS.add
async def a_body_from_an_iterator(side: Side) -> Any:
    return [await side.post("/echo", content=pieces(*sizes)) for sizes in ((), (5,), (1, 2, 3), (200_000, 7, 300_000))]


@CHECKS.add
async def a_body_from_an_iterator_with_a_length(side: Side) -> Any:
    return await side.post("/echo", content=pieces(100_000, 23), headers={"content-length": "100023"})


@CHECKS.add
async def a_body_from_an_iterator_that_raises(side: Side) -> Any:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        await side.post("/echo", content=broken())
    return await side.get("/echo")


@CHECKS.add
async def a_body_with_get(side: Side) -> Any:
    return seen(await side.client.request("GET", side.url + "/echo", content=b"odd"))


@CHECKS.add
async def one_part_of_a_multipart_form(side: Side) -> Any:
    return await side.post("/echo", files={"f": ("a.txt", b"hello", "text/plain")}, headers=BOUNDARY)


@CHECKS.add
async def many_parts_of_a_multipart_form(side: Side) -> Any:
    files = [("f", ("a.bin", bytes(100_000))), ("f", ("ü.txt", b"2", "text/x")), ("g", b"nameless")]
    return await side.post("/echo", files=files, data={"a": ["1", "2"], "b": "ä"}, headers=BOUNDARY)


@CHECKS.add
async def a_file_in_a_multipart_form(side: Side) -> Any:
    return await side.post("/echo", files={"f": ("big", io.BytesIO(bytes(3_000_000)))}, headers=BOUNDARY)


@CHECKS.add
async def an_empty_file_in_a_multipart_form(side: Side) -> Any:
    return await side.post("/echo", files={"f": ("none", b"")}, headers=BOUNDARY)


@CHECKS.add
async def a_multipart_form_without_a_length(side: Side) -> Any:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.left = 200_000

        def read(self, size: int = -1) -> bytes:
            size = min(size if size >= 0 else self.left, self.left)
            self.left -= size
            return b"p" * size

        def fileno(self) -> int:
            raise io.UnsupportedOperation("not a file")

        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise io.UnsupportedOperation("not seekable")

        def seek(self, *where: int) -> int:
            raise io.UnsupportedOperation("not seekable")

    return await side.post("/echo", files={"f": ("pipe", Pipe())}, headers=BOUNDARY)


BOUNDARY = {"content-type": "multipart/form-data; boundary=----contract"}


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    for number, size in enumerate(sizes):
        yield bytes([number]) * size


# --- redirects ---

for code in (301, 302, 303, 307, 308):

    async def follow_get(side: Side, code: int = code) -> Any:
        return await side.get(f"/redirect/{code}?to=/echo/there", follow_redirects=True)

    async def follow_post(side: Side, code: int = code) -> Any:
        return await side.post(f"/redirect/{code}?to=/echo/there", content=b"body", follow_redirects=True)

    async def follow_head(side: Side, code: int = code) -> Any:
        url = f"{side.url}/redirect/{code}?to=/echo/there"
        return seen(await side.client.head(url, follow_redirects=True))

    CHECKS[f"a GET redirected with {code}"] = follow_get
    CHECKS[f"a POST redirected with {code}"] = follow_post
    CHECKS[f"a HEAD redirected with {code}"] = follow_head

CHECKS.add_get("a redirect that is not followed", "/redirect/302?to=/echo")
CHECKS.add_get("five redirects and their cookies", "/chain/5", follow_redirects=True)
CHECKS.add_get("too many redirects", "/chain/30", follow_redirects=True)
CHECKS.add_get("a redirect to another scheme", "/redirect/302?to=ftp://localhost/x", follow_redirects=True)
CHECKS.add_get("a redirect to a relative path", "/redirect/302?to=../echo/relative", follow_redirects=True)
CHECKS.add_get("a redirect to no host", "/redirect/302?to=https://", follow_redirects=True)


@CHECKS.add
async def a_redirected_stream_cannot_be_sent_again(side: Side) -> Any:
    try:
        return await side.post("/redirect/307?to=/echo", content=pieces(5), follow_redirects=True)
    except side.library.StreamConsumed as error:
        return type(error).__name__


@CHECKS.add
async def a_redirected_form_with_a_file(side: Side) -> Any:
    files = {"f": ("a.txt", io.BytesIO(b"hello" * 1_000))}
    return await side.post("/redirect/307?to=/echo", files=files, headers=BOUNDARY, follow_redirects=True)


@CHECKS.add
async def next_request(side: Side) -> Any:
    first = await side.client.get(side.url + "/redirect/302?to=/echo/next")
    return seen(await side.client.send(first.next_request))


# --- cookies, auth, hooks ---


@CHECKS.add
async def cookies_are_kept_and_sent(side: Side) -> Any:
    await side.get("/cookies/a=1; Path=/|b=two; Path=/; Secure; HttpOnly|c=3; Path=/elsewhere")
    return [await side.get("/cookies"), await side.get("/cookies/a=; Path=/; Max-Age=0"), await side.get("/cookies")]


@CHECKS.add
async def cookies_of_the_client(side: Side) -> Any:
    side.client.cookies.set("mine", "yes")
    return await side.get("/cookies")


@CHECKS.add
async def basic_auth(side: Side) -> Any:
    return [await side.get("/basic/me:secret%20word", auth=("me", "secret word")), await side.get("/basic/me:other")]


@CHECKS.add
async def digest_auth(side: Side) -> Any:
    auth = side.library.DigestAuth("user", "pass")
    return [await side.get("/digest", auth=auth), await side.post("/digest", auth=auth, content=b"x" * 100_000)]


@CHECKS.add
async def digest_auth_with_the_wrong_password(side: Side) -> Any:
    return await side.get("/digest", auth=side.library.DigestAuth("user", "wrong"))


@CHECKS.add
async def an_auth_that_reads_the_response(side: Side) -> Any:
    class Twice(side.library.Auth):  # type: ignore[name-defined, misc]
        requires_request_body = True
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            response = yield request
            request.headers["x-before"] = str(len(response.content) + len(request.content))
            yield request

    return await side.post("/echo", content=b"abc", auth=Twice())


@CHECKS.add
async def user_and_password_in_the_url(side: Side) -> Any:
    url = side.url.replace("https://", "https://me:secret@") + "/basic/me:secret"
    return seen(await side.client.get(url))


@CHECKS.add
async def event_hooks(side: Side) -> Any:
    async def before(request: Any) -> None:
        request.headers["x-hook"] = "1"
        side.notes.append((request.method, request.url.raw_path))

    async def after(response: Any) -> None:
        await response.aread()
        side.notes.append((response.status_code, len(response.content)))

    side.client.event_hooks = {"request": [before], "response": [after]}
    return await side.get("/chain/2", follow_redirects=True)


@CHECKS.add
async def a_hook_called_trace(side: Side) -> Any:
    """The names of the events are each transport's own; that there are some, in the call's own task, is common."""
    names: list[tuple[str, bool]] = []
    task = asyncio.current_task()

    async def trace(name: str, info: Any) -> None:
        await asyncio.sleep(0)
        names.append((name, asyncio.current_task() is task))

    result = await side.get("/echo", extensions={"trace": trace})
    return result, len(names) >= 4, {mine for _, mine in names}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("name", CHECKS)
async def test_both_transports_show_the_same(name: str, way: Way, server: str) -> None:
    theirs = await outcome(CHECKS[name], way, way.its_transport(), server)
    ours = await outcome(CHECKS[name], way, way.our_transport(), server)
    assert ours == theirs


@pytest.mark.parametrize("way", WAYS, ids=str)
async def test_what_cannot_be_sent_is_refused_before_it_is_sent(way: Way, server: str) -> None:
    """The libraries do so over HTTP/1.1 alone: over HTTP/2 their server finds out."""

    async def line_end(side: Side) -> Any:
        return await side.get("/echo", headers={"x": "a\r\nb: c"})

    async def method(side: Side) -> Any:
        return await side.client.request("GE T", side.url + "/echo")

    for bad in (line_end, method):
        ours = await outcome(bad, way, way.our_transport(), server)
        assert ours == (("raised", "LocalProtocolError", b"/echo"), {}, [])
        if not way.http2:
            assert ours == await outcome(bad, way, way.its_transport(), server)
