"""The endpoint on real sockets, asked by the official SDK, curl and a WebSocket client."""

import asyncio
import contextlib
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import trustme
import websockets

from tests.support.serve.endpoint import Endpoint, endpoint
from three_mode.serve import Tls
from transports.http2 import Pool, PoolOptions, Request

USER = [{"role": "user", "content": "good day to you"}]


@pytest.fixture
async def running() -> AsyncIterator[Endpoint]:
    async with endpoint() as found:
        yield found


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> Tls:
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(tmp_path / "cert.pem", append=True)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return Tls(tmp_path / "cert.pem", tmp_path / "key.pem")


def client(url: str, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, **options)


async def test_the_openai_sdk_whole_and_streamed(running: Endpoint) -> None:
    async with client(running.url) as sdk:
        reply = await sdk.chat.completions.create(model="echo", messages=USER, temperature=0)  # type: ignore[arg-type]
        assert reply.choices[0].message.content == "good day to you "
        assert reply.usage is not None
        assert (reply.usage.total_tokens, reply.usage.prompt_tokens_details.cached_tokens) == (7, 2)  # type: ignore[union-attr]
        chunks = [
            chunk
            async for chunk in await sdk.chat.completions.create(
                model="echo",
                messages=USER,
                stream=True,
                stream_options={"include_usage": True},  # type: ignore[arg-type]
            )
        ]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "good day to you "
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.total_tokens == 7
    assert running.backend.seen[0].temperature == 0


async def test_tools_streamed_and_whole(running: Endpoint) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    async with client(running.url) as sdk:
        reply = await sdk.chat.completions.create(model="tool", messages=USER, tools=tools)  # type: ignore[arg-type]
        assert [call.function.name for call in reply.choices[0].message.tool_calls] == ["add", "mul"]  # type: ignore[union-attr]
        async with sdk.chat.completions.stream(model="tool", messages=USER, tools=tools) as events:  # type: ignore[arg-type]
            whole = await events.get_final_completion()
    calls = whole.choices[0].message.tool_calls
    assert calls is not None
    assert [(call.id, call.function.arguments) for call in calls] == [("call_a", '{"x":1}'), ("call_b", "{}")]
    assert whole.choices[0].finish_reason == "tool_calls"


async def test_embeddings_and_models(running: Endpoint) -> None:
    async with client(running.url) as sdk:
        found = await sdk.embeddings.create(model="embedder", input=["a", "bcd"])
        assert [item.embedding for item in found.data] == [[1.0, 0.5], [3.0, 0.5]], "the SDK asks for base64"
        assert [model.id for model in (await sdk.models.list()).data] == ["echo", "agent:echo"]
        with pytest.raises(openai.NotFoundError):
            await sdk.embeddings.create(model="other", input="a")


async def test_errors_have_the_sdks_classes(running: Endpoint) -> None:
    async with client(running.url) as sdk:
        with pytest.raises(openai.BadRequestError, match="unknown role 'robot'") as bad:
            await sdk.chat.completions.create(model="echo", messages=[{"role": "robot", "content": "x"}])  # type: ignore[list-item]
        assert bad.value.param == "messages[0].role"
        with pytest.raises(openai.InternalServerError) as busy:
            await sdk.chat.completions.create(model="overloaded", messages=USER)  # type: ignore[arg-type]
        assert (busy.value.status_code, busy.value.response.headers["retry-after"]) == (503, "2")
        with pytest.raises(openai.InternalServerError) as away:
            await sdk.chat.completions.create(model="unreachable", messages=USER, stream=True)  # type: ignore[arg-type]
        assert away.value.status_code == 502, "a stream that fails before its first chunk has the status of its error"


