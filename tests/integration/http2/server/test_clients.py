"""The server, asked by programs that others wrote: curl, nghttp, h2load, httpx, websockets; and by our own pool."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import uvloop
import websockets

from tests.support.agents.until import until
from tests.support.http2.asgi import Application
from tests.support.http2.raw_client import ask, raw_client
from transports.http2 import Pool, PoolOptions, Request, StreamReset
from transports.http2.server import Server, ServerOptions

PATIENCE = 60


async def run(*command: str | Path, given: bytes = b"") -> str:
    """What the program said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(given), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()
    return said.decode()


class Certificate:
    """A server's certificate, and the file of those who trust it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        self.trust = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.trust)
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issued.configure_cert(self.server)

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.trust))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(Application()) as running:
        yield running


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


@pytest.fixture
async def secure(certificate: Certificate) -> AsyncIterator[Server]:
    async with Server(Application(), ServerOptions(ssl_context=certificate.server)) as running:
        yield running


@pytest.mark.parametrize(
    ("option", "version"), [("--http1.1", "1.1"), ("--http1.0", "1.1"), ("--http2-prior-knowledge", "2")]
)
async def test_curl(server: Server, tmp_path: Path, option: str, version: str) -> None:
    """A body of 5 MB, which curl sends in HTTP/1.1 only after `100 Continue`."""
    file = tmp_path / "body"
    file.write_bytes(bytes(range(256)) * 20_000)
    told = await run(
        "curl", "-sS", option, "--data-binary", f"@{file}", "-o", tmp_path / "out",
        "-w", "%{http_version} %{http_code} %{time_total}", f"http://127.0.0.1:{server.port}/echo",
    )  # fmt: skip
    assert told.split()[:2] == [version, "200"]
    assert (tmp_path / "out").read_bytes() == file.read_bytes()


async def test_curl_waits_for_a_word_before_it_sends(server: Server, tmp_path: Path) -> None:
    said = await run(
        "curl", "-sSv", "--http1.1", "-H", "expect: 100-continue", "-d", "hello",
        f"http://127.0.0.1:{server.port}/echo", f"http://127.0.0.1:{server.port}/unread",
    )  # fmt: skip
    assert said.count("100 Continue") == 1, "of a body that is not read, none is asked for"
    assert said.count("200 OK") == 2


@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
async def test_curl_over_tls(
    secure: Server, certificate: Certificate, tmp_path: Path, option: str, version: str
) -> None:
    (tmp_path / "body").write_bytes(b"x" * 3_000_000)
    told = await run(
        "curl", "-sS", option, "--cacert", certificate.trust, "--data-binary", f"@{tmp_path / 'body'}",
        "-o", tmp_path / "out", "-w", "%{http_version} %{http_code}", f"https://127.0.0.1:{secure.port}/echo",
    )  # fmt: skip
    assert told == f"{version} 200"
    assert (tmp_path / "out").read_bytes() == b"x" * 3_000_000


async def test_nghttp_reads_trailers_and_sends_large_bodies(server: Server, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.port}"
    said = await run("nghttp", "-nv", f"{url}/stream")
    assert "grpc-status: 0" in said
    (tmp_path / "body").write_bytes(b"x" * 3_000_000)
    said = await run("nghttp", "-ns", "-d", tmp_path / "body", f"{url}/echo")
    assert " 200 " in said


@pytest.mark.parametrize("arguments", [("-m", "50"), ("--h1",)])
async def test_h2load(server: Server, arguments: tuple[str, ...]) -> None:
    said = await run("h2load", "-n", "2000", "-c", "8", *arguments, f"http://127.0.0.1:{server.port}/")
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in said


async def test_h2load_over_tls_with_bodies(secure: Server, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x" * 10_000)
    url = f"https://127.0.0.1:{secure.port}/echo"
    said = await run("h2load", "-n", "500", "-c", "4", "-m", "20", "-d", tmp_path / "body", url)
    assert "500 succeeded, 0 failed, 0 errored, 0 timeout" in said


async def test_httpx_over_both_protocols(secure: Server, certificate: Certificate) -> None:
    for http2 in (False, True):
        async with httpx.AsyncClient(http2=http2, verify=certificate.client(), timeout=PATIENCE) as http:
            url = f"https://127.0.0.1:{secure.port}"
            reply = await http.post(f"{url}/echo", content=b"x" * 1_000_000)
            assert (reply.http_version, reply.content) == ("HTTP/2" if http2 else "HTTP/1.1", b"x" * 1_000_000)
            assert (await http.get(f"{url}/stream")).text == "one two three"
            assert (await http.head(f"{url}/")).headers["content-length"] == "5"
            assert (await http.get(f"{url}/fails")).status_code == 500
            with pytest.raises(httpx.RemoteProtocolError):
                await http.get(f"{url}/breaks")
    scope = next(one for one in Application.scopes_of(secure.application) if one["http_version"] == "2")
    assert (scope["scheme"], scope["method"], scope["client"][0]) == ("https", "POST", "127.0.0.1")


async def test_our_pool_many_at_once_and_trailers(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}"
    async with Pool(PoolOptions(protocol="h2", trust_env=False)) as pool:
        replies = await asyncio.gather(
            *(pool.fetch(Request.to("POST", f"{url}/echo", (), b"%d" % n * 1_000)) for n in range(500))
        )
        assert [reply.content for reply in replies] == [b"%d" % n * 1_000 for n in range(500)]
        async with pool.request(Request.to("GET", f"{url}/stream")) as response:
            while await response.chunk():
                pass
            assert response.trailers == [(b"grpc-status", b"0")]
        with pytest.raises(StreamReset):
            await pool.fetch(Request.to("GET", f"{url}/breaks"))
        (statistics,) = pool.statistics().values()
        assert statistics.lost == 0


async def test_what_http_1_can_do_besides(server: Server) -> None:
    head = b"GET /stream HTTP/1.%d\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    chunked = await ask(server.port, head % 1)
    assert chunked.endswith(b"\r\n\r\n4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\ngrpc-status: 0\r\n\r\n")
    until_the_end = await ask(server.port, head % 0)
    assert until_the_end.endswith(b"\r\n\r\none two three")
    kept = b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n" * 2 + head % 1
    assert (await ask(server.port, kept)).count(b"connection: keep-alive") == 2
    async with raw_client(server.port) as client:
        for byte in b"\r\nPOST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc":
            await client.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await client.rest()).endswith(b"abc")


async def test_websockets(secure: Server, certificate: Certificate) -> None:
    url = f"wss://127.0.0.1:{secure.port}"
    trusted: dict[str, Any] = {"ssl": certificate.client()}
    async with websockets.connect(f"{url}/chat?a=b", subprotocols=["one", "two"], **trusted) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "one"
        for message in ("text", b"bytes", "x" * 200_000, b"y" * 500_000, ""):
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send(["in ", "three ", "parts"])
        assert await socket.recv() == "in three parts"
        await (await socket.ping())
        await socket.send("x" * 2_000_000)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"{url}/no", **trusted)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (b"sec-websocket-version: 12", 426),
        (b"sec-websocket-key: short", 400),
        (b"content-length: 3", 400),
    ],
)
async def test_a_handshake_that_is_none(server: Server, field: bytes, status: int) -> None:
    fields = {
        b"host": b"localhost",
        b"connection": b"Upgrade",
        b"upgrade": b"websocket",
        b"sec-websocket-version": b"13",
        b"sec-websocket-key": b"AAAAAAAAAAAAAAAAAAAAAA==",
    }
    name, _, value = field.partition(b": ")
    fields[name] = value
    lines = b"".join(b"%b: %b\r\n" % one for one in fields.items())
    answer = await ask(server.port, b"GET / HTTP/1.1\r\n" + lines + b"\r\n")
    assert int(answer.split()[1]) == status


async def test_a_websocket_whose_client_is_silent_is_pinged_and_then_closed() -> None:
    application = Application()
    async with Server(application, ServerOptions(websocket_ping_every=0.3)) as server:
        async with websockets.connect(f"ws://127.0.0.1:{server.port}/") as alive:
            async with raw_client(server.port) as dead:
                await dead.send(
                    b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
                )
                assert (await dead.rest()).startswith(b"HTTP/1.1 101 ")
            assert application.gone == 1
            await alive.send("still here")
            assert await alive.recv() == "still here"


async def test_closing_says_goodbye_to_websockets_and_ends_the_lifespan() -> None:
    application = Application()
    async with Server(application) as server:
        socket = await websockets.connect(f"ws://127.0.0.1:{server.port}/")
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert application.lifespan == ["lifespan.startup", "lifespan.shutdown"]
    assert application.running == 0


async def test_closing_cancels_what_does_not_end() -> None:
    application = Application()
    async with Server(application, ServerOptions(close_within=0.1)) as server:
        async with Pool(PoolOptions(protocol="h2", trust_env=False)) as pool:
            asked = asyncio.create_task(pool.fetch(Request.to("GET", f"http://127.0.0.1:{server.port}/held")))
            await until(lambda: application.running == 1)
            await server.close()
            assert (await asked).status == 503
    assert application.running == 0


async def test_on_uvloop_too(certificate: Certificate) -> None:
    def in_a_thread(work: Coroutine[Any, Any, None]) -> None:
        uvloop.run(work)

    async def scenario() -> None:
        async with Server(Application(), ServerOptions(ssl_context=certificate.server)) as secure:
            await test_httpx_over_both_protocols(secure, certificate)
            await test_websockets(secure, certificate)
        async with Server(Application()) as plain:
            await test_our_pool_many_at_once_and_trailers(plain)
            await test_what_http_1_can_do_besides(plain)

    await asyncio.to_thread(in_a_thread, scenario())
