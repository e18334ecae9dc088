"""What httpx and httpx2 promise, over our transports: each check runs over the library's own transport and over ours.

The server is granian (hyper, in Rust), a program of its own; both transports must see the same of it, and it the same of
them. What is compared is listed in `tests/support/http2/side_by_side.py`.
"""

import asyncio
import io
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.http2.peers import ROOT, free_port
from tests.support.http2.servers import CERTIFICATES
from tests.support.http2.side_by_side import WAYS, Check, Side, Way, outcome, seen, seen_head

CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[function.__name__.replace("_", " ")] = function
    return function


def check_get(name: str, path: str, **options: Any) -> None:
    async def run(side: Side) -> Any:
        return await side.get(path, **options)

    CHECKS[name] = run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that speaks HTTP/2 and HTTP/1.1 over TLS."""
    directory = tmp_path_factory.mktemp("server")
    _, certificate, key = CERTIFICATES.write(directory)
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--http", "auto", "--ssl-certificate", certificate, "--ssl-keyfile", key, "--no-ws"]
    command += ["--log-level", "warning", "tests.support.http2.side_by_side_app:app"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            wait_until_listening(port, process)
            yield f"https://localhost:{port}"
        finally:
            process.terminate()
            process.wait(10)


def wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    import socket

    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended before it listened"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not listen")


# --- methods, URLs, headers ---


@check
async def each_method(side: Side) -> Any:
    results = []
    for method in ("GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "PURGE"):
        results.append(seen(await side.client.request(method, side.url + "/echo")))
    return results


check_get("a path and a query", "/echo/a%20b/c%2Fd;e=f?x=1&y=%C3%A4&z")
check_get("a path beyond ASCII", "/echo/ä/日本?q=ü")
check_get("params", "/echo", params={"a": ["1", "2"], "b": "x y", "c": "ä&="})
check_get("an empty query", "/echo?")
check_get("a fragment, which is not sent", "/echo?x=1#part")
check_get("headers of the caller", "/echo", headers=[("X-A", "1"), ("x-a", "2"), ("X-Empty", ""), ("Accept", "text/html")])
check_get("a header beyond ASCII", "/echo", headers={"x-name": "Grüße".encode("latin-1")})
check_get("a host of the caller", "/echo", headers={"Host": "other.test:81"})
check_get("a long header", "/echo", headers={"x-long": "y" * 15_000})
check_get("rare headers of the server", "/odd")
check_get("te, which only HTTP/2 limits", "/echo", headers={"te": "trailers"})


@check
async def a_target_of_the_extensions(side: Side) -> Any:
    return await side.get("/echo/url", extensions={"target": b"/echo/target?x=1"})


# --- statuses ---

for code in (200, 201, 202, 204, 206, 301, 304, 400, 401, 403, 404, 410, 418, 422, 429, 500, 503, 599):
    check_get(f"the status {code}", f"/status/{code}")


@check
async def raise_for_status(side: Side) -> Any:
    response = await side.client.get(side.url + "/status/404")
    with pytest.raises(side.library.HTTPStatusError) as caught:
        response.raise_for_status()
    return str(caught.value).replace(side.url, "")


# --- bodies of requests ---


@check
async def a_body_of_json(side: Side) -> Any:
    return await side.post("/echo", json={"a": [1, 2.5, None], "b": "ä"})


@check
async def a_body_of_bytes(side: Side) -> Any:
    return [await side.post("/echo", content=bytes(size)) for size in (0, 1, 16_384, 65_535, 65_536, 65_537, 1_000_000)]


@check
async def a_body_of_text(side: Side) -> Any:
    return await side.post("/echo", content="Grüße", headers={"content-type": "text/plain; charset=utf-8"})


@check
async def a_form(side: Side) -> Any:
    return await side.post("/echo", data={"a": "1", "b": ["x y", "ä"], "c": ""})


@check
async def a_body_from_an_iterator(side: Side) -> Any:
    return [await side.post("/echo", content=pieces(*sizes)) for sizes in ((), (5,), (1, 2, 3), (200_000, 7, 300_000))]


@check
async def a_body_from_an_iterator_with_a_length(side: Side) -> Any:
    return await side.post("/echo", content=pieces(100_000, 23), headers={"content-length": "100023"})


@check
async def a_body_from_an_iterator_that_raises(side: Side) -> Any:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        await side.post("/echo", content=broken())
    return await side.get("/echo")


@check
async def a_body_with_get(side: Side) -> Any:
    return seen(await side.client.request("GET", side.url + "/echo", content=b"odd"))


@check
async def one_part_of_a_multipart_form(side: Side) -> Any:
    return await side.post("/echo", files={"f": ("a.txt", b"hello", "text/plain")}, headers=BOUNDARY)


@check
async def many_parts_of_a_multipart_form(side: Side) -> Any:
    files = [("f", ("a.bin", bytes(100_000))), ("f", ("ü.txt", b"2", "text/x")), ("g", b"nameless")]
    return await side.post("/echo", files=files, data={"a": ["1", "2"], "b": "ä"}, headers=BOUNDARY)


@check
async def a_file_in_a_multipart_form(side: Side) -> Any:
    return await side.post("/echo", files={"f": ("big", io.BytesIO(bytes(3_000_000)))}, headers=BOUNDARY)


@check
async def an_empty_file_in_a_multipart_form(side: Side) -> Any:
    return await side.post("/echo", files={"f": ("none", b"")}, headers=BOUNDARY)


@check
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

    return await side.post("/echo", files={"f": ("pipe", Pipe())}, headers=BOUNDARY)  # type: ignore[dict-item]


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

check_get("a redirect that is not followed", "/redirect/302?to=/echo")
check_get("five redirects and their cookies", "/chain/5", follow_redirects=True)
check_get("too many redirects", "/chain/30", follow_redirects=True)
check_get("a redirect to another scheme", "/redirect/302?to=ftp://localhost/x", follow_redirects=True)
check_get("a redirect to a relative path", "/redirect/302?to=../echo/relative", follow_redirects=True)
check_get("a redirect to no host", "/redirect/302?to=https://", follow_redirects=True)


@check
async def a_redirected_stream_cannot_be_sent_again(side: Side) -> Any:
    try:
        return await side.post("/redirect/307?to=/echo", content=pieces(5), follow_redirects=True)
    except side.library.StreamConsumed as error:
        return type(error).__name__


@check
async def a_redirected_form_with_a_file(side: Side) -> Any:
    files = {"f": ("a.txt", io.BytesIO(b"hello" * 1_000))}
    return await side.post("/redirect/307?to=/echo", files=files, headers=BOUNDARY, follow_redirects=True)


@check
async def next_request(side: Side) -> Any:
    first = await side.client.get(side.url + "/redirect/302?to=/echo/next")
    return seen(await side.client.send(first.next_request))


# --- cookies, auth, hooks ---


@check
async def cookies_are_kept_and_sent(side: Side) -> Any:
    await side.get("/cookies/a=1; Path=/|b=two; Path=/; Secure; HttpOnly|c=3; Path=/elsewhere")
    return [await side.get("/cookies"), await side.get("/cookies/a=; Path=/; Max-Age=0"), await side.get("/cookies")]


@check
async def cookies_of_the_client(side: Side) -> Any:
    side.client.cookies.set("mine", "yes")
    return await side.get("/cookies")


@check
async def basic_auth(side: Side) -> Any:
    return [await side.get("/basic/me:secret%20word", auth=("me", "secret word")), await side.get("/basic/me:other")]


@check
async def digest_auth(side: Side) -> Any:
    auth = side.library.DigestAuth("user", "pass")
    return [await side.get("/digest", auth=auth), await side.post("/digest", auth=auth, content=b"x" * 100_000)]


@check
async def digest_auth_with_the_wrong_password(side: Side) -> Any:
    return await side.get("/digest", auth=side.library.DigestAuth("user", "wrong"))


@check
async def an_auth_that_reads_the_response(side: Side) -> Any:
    class Twice(side.library.Auth):  # type: ignore[name-defined, misc]
        requires_request_body = True
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            response = yield request
            request.headers["x-before"] = str(len(response.content) + len(request.content))
            yield request

    return await side.post("/echo", content=b"abc", auth=Twice())


@check
async def user_and_password_in_the_url(side: Side) -> Any:
    url = side.url.replace("https://", "https://me:secret@") + "/basic/me:secret"
    return seen(await side.client.get(url))


@check
async def event_hooks(side: Side) -> Any:
    async def before(request: Any) -> None:
        request.headers["x-hook"] = "1"
        side.notes.append((request.method, request.url.raw_path))

    async def after(response: Any) -> None:
        await response.aread()
        side.notes.append((response.status_code, len(response.content)))

    side.client.event_hooks = {"request": [before], "response": [after]}
    return await side.get("/chain/2", follow_redirects=True)


@check
async def a_hook_called_trace(side: Side) -> Any:
    """The names of the events are each transport's own; that there are some, in the call's own task, is common."""
    names: list[tuple[str, bool]] = []
    task = asyncio.current_task()

    async def trace(name: str, info: Any) -> None:
        await asyncio.sleep(0)
        names.append((name, asyncio.current_task() is task))

    result = await side.get("/echo", extensions={"trace": trace})
    return result, len(names) >= 4, {mine for _, mine in names}


# --- encodings ---

for encoding in ("identity", "gzip", "deflate", "twice", "zstd", "br", "broken"):
    check_get(f"the encoding {encoding}", f"/packed/{encoding}")


@check
async def what_is_raw_stays_packed(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/packed/gzip") as response:
        raw = b"".join([data async for data in response.aiter_raw()])
        return raw, response.num_bytes_downloaded, response.is_stream_consumed


check_get("accept-encoding of the caller", "/echo", headers={"accept-encoding": "identity"})


# --- ranges, large bodies, streams ---

for span in ("0-99", "500-", "-100", "9999-20000", "20000-"):
    check_get(f"the range {span}", "/ranged", headers={"range": f"bytes={span}"})
check_get("if-none-match", "/ranged", headers={"if-none-match": '"v1"'})
check_get("an empty body", "/large/0")
check_get("a large body with a length", "/large/20000000")
check_get("a large body without a length", "/stream/400x40000")
check_get("many small pieces", "/stream/2000x3")


@check
async def a_stream_in_chunks_of_a_size(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/large/1000192") as response:
        return [len(data) async for data in response.aiter_bytes(100_000)]


@check
async def a_stream_in_lines(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/lines") as response:
        return [line async for line in response.aiter_lines()]


@check
async def a_stream_in_text(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/odd") as response:
        return "".join([text async for text in response.aiter_text()])


@check
async def a_stream_that_is_left(side: Side) -> Any:
    results = []
    for _ in range(3):
        async with side.client.stream("GET", side.url + "/stream/500x10000") as response:
            async for data in response.aiter_bytes(1_000):
                results.append((seen_head(response), len(data)))
                break
        results.append((response.is_closed, response.is_stream_consumed))
    return results, await side.get("/echo")


@check
async def a_stream_that_is_read_twice(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/stream/3x10") as response:
        first = [data async for data in response.aiter_raw()]
        side.notes.append(len(b"".join(first)))
        return [data async for data in response.aiter_raw()]


@check
async def a_stream_that_is_read_after_its_end(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/stream/3x10") as response:
        pass
    return await response.aread()


@check
async def content_before_it_is_read(side: Side) -> Any:
    async with side.client.stream("GET", side.url + "/stream/3x10") as response:
        with pytest.raises(side.library.ResponseNotRead):
            response.content  # noqa: B018
        return (await response.aread()), response.text


@check
async def send_with_stream(side: Side) -> Any:
    request = side.client.build_request("GET", side.url + "/stream/3x10")
    response = await side.client.send(request, stream=True)
    body = await response.aread()
    await response.aclose()
    return seen_head(response), body


# --- time limits, concurrency, the client's own doing ---


@check
async def a_read_timeout_before_the_head(side: Side) -> Any:
    return await side.get("/slow/5", timeout=side.library.Timeout(5, read=0.1))


@check
async def a_read_timeout_in_the_body(side: Side) -> Any:
    return await side.get("/drip/5", timeout=side.library.Timeout(5, read=0.2))


@check
async def a_slow_answer_within_its_time(side: Side) -> Any:
    return await side.get("/slow/0.1", timeout=side.library.Timeout(5, read=2))


@check
async def no_time_limit(side: Side) -> Any:
    return await side.get("/slow/0.05", timeout=None)


@check
async def cancelling_a_call(side: Side) -> Any:
    task = asyncio.create_task(side.get("/slow/5"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return await side.get("/echo")


@check
async def many_calls_at_once(side: Side) -> Any:
    return await asyncio.gather(*(side.get(f"/echo/{number}") for number in range(30)))


@check
async def one_call_after_the_other(side: Side) -> Any:
    return [await side.get(f"/echo/{number}") for number in range(10)]


@check
async def a_request_that_is_sent_twice(side: Side) -> Any:
    request = side.client.build_request("POST", side.url + "/echo", json={"a": 1})
    return [seen(await side.client.send(request)) for _ in range(2)]


@check
async def a_base_url_and_defaults(side: Side) -> Any:
    side.client.base_url = side.url + "/echo/v1/"
    side.client.headers["x-default"] = "yes"
    side.client.params = {"key": "value"}
    return [seen(await side.client.get("models")), seen(await side.client.get("/models", params={"a": "b"}))]


@check
async def a_closed_client(side: Side) -> Any:
    await side.client.aclose()
    with pytest.raises(RuntimeError) as caught:
        await side.get("/echo")
    return str(caught.value)


@check
async def a_port_where_nobody_listens(side: Side) -> Any:
    return seen(await side.client.get(f"https://localhost:{free_port()}/"))


@check
async def a_name_that_does_not_exist(side: Side) -> Any:
    return seen(await side.client.get("https://nowhere.invalid/"))


@check
async def a_certificate_of_another_name(side: Side) -> Any:
    return seen(await side.client.get(side.url.replace("localhost", "127.0.0.2") + "/echo"))


@check
async def plain_http_to_a_tls_port(side: Side) -> Any:
    result = await side.client.get(side.url.replace("https", "http") + "/echo")
    return result.status_code


@check
async def no_scheme_that_is_known(side: Side) -> Any:
    return seen(await side.client.get("ftp://localhost/"))


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


def test_there_are_enough_checks() -> None:
    assert len(CHECKS) >= 70