async def test_a_stream_that_breaks_says_so(running: Endpoint) -> None:
    async with client(running.url) as sdk:
        stream = await sdk.chat.completions.create(model="broken", messages=USER, stream=True)  # type: ignore[call-overload]
        assert (await anext(stream)).choices[0].delta.role == "assistant"
        assert (await anext(stream)).choices[0].delta.content == "good "
        with pytest.raises(openai.APIError, match="the provider went away"):
            await anext(stream)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_unforeseen_error_is_logged_by_number_and_not_told(
    running: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    async with httpx.AsyncClient(base_url=running.url) as http:
        reply = await http.post("/v1/chat/completions", json={"model": "unforeseen", "messages": USER})
    assert reply.status_code == 500
    assert "sk-secret" not in reply.text
    assert caplog.records[-1].message.split()[1] in reply.text


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels_the_work(running: Endpoint, stream: bool) -> None:
    body = {"model": "forever", "messages": USER, "stream": stream}
    async with httpx.AsyncClient(base_url=running.url) as http:
        if stream:
            async with http.stream("POST", "/v1/chat/completions", json=body) as reply:
                await anext(reply.aiter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                await http.post("/v1/chat/completions", json=body, timeout=0.2)
    await asyncio.wait_for(running.backend.cancelled.wait(), 5)


async def test_the_callers_deadline_is_the_requests(running: Endpoint) -> None:
    async with httpx.AsyncClient(base_url=running.url) as http:
        body = {"model": "forever", "messages": USER}
        reply = await http.post("/v1/chat/completions", json=body, headers={"three-mode-within": "0.05"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_exceeded")
        assert running.backend.seen[-1].within == 0.05
        for wrong in ("-1", "soon", "inf", "nan"):
            reply = await http.post("/v1/chat/completions", json=body, headers={"three-mode-within": wrong})
            assert reply.status_code == 400


async def test_a_body_that_does_not_come_whole_has_a_deadline_too(running: Endpoint) -> None:
    for path in (b"/v1/chat/completions", b"/v1/embeddings"):
        head = b"POST %b HTTP/1.1\r\nhost: localhost\r\nthree-mode-within: 0.05\r\ncontent-length: 99\r\n\r\n"
        assert b" 504 " in await raw(running, head % path + b'{"model"')


async def test_limits() -> None:
    async with (
        endpoint(max_body=1000, max_in_flight=2) as found,
        httpx.AsyncClient(base_url=found.url) as http,
    ):
        reply = await http.post("/v1/chat/completions", content=b"x" * 1001)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 100

        assert (await http.post("/v1/chat/completions", content=endless())).status_code == 413
        body = {"model": "forever", "messages": USER, "stream": True}
        async with (
            http.stream("POST", "/v1/chat/completions", json=body),
            http.stream("POST", "/v1/chat/completions", json=body),
        ):
            reply = await http.post("/v1/chat/completions", json={**body, "model": "echo"})
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert (await http.get("/nothing")).status_code == 404
        assert (await http.get("/v1/chat/completions")).status_code == 405
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        metrics = (await http.get("/metrics")).text
        assert 'three_mode_requests_total{route="/v1/chat/completions",model="other",status="413"} 2' in metrics


async def raw(found: Endpoint, head: bytes) -> bytes:
    """The first line that an HTTP/1.1 client hears who sends just this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", found.app.options.port)
    try:
        writer.write(head)
        await writer.drain()
        async with asyncio.timeout(10):
            return await reader.readline()
    finally:
        writer.close()


async def test_headers_have_a_limit(running: Endpoint) -> None:
    start = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
    assert b" 200 " in await raw(running, start + b"x: " + b"y" * 8000 + b"\r\n\r\n")
    assert b" 431 " in await raw(running, start + b"x: " + b"y" * 200_000 + b"\r\n\r\n")
    assert b" 431 " in await raw(running, start + b"x: y\r\n" * 20_000 + b"\r\n")
    async with Pool(PoolOptions(protocol="h2", trust_env=False)) as pool:
        url = running.url + "/healthz"
        assert (await pool.fetch(Request.to("GET", url, [(b"x", b"y" * 8000)], b""))).status == 200
        assert (await pool.fetch(Request.to("GET", url, [(b"x", b"y" * 70_000)], b""))).status == 431
    assert b" 200 " in await raw(running, start + b"\r\n"), "it goes on for everybody else"


async def test_idle_connections_keep_nobody_out(running: Endpoint) -> None:
    """A client's pool keeps what it may need again, and some clients send nothing at all."""
    head = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    async with contextlib.AsyncExitStack() as idle:
        for number in range(200):
            _, writer = await asyncio.open_connection("127.0.0.1", running.app.options.port)
            idle.callback(writer.close)
            if number % 2:
                writer.write(head)
        assert b" 200 " in await raw(running, head)


async def test_readers_of_events_have_a_limit() -> None:
    async with endpoint(max_event_readers=1) as found:
        url = found.url.replace("http", "ws") + "/events"
        async with websockets.connect(url):
            await readers(found, 1)
            async with websockets.connect(url) as second:
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await second.recv()
                assert closed.value.rcvd is not None
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "too many readers")
            assert len(found.app.events) == 1


async def test_keys_are_asked_for() -> None:
    async with endpoint(api_keys=frozenset({"k1"})) as found, httpx.AsyncClient(base_url=found.url) as http:
        assert (await http.get("/v1/models")).status_code == 401
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/v1/models", headers={"authorization": "Bearer k1"})).status_code == 200


async def test_a_program_that_fails_does_not_wait_for_streams() -> None:
    async with asyncio.timeout(20), contextlib.AsyncExitStack() as clients:
        with contextlib.suppress(KeyError):
            async with endpoint() as found:
                http = await clients.enter_async_context(httpx.AsyncClient(base_url=found.url))
                body = {"model": "forever", "messages": USER, "stream": True}
                streamed = http.stream("POST", "/v1/chat/completions", json=body)
                await anext((await clients.enter_async_context(streamed)).aiter_lines())
                raise KeyError("of the program around it")
    assert found.backend.running == 0


async def test_what_outlives_draining_is_ended_and_the_endpoint_too() -> None:
    """A stream without end, one that nobody reads, and a body that never comes whole."""
    body = b'{"model":"forever","stream":true,"messages":[{"role":"user","content":"x"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: "
    async with asyncio.timeout(20):
        async with endpoint(drain_within=0.1) as found:
            ends = [await asyncio.open_connection("127.0.0.1", found.app.options.port, limit=1000) for _ in range(3)]
            for (_, writer), length in zip(ends, (len(body), len(body), 600), strict=True):
                writer.write(head + b"%d\r\n\r\n" % length + body)
            ends[1][1].transport.pause_reading()  # type: ignore[attr-defined]  # of what is read from
            while found.app.metrics.in_flight < 3 or found.backend.running < 2:  # noqa: ASYNC110  (no hook to wait on)
                await asyncio.sleep(0.01)
        assert b"[DONE]" not in await ends[0][0].read()
        assert b" 503 " in await ends[2][0].readline(), "an answer that had not begun still can say why"
    assert (found.app.metrics.in_flight, found.backend.running) == (0, 0)
    for _, writer in ends:
        writer.close()


async def test_a_stream_that_nobody_reads_holds_its_place_no_longer_than_its_deadline() -> None:
    body = b'{"model":"flood","stream":true,"messages":[{"role":"user","content":"x"}]}'
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nthree-mode-within: 1\r\ncontent-length: %d\r\n\r\n"
    )
    async with asyncio.timeout(20), endpoint() as found:
        _, writer = await asyncio.open_connection("127.0.0.1", found.app.options.port, limit=1000)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of what is read from
        writer.write(head % len(body) + body)
        while not found.backend.running:  # noqa: ASYNC110  (no hook to wait on)
            await asyncio.sleep(0.01)
        while found.app.metrics.in_flight or found.backend.running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        writer.close()


async def test_draining_finishes_what_runs_and_refuses_what_is_new() -> None:
    async with endpoint() as found, httpx.AsyncClient(base_url=found.url) as http:
        body = {"model": "forever", "messages": USER, "stream": True}
        async with http.stream(
            "POST", "/v1/chat/completions", json=body, headers={"three-mode-within": "0.5"}
        ) as reply:
            lines = reply.aiter_lines()
            await anext(lines)
            draining = asyncio.create_task(found.app.drain())
            await asyncio.sleep(0)
            assert (await http.get("/healthz")).status_code == 503
            refused = await http.post("/v1/chat/completions", json={**body, "model": "echo"})
            assert refused.json()["error"]["code"] == "draining"
            assert [line async for line in lines][-2].startswith('data: {"error"')
        assert await draining is True


async def readers(running: Endpoint, count: int) -> None:
    """A WebSocket is open for its client before the endpoint has put it among its readers."""
    async with asyncio.timeout(5):
        while len(running.app.events) < count:  # noqa: ASYNC110  (the endpoint has no hook to wait on)
            await asyncio.sleep(0.01)


async def test_events_over_a_websocket(running: Endpoint) -> None:
    url = running.url.replace("http", "ws") + "/events"
    async with (
        websockets.connect(url, subprotocols=["three-mode.events"]) as all_of_them,  # type: ignore[list-item]
        websockets.connect(f"{url}?kinds=response_complete,host_lost") as some,
        client(running.url) as sdk,
    ):
        assert all_of_them.subprotocol == "three-mode.events"
        await readers(running, 2)
        async for _ in await sdk.chat.completions.create(model="echo", messages=USER, stream=True):  # type: ignore[arg-type]
            pass
        running.app.events.publish("host_lost", label="host-1")
        kinds, text = [], ""
        while "host_lost" not in kinds:
            event = json.loads(await all_of_them.recv())
            kinds.append(event["type"])
            text += event["data"].get("text", "")
        assert kinds == ["response_start", *["response_chunk"] * 4, "response_complete", "host_lost"]
        assert text == "good day to you "
        assert [json.loads(await some.recv())["type"] for _ in range(2)] == [
            "response_complete",
            "host_lost",
        ]


async def test_an_unknown_kind_of_event_is_said_and_ends_it(running: Endpoint) -> None:
    url = running.url.replace("http", "ws") + "/events?kinds=response_complete,agent_lost"
    async with websockets.connect(url) as events:
        said = json.loads(await events.recv())
        assert said["type"] == "error"
        assert "no kind of event 'agent_lost'" in said["data"]["message"]
        assert "response_chunk" in said["data"]["message"], "it lists those that there are"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await events.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_a_websocket_of_another_origin_or_without_a_key_is_refused() -> None:
    async with endpoint(api_keys=frozenset({"k1"})) as found:
        url = found.url.replace("http", "ws") + "/events"
        for options in ({"origin": "https://evil.example"}, {}, {"subprotocols": ["bearer.wrong"]}):
            with pytest.raises((websockets.InvalidStatus, websockets.InvalidHandshake)):
                await websockets.connect(url, **options)  # type: ignore[arg-type]
        protocols: Any = ["three-mode.events", "bearer.k1"]
        async with websockets.connect(url, subprotocols=protocols):
            pass


async def test_http2_over_tls_by_curl_and_http1_by_the_same_port(tls: Tls) -> None:
    async with endpoint(tls=tls) as found:
        authority = tls.certificate.with_name("ca.pem")
        body = json.dumps({"model": "echo", "messages": USER})
        curl = await asyncio.create_subprocess_exec(
            "curl",
            "-s",
            "--http2",
            "--cacert",
            str(authority),
            "-w",
            "\n%{http_version} %{http_code}",
            "-d",
            body,
            f"{found.url}/v1/chat/completions",
            stdout=subprocess.PIPE,
        )
        out, _ = await curl.communicate()
        answer, _, told = out.decode().rpartition("\n")
        assert told == "2 200"
        assert json.loads(answer)["choices"][0]["message"]["content"] == "good day to you "
        context = ssl.create_default_context(cafile=str(authority))
        async with httpx.AsyncClient(verify=context) as http:
            reply = await http.get(f"{found.url}/healthz")
            assert (reply.http_version, reply.status_code) == ("HTTP/1.1", 200)
