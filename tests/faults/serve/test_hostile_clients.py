"""Clients of the endpoint that send nothing, half of something, too much, or a name that is not theirs."""

import asyncio
import json
import signal
import struct
from pathlib import Path

import httpx
import pytest

from tests.support.http2.raw import END_HEADERS, END_STREAM, GOAWAY, HEADERS, block, frame
from tests.support.http2.raw_client import GET, ask, raw_client
from tests.support.serve.attackers import all_files, sockets
from tests.support.serve.endpoint import Endpoint, endpoint, free_port
from tests.support.serve.load import serving
from transports.http2 import Pool, PoolOptions, Request

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "good day"}]}
HALF = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nthree-mode-within: 3600\r\ncontent-length: 900\r\n\r\n{"
)
FILES_BESIDE = 512  # open files of the test itself


async def chat(found: Endpoint, within: float = 20.0) -> httpx.Response:
    async with httpx.AsyncClient(base_url=found.url, timeout=within) as http:
        return await http.post("/v1/chat/completions", json=CHAT)


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/comp"])
async def test_more_silent_sockets_than_there_are_places_keep_nobody_out(sent: bytes) -> None:
    async with all_files() as files, endpoint() as found:
        count = min(2_200, (files - FILES_BESIDE) // 2)  # both ends are in this process
        async with sockets(found.app.options.port, count, sent):
            assert (await chat(found)).status_code == 200


async def test_half_bodies_hold_no_places() -> None:
    async with endpoint(max_in_flight=4) as found, sockets(found.app.options.port, 40, HALF):
        async with asyncio.timeout(10):
            while found.app.metrics.in_flight < 40:  # noqa: ASYNC110  (the endpoint has no hook to wait on)
                await asyncio.sleep(0.01)
        assert (await chat(found)).status_code == 200


async def test_half_bodies_share_one_bound_of_memory() -> None:
    head = HALF.replace(b"900", b"900000") + b"x" * 400_000
    async with endpoint(max_body=1_000_000, max_bodies=1_000_000) as found:
        async with sockets(found.app.options.port, 12, head):
            async with asyncio.timeout(10):
                while "overloaded" not in str(found.app.metrics.text(0, 0)) and found.app.metrics.in_flight < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert found.app.endpoint.bodies.total <= 1_000_000
            assert (await chat(found)).status_code == 200


async def test_sigterm_ends_the_server_beside_an_idle_http2_connection() -> None:
    port = free_port()
    async with serving(port) as process, raw_client(port) as idle, raw_client(port) as used, raw_client(port) as silent:
        await idle.greet()
        await used.greet()
        await used.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(*GET[:3], (":path", "/healthz"))))
        assert (await used.response(1))[0] == 200
        process.send_signal(signal.SIGTERM)
        for client, last in ((idle, 0), (used, 1)):
            goodbye = await client.until(GOAWAY)
            assert goodbye.payload == struct.pack(">II", last, 0)
            assert await client.frame() is None
        assert await silent.rest() == b""
        assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_thirty_megabytes_are_answered(protocol: str) -> None:
    async with endpoint() as found, Pool(PoolOptions(protocol=protocol, trust_env=False)) as pool:  # type: ignore[arg-type]
        request = Request.to("POST", found.url + "/v1/chat/completions", (), b"x" * 30_000_000)
        reply = await asyncio.wait_for(pool.fetch(request), 30)
        assert (reply.status, json.loads(reply.content)["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("option", ["--http1.1", "--http2-prior-knowledge"])
async def test_thirty_megabytes_by_curl(tmp_path: Path, option: str) -> None:
    (tmp_path / "body").write_bytes(b"x" * 30_000_000)
    async with endpoint() as found:
        curl = await asyncio.create_subprocess_exec(
            "curl", "-s", option, "-m", "30", "--data-binary", f"@{tmp_path / 'body'}", "-w", "\n%{http_code}",
            found.url + "/v1/chat/completions", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await curl.communicate()
    said, _, status = out.decode().rpartition("\n")
    assert (status, json.loads(said)["error"]["code"]) == ("413", "body_too_large")


@pytest.mark.parametrize(
    ("status", "data"),
    [
        (400, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n"),
        (400, b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 40),
        (400, b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n\r\n"),
        (403, b"GET /v1/models HTTP/1.1\r\nhost: [::1].evil.example\r\nconnection: close\r\n\r\n"),
        (403, b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1.evil.example\r\nconnection: close\r\n\r\n"),
        (403, b"GET http://evil.example/v1/models HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"),
        (400, b"GET http://evil.example/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        (200, b"GET /v1/models HTTP/1.1\r\nhost: [::1]:8080\r\nconnection: close\r\n\r\n"),
    ],
)
async def test_wrong_heads_have_their_status(status: int, data: bytes) -> None:
    async with endpoint() as found:
        answer = await ask(found.app.options.port, data)
    assert int(answer.split()[1]) == status


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (400, ((":authority", "evil.example"), ("host", "localhost"))),
        (403, ((":authority", "evil.example"),)),
        (403, ((":authority", "[::1].evil.example"),)),
        (403, (("host", "evil.example"),)),
        (200, ((":authority", "localhost"), ("host", "localhost"))),
    ],
)
async def test_an_authority_that_is_not_loopback_is_refused(status: int, fields: tuple[tuple[str, str], ...]) -> None:
    head = block(*GET[:2], (":path", "/v1/models"), *fields)
    async with endpoint() as found, raw_client(found.app.options.port) as client:
        await client.greet()
        await client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, head))
        assert (await client.response(1))[0] == status
