"""The scripted provider answers as Gemini and Ollama do: their official clients say so. OpenAI's and Anthropic's are in
test_http2_sdks.py. The rest checks what no client shows: refusals, faults, what is recorded."""

import json

import httpx
import ollama
import pytest
from google import genai
from google.genai import errors, types

from tests.support.http2.servers import CERTIFICATES, chat, connected, serve, streamed
from three_mode.testing import (
    Fault,
    ResetFormat,
    ScriptedProvider,
    Seen,
    ToolCall,
    Turn,
    overloaded,
    quota_exhausted,
    rate_limited,
)
from transports.http2 import ConnectionLost, HTTP2Transport, Response, SSEDecoder

WEATHER = ToolCall("weather", {"city": "Łódź"})


def gemini(provider: ScriptedProvider, carrier: httpx.AsyncClient) -> genai.Client:
    options = types.HttpOptions(base_url=provider.url, httpx_async_client=carrier)
    return genai.Client(api_key="k", http_options=options)


def carrier() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=HTTP2Transport(verify=CERTIFICATES.client_context(), trust_env=False))


async def test_gemini_over_http2() -> None:
    async with serve("h2") as provider, carrier() as http:
        client = gemini(provider, http)
        provider.always(Turn(text=("a", "b"), thinking=("hm",), tool_calls=(WEATHER,)))
        reply = await client.aio.models.generate_content(model="gemini-x", contents="hi")
        assert reply.function_calls is not None
        assert reply.function_calls[0].args == WEATHER.arguments
        assert reply.usage_metadata is not None
        assert reply.usage_metadata.total_token_count == 15
        stream = await client.aio.models.generate_content_stream(model="gemini-x", contents="hi")
        chunks = [chunk async for chunk in stream]
        parts = [part for chunk in chunks for part in (chunk.candidates or [])[0].content.parts]  # type: ignore[union-attr]
        assert [part.text for part in parts if part.text] == ["hm", "a", "b"]
        assert parts[-1].function_call is not None
        assert provider.seen[1].path.endswith("gemini-x:streamGenerateContent?alt=sse")
        assert {seen.http_version for seen in provider.seen} == {"HTTP/2"}
        provider.next(rate_limited("gemini", seconds=7))
        with pytest.raises(errors.ClientError) as caught:
            await client.aio.models.generate_content(model="gemini-x", contents="hi")
        assert caught.value.code == 429
        assert "7s" in str(caught.value.details)


async def test_ollama() -> None:
    async with serve("http/1.1") as provider:
        client = ollama.AsyncClient(host=provider.url, trust_env=False)
        provider.always(Turn(text=("a", "b"), thinking=("hm",), tool_calls=(WEATHER,), keep_alives=1))
        messages = [{"role": "user", "content": "hi"}]
        reply = await client.chat(model="m", messages=messages)
        assert (reply.message.content, reply.message.thinking) == ("ab", "hm")
        assert reply.message.tool_calls is not None
        assert reply.message.tool_calls[0].function.arguments == WEATHER.arguments
        assert (reply.done_reason, reply.prompt_eval_count, reply.eval_count) == ("stop", 12, 3)
        provider.always(Turn(text=("a", "b")))
        chunks = [chunk async for chunk in await client.chat(model="m", messages=messages, stream=True)]
        assert [chunk.message.content for chunk in chunks] == ["a", "b", ""]
        assert chunks[-1].done
        provider.next(Turn(error="the model broke"))
        with pytest.raises(ollama.ResponseError, match="the model broke"):
            [chunk async for chunk in await client.chat(model="m", messages=messages, stream=True)]
        await client._client.aclose()


RESETS: dict[ResetFormat, tuple[int, bytes | None, bytes]] = {
    "retry-after": (429, b"retry-after", b"90"),
    "retry-after-ms": (429, b"retry-after-ms", b"90000"),
    "http-date": (429, b"retry-after", b"Thu, 01 Jan 1970 00:01:40 GMT"),
    "openai": (429, b"x-ratelimit-reset-requests", b"1m30s"),
    "openai-ms": (429, b"x-ratelimit-reset-requests", b"90000ms"),
    "anthropic": (429, b"anthropic-ratelimit-requests-reset", b"1970-01-01T00:01:40Z"),
    "gemini": (429, None, b'"retryDelay":"90s"'),
    "ollama": (503, None, b"server busy"),
    "none": (429, None, b"rate_limit_exceeded"),
}


@pytest.mark.parametrize("how", RESETS)
async def test_each_way_of_saying_when_to_come_back(how: ResetFormat) -> None:
    status, header, value = RESETS[how]
    async with connected("h2") as (pool, provider):
        provider.next(rate_limited(how, seconds=90, now=10))
        reply = await pool.fetch(chat(provider))
        assert reply.status == status
        if header is None:
            assert value in reply.content
        else:
            assert reply.header(header) == value


async def test_refusals_for_which_waiting_is_no_cure() -> None:
    async with connected("h2") as (pool, provider):
        provider.next(quota_exhausted())
        provider.next(overloaded())
        reply = await pool.fetch(chat(provider))
        assert (reply.status, json.loads(reply.content)["error"]["type"]) == (429, "insufficient_quota")
        reply = await pool.fetch(chat(provider))
        assert (reply.status, json.loads(reply.content)["error"]["type"]) == (529, "overloaded_error")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"stream": True}),
        ("/v1/messages", {"stream": True}),
        ("/v1beta/models/m:streamGenerateContent?alt=sse", {}),
        ("/api/chat", {}),
    ],
)
async def test_an_error_inside_a_200_and_a_stream_without_its_end(path: str, body: dict[str, object]) -> None:
    async with connected("h2") as (pool, provider):
        request = type(chat(provider)).to("POST", provider.url + path, (), json.dumps(body).encode())
        provider.next(Turn(error="it broke"))
        failed = await pool.fetch(request)
        assert (failed.status, b"it broke" in failed.content) == (200, True)
        whole = await pool.fetch(request)
        provider.next(Turn(end_marker=False))
        cut = await pool.fetch(request)
        assert whole.content.startswith(cut.content)
        if "generate" not in path.lower():
            assert len(cut.content) < len(whole.content)


async def test_an_answer_can_depend_on_the_request() -> None:
    def answer(seen: Seen) -> Turn:
        return Turn(text=(seen.json["model"].upper(),))

    async with connected("h2") as (pool, provider):
        provider.always(answer)
        reply = await pool.fetch(chat(provider, b'{"model":"abc"}'))
        assert json.loads(reply.content)["choices"][0]["message"]["content"] == "ABC"


async def test_what_is_next_comes_before_what_is_always_and_in_order() -> None:
    async with connected("h2") as (pool, provider):
        provider.always(Turn(text=("always",)))
        provider.next(Turn(text=("one",)))
        provider.next(Turn(text=("two",)), times=2)
        replies = [await pool.fetch(chat(provider)) for _ in range(5)]
        texts = [json.loads(reply.content)["choices"][0]["message"]["content"] for reply in replies]
        assert texts == ["one", "two", "two", "always", "always"]


async def test_keep_alives_come_before_the_first_content() -> None:
    async with connected("h2") as (pool, provider):
        provider.next(Turn(keep_alives=3))
        content = (await pool.fetch(streamed(provider))).content
        assert content.count(b": keep-alive") == 3
        assert content.index(b": keep-alive") < content.index(b"Hello")
        assert b"keep-alive" not in b"".join(event.data for event in SSEDecoder().feed(content))


async def test_waiting_for_what_does_not_happen_ends() -> None:
    async with serve("h2") as provider:
        with pytest.raises(TimeoutError):
            await provider.until(lambda provider: bool(provider.seen), within=0.05)


async def test_an_unknown_path_is_404() -> None:
    async with connected("h2") as (pool, provider):
        request = type(chat(provider)).to("POST", provider.url + "/v2/none", (), b"{}")
        assert (await pool.fetch(request)).status == 404


async def gather_into(pieces: list[bytes], response: Response) -> None:
    async for data in response.body:
        pieces.append(data)  # noqa: PERF401 - what came before the error counts too


async def test_a_cut_in_the_middle_of_a_character() -> None:
    async with connected("http/1.1") as (pool, provider):
        whole = (await pool.fetch(streamed(provider))).content
        provider.always(Turn(text=("日",)))
        body = (await pool.fetch(streamed(provider))).content
        assert body != whole
        middle = body.index("日".encode()) + 1
        provider.next(Turn(text=("日",)), fault=Fault(cut_body_after_bytes=middle))
        async with pool.request(streamed(provider)) as response:
            pieces: list[bytes] = []
            with pytest.raises(ConnectionLost, match="before the response was complete"):
                await gather_into(pieces, response)
            got = b"".join(pieces)
        assert got == body[:middle]
        with pytest.raises(UnicodeDecodeError):
            got.decode()
